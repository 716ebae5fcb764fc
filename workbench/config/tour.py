"""Settings of the tour: the whole loop, phase by phase."""

from __future__ import annotations

from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.generation import SamplingSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.spec import Settings, hyper

_PHASES = ("generation", "annotator", "reward", "ppo", "evaluation")


class TourSettings(Settings):
    """What each phase of the tour does."""

    model: str = hyper(
        "starter",
        "Model",
        "starter, tiny (under a minute, for a first look) or the name of any model here.",
    )
    prompt_group: str = hyper("tour", "Prompts", "Group of the demo prompts that are used.")
    seed: int = hyper(0, "Seed", "Of every phase.", ge=0, le=2**31 - 1)
    generation: SamplingSettings = SamplingSettings(batch_size=16, max_new_tokens=48)
    annotator: AnnotatorSettings = AnnotatorSettings()
    reward: RewardModelSettings = RewardModelSettings()
    ppo: PPOSettings = PPOSettings(
        updates=30, batch_size=16, learning_rate=1e-4, max_new_tokens=48, checkpoint_every=10
    )
    evaluation: EvaluationSettings = EvaluationSettings(max_new_tokens=48)

    def seeded(self) -> TourSettings:
        """The same with the tour's seed in every phase; the evaluation draws other answers."""
        changes: dict[str, Settings] = {}
        for name in _PHASES:
            seed = self.seed + 1000 if name == "evaluation" else self.seed
            changes[name] = getattr(self, name).model_copy(update={"seed": seed})
        return self.model_copy(update=changes)


# The tiny model writes short texts and learns at higher rates.
TINY = TourSettings(
    model="tiny",
    generation=SamplingSettings(batch_size=32, max_new_tokens=16),
    reward=RewardModelSettings(learning_rate=2e-3, batch_size=16, micro_batch_size=16),
    ppo=PPOSettings(
        updates=15,
        batch_size=32,
        micro_batch_size=32,
        learning_rate=2e-3,
        kl_coef=0.02,
        max_new_tokens=16,
        checkpoint_every=5,
    ),
    evaluation=EvaluationSettings(batch_size=32, max_new_tokens=16),
)


def defaults_for(model: str) -> TourSettings:
    """The settings of the tour that are tuned for a model."""
    return TINY if model == "tiny" else TourSettings(model=model)
