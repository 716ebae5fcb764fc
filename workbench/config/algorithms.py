"""All training algorithms: what each is for, what it needs, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.config import ppo, reward_model
from workbench.config.training import TrainingSettings
from workbench.errors import UserError

Need = Literal["prompts", "reward", "preferences", "feedback", "demonstrations", "answers"]


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One way to train.

    Attributes:
        name: As in the command line and in records.
        title: As in the window.
        when: One or two sentences: when to use it, and when not.
        needs: prompts of the training split; a reward model; preferences (chosen over rejected);
            feedback (answers called good or bad); demonstrations (written or chosen answers);
            answers (all there are).
        settings: The settings model.
        presets: Named changes of its defaults.
        charts: The figures that tell how a run goes, at most six.
    """

    name: str
    title: str
    when: str
    needs: frozenset[Need]
    settings: type[TrainingSettings]
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    charts: tuple[str, ...] = (
        "objective/scores",
        "objective/kl",
        "objective/entropy",
        "loss/policy",
        "loss/value",
        "completions/mean_length",
    )

    @property
    def module(self) -> str:
        """Its file in `workbench/training`."""
        return _MODULES.get(self.name, self.name.replace("-", "_"))


_MODULES = {"reward": "reward_model"}

REWARD = Algorithm(
    "reward",
    "Reward model",
    "A network that scores answers as the annotators would.",
    frozenset({"preferences"}),
    reward_model.RewardModelSettings,
    reward_model.PRESETS,
)

ALGORITHMS: Mapping[str, Algorithm] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm(
            "ppo",
            "PPO",
            "The standard of RLHF: several careful steps on each batch, with a value head that "
            "says which tokens did well. Take it when in doubt.",
            frozenset({"prompts", "reward"}),
            ppo.PPOSettings,
            ppo.PRESETS,
        ),
    )
}
"""Those that train a policy, in the order in which they are offered."""


def find(name: str) -> Algorithm:
    """The algorithm of that name, the reward model's included.

    Raises:
        UserError: There is none.
    """
    if name == REWARD.name:
        return REWARD
    if name not in ALGORITHMS:
        raise UserError(f"There is no algorithm {name}.", f"Known are: {', '.join(ALGORITHMS)}.")
    return ALGORITHMS[name]
