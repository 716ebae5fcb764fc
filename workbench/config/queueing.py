"""Settings of the ranking queue: which pair is asked next, and what is generated when few wait."""

from __future__ import annotations

from typing import Literal

from workbench.config.generation import SamplingSettings
from workbench.config.spec import Settings, changed, hyper

Strategy = Literal["in-order", "random", "uncertainty", "diversity", "mix"]
Doubt = Literal["ensemble", "reward-model"]
Source = Literal["temperatures", "base-trained", "best-worst"]

_SHARES, _FILL = "Shares of the mix", "Keep the queue filled"


class QueueSettings(Settings):
    """The order of the pairs that wait."""

    strategy: Strategy = hyper(
        "in-order",
        "Next pair",
        "in-order: as they were added. random: shuffled. uncertainty: where a model knows least "
        "which answer you prefer. diversity: those most unlike all before. mix: by shares.",
        group="Order",
    )
    doubt: Doubt = hyper(
        "ensemble",
        "Uncertain for",
        "ensemble: small linear probes, each on other draws of your labels, disagree most. "
        "reward-model: the newest reward model scores both answers nearly alike.",
        group="Order",
    )
    reorder_every: int = hyper(
        10,
        "Order again after",
        "So many labels later the order is worked out anew, in the background; 0 never does.",
        unit="labels",
        group="Order",
        ge=0,
        le=10_000,
    )
    candidates: int = hyper(
        500,
        "Pairs looked at",
        "So many of those that wait, drawn by the seed, are put in order; the others come behind.",
        unit="pairs",
        group="Order",
        ge=1,
        le=100_000,
    )
    same_from: float = hyper(
        0.85,
        "Same answers from",
        "Answers that share at least this part of their letter triples are called nearly the "
        "same; such pairs go to the end.",
        group="Order",
        gt=0.0,
        le=1.0,
    )
    seed: int = hyper(
        0, "Seed", "The same seed gives the same order.", group="Order", ge=0, le=2**31 - 1
    )
    share_uncertainty: float = hyper(
        0.5, "Uncertainty", "Part of the mix, beside the others.", group=_SHARES, ge=0.0, le=1.0
    )
    share_diversity: float = hyper(
        0.25, "Diversity", "Part of the mix, beside the others.", group=_SHARES, ge=0.0, le=1.0
    )
    share_random: float = hyper(
        0.25, "Random", "Part of the mix, beside the others.", group=_SHARES, ge=0.0, le=1.0
    )


class FillSettings(Settings):
    """Generation on demand: where new pairs come from, and how many should wait."""

    source: Source = hyper(
        "temperatures",
        "New pairs from",
        "temperatures: the base, careful and bold. base-trained: before and after a run. "
        "best-worst: of several answers, by the newest reward model.",
        group=_FILL,
    )
    n_pending: int = hyper(
        20,
        "Pairs that wait",
        "Answers are generated while fewer pairs wait and nothing else is to be done.",
        unit="pairs",
        group=_FILL,
        ge=1,
        le=10_000,
    )
    group: str = hyper(
        "", "Prompt group", "Only training prompts of this group; empty takes all.", group=_FILL
    )
    run: int = hyper(
        0,
        "Trained run",
        "Whose adapter answers beside the base, by its number; 0 takes the newest.",
        group=_FILL,
        ge=0,
        le=2**31 - 1,
    )
    temperature: float = changed(SamplingSettings, "temperature", 1.0)
    other_temperature: float = hyper(
        0.6,
        "Other temperature",
        "Of the careful answer, with two temperatures.",
        group="Sampling",
        ge=0.0,
        le=5.0,
    )
    n_answers: int = hyper(
        4,
        "Answers to choose from",
        "Best and worst are taken of so many.",
        symbol="N",
        group="Sampling",
        ge=2,
        le=64,
    )
    max_new_tokens: int = changed(SamplingSettings, "max_new_tokens", 64)
    batch_size: int = hyper(
        4,
        "Prompts at once",
        "The fewer, the sooner other jobs get their turn.",
        unit="prompts",
        group="Sampling",
        ge=1,
        le=64,
    )
    seed: int = changed(SamplingSettings, "seed", 0)
