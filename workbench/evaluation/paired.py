"""Figures before and after with intervals, and with that of their difference on the same cases.

Cases come in clusters (the answers to one prompt), and whole clusters are drawn: answers to one
prompt are not independent. G clusters, R resamples, K statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

import numpy as np

from workbench.data.figures import Estimate, Figure
from workbench.objectives.intervals import (
    Array,
    jackknife,
    newcombe_paired,
    percentile_interval,
    resampled_counts,
    wilson,
)
from workbench.objectives.text_metrics import Units, distinct_without

Statistic = Callable[[Array], float]  # (K,), sums over clusters


def mean_figure(
    name: str,
    clusters: Sequence[Hashable],
    before: Sequence[float] | None,
    after: Sequence[float],
) -> Figure:
    """Means of both sides; bootstrap intervals over clusters (Cameron, Gelbach & Miller 2008)."""
    ones = [1.0] * len(clusters)
    return ratio_figure(name, clusters, before, after, ones, lambda sums: sums)


def ratio_figure(
    name: str,
    clusters: Sequence[Hashable],
    before: Sequence[float] | None,
    after: Sequence[float],
    weights: Sequence[float],
    of_ratio: Callable[[Array], Array],
) -> Figure:
    """A function of Σ value / Σ weight, such as a perplexity, with bootstrap intervals.

    Args:
        name: Of the figure.
        clusters: The cluster of each case.
        before: Values of the base; None where it has none.
        after: Values of the policy.
        weights: What each case counts.
        of_ratio: Applied to every ratio.
    """
    index, n = numbered(clusters)
    counts = resampled_counts(n) if n else np.zeros((0, 0))
    whole = np.ones(n)
    below = np.bincount(index, weights, n)

    def figure(values: Sequence[float], draws: Array) -> Array:
        above = np.bincount(index, values, n)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            return of_ratio((draws @ above) / (draws @ below))

    found = [
        None if side is None else (float(figure(side, whole)), figure(side, counts))
        for side in (before, after)
    ]
    return _figure(name, found[0], found[1], n)


def corpus_figure(
    name: str,
    clusters: Sequence[Hashable],
    before: Array,  # (cases, K)
    after: Array,  # (cases, K)
    statistic: Statistic,
) -> Figure:
    """A figure of sums over all cases, such as BLEU, with bootstrap intervals over clusters."""
    index, n = numbered(clusters)
    counts = resampled_counts(n, n_resamples=_OF_CORPUS)

    def figure(cases: Array) -> tuple[float, Array]:
        sums = np.zeros((n, cases.shape[1]))
        np.add.at(sums, index, cases)
        return statistic(sums.sum(0)), np.asarray([statistic(row) for row in counts @ sums])

    return _figure(name, figure(before), figure(after), n)


_OF_CORPUS = 1000  # each is a call of Python


def distinct_figure(
    name: str,
    clusters: Sequence[Hashable],
    before: Sequence[Units],
    after: Sequence[Units],
    n: int,
) -> Figure:
    """Distinct-n of all texts, with jackknife intervals: a bootstrap repeats what must differ."""
    sides = [distinct_without(texts, clusters, n) for texts in (before, after)]
    (value_before, without_before), (value_after, without_after) = sides
    difference = value_after - value_before
    return Figure(
        name,
        Estimate(value_before, *jackknife(value_before, without_before)),
        Estimate(value_after, *jackknife(value_after, without_after)),
        Estimate(difference, *jackknife(difference, without_after - without_before)),
        len(without_after),
    )


def share_figure(name: str, before: Sequence[bool] | None, after: Sequence[bool]) -> Figure:
    """Shares of the same independent cases: Wilson's intervals, Newcombe's for the difference."""
    n = len(after)
    estimates = [
        None if side is None else Estimate(_share(sum(side), n), *wilson(sum(side), n))
        for side in (before, after)
    ]
    change = None
    if before is not None:
        change = difference_of_shares(after, before)
    assert estimates[1] is not None
    return Figure(name, estimates[0], estimates[1], change, n)


def difference_of_shares(first: Sequence[bool], second: Sequence[bool]) -> Estimate:
    """Share of the first less that of the second, of the same cases."""
    both = sum(a and b for a, b in zip(first, second, strict=True))
    one, two = sum(first) - both, sum(second) - both
    return Estimate(*newcombe_paired(both, one, two, len(first) - both - one - two))


def numbered(clusters: Sequence[Hashable]) -> tuple[np.ndarray, int]:
    """The number of each case's cluster, and how many clusters there are."""
    numbers: dict[Hashable, int] = {}
    index = [numbers.setdefault(cluster, len(numbers)) for cluster in clusters]
    return np.asarray(index, dtype=np.intp), len(numbers)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _figure(
    name: str,
    before: tuple[float, Array] | None,
    after: tuple[float, Array] | None,
    n: int,
) -> Figure:
    assert after is not None
    if before is None:
        return Figure(name, None, _estimate(*after, n), None, n)
    with np.errstate(invalid="ignore"):
        change = after[0] - before[0], after[1] - before[1]
    return Figure(name, _estimate(*before, n), _estimate(*after, n), _estimate(*change, n), n)


def _estimate(value: float, resampled: Array, n: int) -> Estimate:
    # Of one cluster nothing is known of how others would differ.
    ends = percentile_interval(resampled) if n > 1 and math.isfinite(value) else (math.nan,) * 2
    return Estimate(value, *ends)
