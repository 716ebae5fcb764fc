"""All training algorithms: what each is for, what it needs, and its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from workbench.config import (
    a2c,
    dpo,
    grpo,
    ilql,
    kto,
    online_dpo,
    ppo,
    reinforce,
    reward_model,
    rloo,
    sarsa,
    sft,
    soft_q,
)
from workbench.config.training import TrainingSettings
from workbench.errors import UserError

Need = Literal["prompts", "reward", "preferences", "feedback", "demonstrations", "answers"]


@dataclass(frozen=True, slots=True)
class Method:
    """What a run does.

    Attributes:
        name: As in the command line and in records.
        title: As in the window.
    """

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class Algorithm(Method):
    """One way to train.

    Attributes:
        when: One or two sentences: when to use it, and when not.
        needs: prompts of the training split; a reward model; preferences (chosen over rejected);
            feedback (answers called good or bad); demonstrations (written or chosen answers);
            answers (all there are).
        settings: The settings model.
        presets: Named changes of its defaults.
        charts: The figures that tell how a run goes, at most six.
    """

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
_GROUP_CHARTS = (
    "objective/scores",
    "objective/kl",
    "objective/entropy",
    "groups/score_spread",
    "policy/approx_kl",
    "completions/mean_length",
)
_VALUE_CHARTS = (
    "loss/q",
    "heldout/q_loss",
    "heldout/explained_variance",
    "values/q",
    "values/v",
    "loss/imitation",
)

EVALUATION = Method("evaluation", "Evaluation")
BEST_OF_N = Method("best-of-n", "Best of n")
TEXT_METRICS = Method("text-metrics", "Text metrics")
SAFETY = Method("safety", "Safety")
GATE = Method("gate", "Regression gate")
DESIGN = Method("design", "Reward design")
PROBE = Method("probe", "Probe")
IMPORTED = Method("imported", "Imported reward model")

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
            "sft",
            "Supervised fine-tuning",
            "Imitates written, imported or chosen answers. Take it first, when the model does not "
            "answer in the wanted form yet; the other algorithms can then start from it.",
            frozenset({"demonstrations"}),
            sft.SFTSettings,
            sft.PRESETS,
            (
                "loss/sft",
                "heldout/loss",
                "objective/entropy",
                "policy/grad_norm",
            ),
        ),
        Algorithm(
            "ppo",
            "PPO",
            "The standard of RLHF: several careful steps on each batch, with a value head that "
            "says which tokens did well. Take it when in doubt.",
            frozenset({"prompts", "reward"}),
            ppo.PPOSettings,
            ppo.PRESETS,
        ),
        Algorithm(
            "a2c",
            "A2C",
            "PPO without its clip: one plain step per batch, with a value head. Take it to see "
            "what the clip is worth, or where answers cost nothing.",
            frozenset({"prompts", "reward"}),
            a2c.A2CSettings,
            a2c.PRESETS,
        ),
        Algorithm(
            "reinforce",
            "REINFORCE",
            "The plainest policy gradient: returns less a baseline, one step per batch. Take it to "
            "learn how the others work; its preset reinforce++ does without a value head.",
            frozenset({"prompts", "reward"}),
            reinforce.ReinforceSettings,
            reinforce.PRESETS,
        ),
        Algorithm(
            "rloo",
            "RLOO",
            "Several answers to each prompt are measured by one another, so nothing but the policy "
            "learns. Take it when the score is for whole answers and memory is short.",
            frozenset({"prompts", "reward"}),
            rloo.RLOOSettings,
            rloo.PRESETS,
            _GROUP_CHARTS,
        ),
        Algorithm(
            "grpo",
            "GRPO",
            "As RLOO, with scores in units of each prompt's spread and steps that are clipped by "
            "token. Take it when answers are right or wrong.",
            frozenset({"prompts", "reward"}),
            grpo.GRPOSettings,
            grpo.PRESETS,
            _GROUP_CHARTS,
        ),
        Algorithm(
            "online-dpo",
            "Online DPO",
            "Two answers to each prompt, of which the reward prefers one: DPO on fresh pairs. Take "
            "it when the reward ranks well but its size means little.",
            frozenset({"prompts", "reward"}),
            online_dpo.OnlineDPOSettings,
            online_dpo.PRESETS,
            (
                "objective/scores",
                "objective/kl",
                "objective/entropy",
                "rewards/margins",
                "rewards/accuracies",
                "completions/mean_length",
            ),
        ),
        Algorithm(
            "dpo",
            "DPO",
            "Learns from ranked pairs at once, without a reward model and without sampling. Take "
            "it for a cheap and steady run; it learns from the ranked answers only, not from its "
            "own.",
            frozenset({"preferences"}),
            dpo.DPOSettings,
            dpo.PRESETS,
            (
                "loss/dpo",
                "heldout/loss",
                "rewards/chosen",
                "rewards/rejected",
                "rewards/margins",
                "heldout/accuracies",
            ),
        ),
        Algorithm(
            "kto",
            "KTO",
            "Learns from answers that are good or bad each by itself. Take it when there are no "
            "pairs, or when nearly all answers are bad; with pairs DPO learns more.",
            frozenset({"feedback"}),
            kto.KTOSettings,
            kto.PRESETS,
            (
                "loss/kto",
                "heldout/loss",
                "rewards/chosen",
                "rewards/rejected",
                "rewards/margins",
                "kto/reference_point",
            ),
        ),
        Algorithm(
            "ilql",
            "ILQL",
            "Learns from scored answers that are there already, and can join the good parts of "
            "mediocre ones. Take it when sampling during training is too slow; answers are then "
            "sampled with its value heads, which other programs leave out.",
            frozenset({"answers", "reward"}),
            ilql.ILQLSettings,
            ilql.PRESETS,
            _VALUE_CHARTS,
        ),
        Algorithm(
            "sarsa",
            "SARSA",
            "As ILQL, but values what the answers' own policy would earn, with no maximum: "
            "steadier, and one careful step beyond the data.",
            frozenset({"answers", "reward"}),
            sarsa.SARSASettings,
            sarsa.PRESETS,
            _VALUE_CHARTS,
        ),
        Algorithm(
            "soft-q",
            "Soft Q-learning",
            "The policy itself is the softmax of Q, with a known optimum for the given KL "
            "coefficient. An alternative to PPO without clipping; slow when the coefficient is "
            "small.",
            frozenset({"prompts", "reward"}),
            soft_q.SoftQSettings,
            soft_q.PRESETS,
            (
                "objective/scores",
                "objective/kl",
                "objective/entropy",
                "loss/consistency",
                "values/v",
                "completions/mean_length",
            ),
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
