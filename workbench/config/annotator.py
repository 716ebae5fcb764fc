"""Settings of the simulated annotator, used by the tour, tests and benchmarks."""

from __future__ import annotations

from workbench.config.spec import Settings, hyper


class AnnotatorSettings(Settings):
    """A stated rule in place of a person: sentiment plus brevity, with a noise rate.

    utility(answer) = sentiment - brevity_weight * (words / 20), where sentiment is VADER's
    compound score in [-1, 1]. The higher utility wins; with probability `noise` the verdict
    is turned round; utilities nearer than `tie_margin` are a tie.
    """

    sentiment_weight: float = hyper(
        1.0, "Sentiment", "Weight of VADER's compound score (English only).", ge=0.0, le=10.0
    )
    brevity_weight: float = hyper(
        1.0, "Brevity", "Taken off for every 20 words of the answer.", ge=0.0, le=10.0
    )
    tie_margin: float = hyper(0.02, "Tie margin", "Nearer than this is a tie.", ge=0.0, le=10.0)
    noise: float = hyper(0.05, "Noise", "Share of verdicts turned round.", ge=0.0, le=0.5)
    seed: int = hyper(0, "Seed", "Of the noise.", ge=0, le=2**31 - 1)
