"""Settings of the tour: the whole loop, phase by phase."""

from __future__ import annotations

from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.generation import SamplingSettings
from workbench.config.lora import LoraSettings
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
    # Tuned so that two cores do it all in well under 15 minutes.
    generation: SamplingSettings = SamplingSettings(
        n_answers=4, temperature=0.7, batch_size=24, max_new_tokens=32
    )
    annotator: AnnotatorSettings = AnnotatorSettings()
    reward: RewardModelSettings = RewardModelSettings(
        epochs=1,
        batch_size=12,
        micro_batch_tokens=2048,
        learning_rate=5e-4,
        lora=LoraSettings(last_layers=10),
    )
    ppo: PPOSettings = PPOSettings(
        updates=20,
        batch_size=16,
        minibatches=2,
        learning_rate=5e-4,
        kl_coef=0.02,
        temperature=0.7,
        max_new_tokens=32,
        checkpoint_every=5,
        lora=LoraSettings(last_layers=10),
    )
    evaluation: EvaluationSettings = EvaluationSettings(
        answers_per_prompt=1, temperature=0.7, max_new_tokens=32
    )

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
    generation=SamplingSettings(n_answers=4, batch_size=32, max_new_tokens=24),
    reward=RewardModelSettings(learning_rate=2e-3, batch_size=16, micro_batch_tokens=8192),
    ppo=PPOSettings(
        updates=15,
        batch_size=32,
        micro_batch_tokens=4096,
        learning_rate=2e-3,
        kl_coef=0.02,
        max_new_tokens=24,
        checkpoint_every=5,
    ),
    evaluation=EvaluationSettings(batch_size=32, max_new_tokens=24),
)


def defaults_for(model: str) -> TourSettings:
    """The settings of the tour that are tuned for a model."""
    return TINY if model == "tiny" else TourSettings(model=model)
