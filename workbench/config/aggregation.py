"""Settings of how rankings, ratings and pairs of one or more annotators become preferences."""

from __future__ import annotations

from typing import Literal

from workbench.config.spec import Settings, hyper


class AggregationSettings(Settings):
    """What counts as a preference, and who decides where annotators differ."""

    several: Literal["authority", "majority"] = hyper(
        "authority",
        "Several annotators",
        "Who decides a pair that several judged. Authority: a person before an imported label "
        "before a machine, and of equals the last one. Majority: each annotator of the highest "
        "kind has one vote.",
    )
    least_share: float = hyper(
        0.5,
        "Least majority",
        "The chosen answer must have at least this share of the votes, and more than half of "
        "them. Ties are votes for neither. For majority only.",
        ge=0.5,
        le=1.0,
    )
    stars_apart: int = hyper(
        0,
        "Stars apart",
        "Answers of one prompt that an annotator rated at least this many stars apart count as a "
        "preference of theirs, where they did not judge the pair itself; 2 is usual. 0 leaves "
        "ratings out.",
        unit="stars",
        ge=0,
        le=4,
    )
    least_strength: int = hyper(
        0,
        "Least strength",
        "Leave out preferences that were called weaker than this: 0 takes all, 1 those whose "
        "strength was said, 2 clear ones only.",
        ge=0,
        le=2,
    )
