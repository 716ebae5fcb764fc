"""Settings of a reward's report card: how much is measured, and the limits of its verdict."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper

_MEASURING, _LIMITS = "Measuring", "Verdict"


class ReportCardSettings(Settings):
    """What is measured of a reward before anything is trained with it, and when it is good."""

    n_draws: int = hyper(
        6,
        "Draws of the learning curve",
        "Orders in which the labels might have come; more make the curve smoother.",
        group=_MEASURING,
        ge=2,
        le=100,
    )
    curve_pairs: int = hyper(
        400,
        "Pairs of the learning curve",
        "At most so many training pairs; the base reads both answers of each once. 0 leaves the "
        "curve out.",
        unit="pairs",
        group=_MEASURING,
        ge=0,
        le=100_000,
    )
    n_more: int = hyper(
        50,
        "More labels",
        "How many more labels the expected gain is told for.",
        unit="labels",
        group=_MEASURING,
        ge=1,
        le=10_000,
    )
    edit_pairs: int = hyper(
        60,
        "Edited pairs",
        "Pairs whose answers are scored again with harmless edits. 0 leaves them out.",
        unit="pairs",
        group=_MEASURING,
        ge=0,
        le=10_000,
    )
    policy_answers: int = hyper(
        100,
        "Policy answers",
        "At most so many answers of the current policy are looked at. 0 leaves them out.",
        unit="answers",
        group=_MEASURING,
        ge=0,
        le=10_000,
    )
    near_length: float = hyper(
        0.1,
        "About equally long",
        "A pair is length-matched when its answers differ by at most this share of the longer one.",
        group=_MEASURING,
        ge=0.0,
        le=1.0,
    )
    seed: int = hyper(0, "Seed", "Of draws and resamples.", group=_MEASURING, ge=0, le=2**31 - 1)
    min_pairs: int = hyper(
        30,
        "Fewest pairs",
        "With fewer held-out pairs there is no verdict but: not yet.",
        unit="pairs",
        group=_LIMITS,
        ge=1,
        le=10_000,
    )
    good_accuracy: float = hyper(
        0.6,
        "Good accuracy",
        "The lower end of the interval must reach this for a good reward; it must be above 0.5 "
        "for any use.",
        group=_LIMITS,
        ge=0.5,
        le=1.0,
    )
    same_as_length: float = hyper(
        0.95,
        "Same as length",
        "A reward that picks as length does in this share of the pairs has learned length.",
        group=_LIMITS,
        gt=0.5,
        le=1.0,
    )
    length_correlation: float = hyper(
        0.7,
        "Length correlation",
        "Rank correlation of score and length, either way, above which care is needed.",
        group=_LIMITS,
        gt=0.0,
        le=1.0,
    )
    max_temperature: float = hyper(
        1.5,
        "Over-confidence",
        "Margins that would have to be divided by more than this to be true are over-confident.",
        group=_LIMITS,
        ge=1.0,
        le=100.0,
    )
    max_flips: float = hyper(
        0.05,
        "Flips by edits",
        "Share of pairs that a harmless edit may turn round.",
        group=_LIMITS,
        ge=0.0,
        le=1.0,
    )
    max_unfamiliar: float = hyper(
        0.2,
        "Unfamiliar answers",
        "Share of policy answers that may lie farther from the labelled ones than 95 % of "
        "held-out ones do.",
        group=_LIMITS,
        ge=0.05,
        le=1.0,
    )
