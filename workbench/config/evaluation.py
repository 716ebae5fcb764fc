"""Settings of the before-and-after comparison."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper


class EvaluationSettings(Settings):
    """Same prompts, same seeds, base and trained side by side."""

    n_prompts: int = hyper(
        0, "Prompts", "How many held-out prompts; 0 takes all.", group="Data", ge=0, le=100_000
    )
    answers_per_prompt: int = hyper(
        2, "Answers per prompt", "More make the interval narrower.", group="Data", ge=1, le=64
    )
    temperature: float = hyper(
        1.0,
        "Temperature",
        "As in training, or 0 for the likeliest answer.",
        group="Data",
        ge=0.0,
        le=5.0,
    )
    max_new_tokens: int = hyper(
        64, "Answer length", "As in training.", unit="tokens", group="Data", ge=1, le=32_768
    )
    batch_size: int = hyper(
        16, "Batch size", "Answers generated side by side.", group="Data", ge=1, le=1024
    )
    seed: int = hyper(1, "Seed", "Both sides use it.", group="Data", ge=0, le=2**31 - 1)
