"""Settings of answer generation."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper

_GROUP = "Sampling"


class SamplingSettings(Settings):
    """How answers are drawn from the model."""

    n_answers: int = hyper(
        2, "Answers per prompt", "At least 2 make a pair.", group=_GROUP, ge=1, le=64
    )
    temperature: float = hyper(
        1.0,
        "Temperature",
        "1 samples from the model as it is, lower is more careful, 0 always takes the likeliest.",
        symbol="T",
        group=_GROUP,
        ge=0.0,
        le=5.0,
    )
    top_p: float = hyper(
        1.0,
        "Top-p",
        "Keep at 1.0 for PPO data: other values change the distribution that is scored.",
        group=_GROUP,
        gt=0.0,
        le=1.0,
    )
    top_k: int = hyper(
        0,
        "Top-k",
        "Sample among the k likeliest tokens; 0 means all.",
        group=_GROUP,
        ge=0,
        le=1_000_000,
    )
    max_new_tokens: int = hyper(
        64,
        "Answer length",
        "An answer is cut after this many tokens.",
        unit="tokens",
        group=_GROUP,
        ge=1,
        le=32_768,
    )
    batch_size: int = hyper(
        8, "Batch size", "Answers generated side by side.", group=_GROUP, ge=1, le=1024
    )
    seed: int = hyper(
        0, "Seed", "The same seed gives the same answers.", group=_GROUP, ge=0, le=2**31 - 1
    )
