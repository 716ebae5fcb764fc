"""A run as the policy doctor sees it: its curves, its settings, and what can be found in them.

No torch: what the window asks once a second costs milliseconds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate
from typing import Literal, NamedTuple

from pydantic.fields import FieldInfo

from workbench.config import toml
from workbench.config.doctor import DoctorSettings
from workbench.config.spec import Settings
from workbench.config.training import TrainingSettings

Series = Mapping[str, Sequence[tuple[int, float]]]
"""Each figure's (step, value) points in order of steps, as the store gives them."""
Level = Literal["bad", "warn", "info"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One illness of a run.

    Attributes:
        detector: Who found it.
        level: How bad it is.
        title: What it is, in a few words.
        metric: Whose chart shows it.
        since: The first update that was ill.
        until: The last one; None while it goes on.
        seen: What is seen, with its numbers and the threshold, as a sentence.
        causes: What it usually comes from, likeliest first.
        advice: What to change.
        change: The same as settings of the next run; empty where none would help.
    """

    detector: str
    level: Level
    title: str
    metric: str
    since: int
    until: int | None
    seen: str
    causes: tuple[str, ...]
    advice: str
    change: Mapping[str, object] = field(default_factory=dict)


class Stretch(NamedTuple):
    """Updates in a row that were past a threshold; `worst` is the value farthest from it."""

    since: int
    until: int | None
    worst: float
    last: float


class Curve:
    """One figure over the updates, without the points that are no numbers."""

    def __init__(self, points: Sequence[tuple[int, float]]) -> None:
        finite = [(step, value) for step, value in points if math.isfinite(value)]
        self.steps = [step for step, _ in finite]
        self.values = [value for _, value in finite]

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def _sums(self) -> list[float]:
        return list(accumulate(self.values, initial=0.0))

    def mean(self, begin: int, end: int) -> float:
        """Mean of the points from index `begin` up to `end`, which must be some."""
        return (self._sums[end] - self._sums[begin]) / (end - begin)

    def start(self, n: int) -> float:
        """What the run began with: the mean of its first points."""
        return self.mean(0, min(n, len(self)))

    def rolling(self, n: int) -> Curve:
        """Means over `n` points each, at the step of the last of them."""
        found = Curve(())
        found.steps = self.steps[n - 1 :]
        found.values = [self.mean(i, i + n) for i in range(len(self) - n + 1)]
        return found

    def blocks(self, most: int) -> Curve:
        """The same in at most so many points, each the mean of as many neighbours."""
        n = -(-len(self) // most)
        if n <= 1:
            return self
        found, ends = Curve(()), range(len(self), 0, -n)
        found.steps = [self.steps[end - 1] for end in ends][::-1]
        found.values = [self.mean(max(0, end - n), end) for end in ends][::-1]
        return found

    def at(self, step: int) -> int:
        """Index of the first point at a step or after it."""
        return bisect_left(self.steps, step)

    def above(self, limit: float, n: int, begin: int = 0) -> Stretch | None:
        """The latest run of at least `n` points above a limit, from index `begin` on."""
        return self._stretch([v > limit for v in self.values], n, begin, max)

    def below(self, limit: float, n: int, begin: int = 0) -> Stretch | None:
        """The same for points below it."""
        return self._stretch([v < limit for v in self.values], n, begin, min)

    def _stretch(
        self, is_ill: list[bool], n: int, begin: int, worst: Callable[[list[float]], float]
    ) -> Stretch | None:
        found: tuple[int, int] | None = None
        first = begin
        for i in range(begin, len(self)):
            if not is_ill[i]:
                first = i + 1
            elif i - first + 1 >= n:
                found = (first, i)
        if found is None:
            return None
        first, last = found
        inside = self.values[first : last + 1]
        until = None if last == len(self) - 1 else self.steps[last]
        return Stretch(self.steps[first], until, worst(inside), inside[-1])


class Case:
    """Curves, settings and thresholds of one run."""

    def __init__(
        self, series: Series, settings: TrainingSettings, thresholds: DoctorSettings
    ) -> None:
        self.series = series
        self.settings = settings
        self.limits = thresholds
        self._curves: dict[str, Curve] = {}

    def curve(self, name: str) -> Curve:
        """A figure's curve; without a point when the run has none."""
        if name not in self._curves:
            self._curves[name] = Curve(self.series.get(name, ()))
        return self._curves[name]

    def setting(self, name: str) -> float | None:
        """A number among the settings; None when the algorithm has no such setting."""
        value = getattr(self.settings, name, None)
        return float(value) if isinstance(value, int | float) else None

    def scaled(self, name: str, factor: float, at_least: float = 0.0) -> dict[str, object]:
        """A setting times a factor, to two digits; nothing when the algorithm has none."""
        value = self.setting(name)
        if value is None:
            return {}
        return {name: float(f"{max(value * factor, at_least):.2g}")}

    def nearer(self) -> dict[str, object]:
        """Settings that hold the policy nearer to its reference, as the algorithm has them."""
        return {**self.heavier_kl(), **self.gentler()}

    def heavier_kl(self) -> dict[str, object]:
        """More weight on KL: its target where that rules, else its coefficient."""
        if getattr(self.settings, "is_kl_adaptive", False):
            return self.scaled("kl_target", 0.5)
        return {**self.scaled("kl_coef", 2.0, at_least=0.05), **self.scaled("beta", 2.0)}

    def gentler(self) -> dict[str, object]:
        """Smaller steps."""
        return self.scaled("learning_rate", 0.5)

    def change(self, wanted: Mapping[str, object]) -> dict[str, object]:
        """What of these settings the algorithm has, within its bounds; none if they do not fit."""
        infos = dict(toml.fields(type(self.settings)))
        within = {name: _within(infos[name], v) for name, v in wanted.items() if name in infos}
        kept = {name: v for name, v in within.items() if v != getattr(self.settings, name)}
        return kept if _fits(self.settings, kept) else {}


def _within(info: FieldInfo, value: object) -> object:
    """A number between the bounds of its setting, whole where that is."""
    if not isinstance(value, float):
        return value
    low, high = toml.bounds(info)
    bounded = min(value if low is None else max(value, low), math.inf if high is None else high)
    return round(bounded) if info.annotation is int else bounded


def _fits(settings: Settings, change: Mapping[str, object]) -> bool:
    try:
        toml.validate(type(settings), {**settings.model_dump(), **change})
    except toml.SettingsError:
        return False
    return True


def number(value: float) -> str:
    """A number in a sentence: three digits, no exponent for the usual ones."""
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "−")


def span(since: int, until: int | None) -> str:
    """Which updates a sentence speaks of."""
    if until is None:
        return f"since update {since}"
    return f"at update {since}" if until == since else f"from update {since} to {until}"


def correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Pearson's r of two curves; 0 where one of them does not move."""
    n = len(xs)
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    var_x = sum((x - mean_x) ** 2 for x in xs)
    var_y = sum((y - mean_y) ** 2 for y in ys)
    if not var_x or not var_y:
        return 0.0
    cov = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return cov / math.sqrt(var_x * var_y)
