"""Settings of best-of-n sampling (Stiennon et al. 2020, arXiv:2009.01325)."""

from __future__ import annotations

from workbench.config.evaluation import EvaluationSettings
from workbench.config.spec import Settings, changed, hyper


class BestOfNSettings(Settings):
    """How many answers the base gives to each prompt, and how they are drawn."""

    n: int = hyper(
        16,
        "Answers to choose from",
        "The largest n; smaller ones (1, 2, 4, …) are told from the same answers. One more is "
        "drawn for each prompt, as the answer to beat.",
        symbol="N",
        group="Data",
        ge=2,
        le=512,
    )
    n_prompts: int = hyper(
        0, "Prompts", "How many prompts; 0 takes all.", group="Data", ge=0, le=100_000
    )
    temperature: float = hyper(
        1.0,
        "Temperature",
        "As in training. The lower, the less there is to choose from.",
        symbol="T",
        group="Data",
        gt=0.0,
        le=5.0,
    )
    max_new_tokens: int = changed(EvaluationSettings, "max_new_tokens", 64)
    batch_size: int = changed(EvaluationSettings, "batch_size", 32)
    seed: int = hyper(
        1, "Seed", "The same seed gives the same answers.", group="Data", ge=0, le=2**31 - 1
    )

    @property
    def sizes(self) -> list[int]:
        """The n of the curve: 1, 2, 4 … and the largest."""
        powers = [2**k for k in range(self.n.bit_length()) if 2**k < self.n]
        return [*powers, self.n]
