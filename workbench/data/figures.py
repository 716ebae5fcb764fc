"""Figures before and after training, with their intervals, as evaluations record them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95 % interval; NaN where there is no interval."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def read(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """What `asdict` wrote; JSON has null where there was no number."""
        if stored is None:
            return None
        ends = (stored.get(name) for name in ("value", "low", "high"))
        return cls(*(math.nan if end is None else float(end) for end in ends))


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of base and policy.

    Attributes:
        name: A key of `config.measures.MEASURES`; after a point, the part of the data.
        before: Of the base; None where it has none, as a distance from itself.
        after: Of the policy.
        change: After less before, of the same cases.
        n: How many independent cases (prompts, pairs, texts) it is told from.
    """

    name: str
    before: Estimate | None
    after: Estimate
    change: Estimate | None
    n: int

    def to_dict(self) -> dict[str, object]:
        """For storing as JSON."""
        return asdict(self)

    @property
    def is_clear(self) -> bool:
        """Whether the interval of the change leaves out 0."""
        change = self.change
        return change is not None and (change.low > 0.0 or change.high < 0.0)


def read_figures(stored: object) -> list[Figure]:
    """The figures of a run's results; what is none of them is passed over."""
    entries = stored if isinstance(stored, list) else []
    return [
        Figure(
            str(entry["name"]),
            Estimate.read(entry.get("before")),
            Estimate.read(entry["after"]) or Estimate(math.nan),
            Estimate.read(entry.get("change")),
            int(entry.get("n") or 0),
        )
        for entry in entries
        if isinstance(entry, Mapping) and "name" in entry and "after" in entry
    ]


def flat(figures: Sequence[Figure]) -> dict[str, float]:
    """The figures as metrics of a run: `kl_after`, `kl_after_low`, `rouge_l_change`, …."""
    return dict(_flat(figures))


def _flat(figures: Sequence[Figure]) -> Iterator[tuple[str, float]]:
    for figure in figures:
        for side in ("before", "after", "change"):
            estimate: Estimate | None = getattr(figure, side)
            if estimate is not None:
                yield f"{figure.name}_{side}", estimate.value
                yield f"{figure.name}_{side}_low", estimate.low
                yield f"{figure.name}_{side}_high", estimate.high
