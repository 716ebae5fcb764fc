"""Settings of hidden repeats and of what counts as too fast, kept in each experiment."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper


class QualitySettings(Settings):
    """How often a judged pair is shown once more, unannounced, and how fast one can read."""

    repeat_rate: float = hyper(
        0.05,
        "Repeats",
        "Hidden repeats for each judgement: 0.05 is one in twenty. Half of them have the sides "
        "swapped. 0 shows no pair again.",
        ge=0.0,
        le=0.5,
    )
    repeat_gap: int = hyper(
        10,
        "Distance",
        "Judgements between the first time and the repeat, at least.",
        unit="judgements",
        ge=1,
        le=1000,
    )
    reading_speed: float = hyper(
        15.0,
        "Reading speed",
        "A judgement that came faster than both answers can be read at this speed is listed to "
        "look at again. People read about 4 words a second and skim 10.",
        unit="words/s",
        ge=1.0,
        le=100.0,
    )
    seed: int = hyper(0, "Seed", "Of which pair comes again, and when.", ge=0, le=2**31 - 1)
