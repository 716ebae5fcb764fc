"""Spearman's rank correlation with an interval for dependent cases. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def ranks(values: Sequence[float]) -> Array:  # (N,)
    """Places from 1; equal values share the mean of theirs."""
    data = np.asarray(values, dtype=np.float64)
    _, index, counts = np.unique(data, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    return np.asarray((last - (counts - 1) / 2)[index], dtype=np.float64)


def spearman(first: Sequence[float], second: Sequence[float]) -> float:
    """Pearson's correlation of the ranks (Spearman 1904); NaN where one side does not vary."""
    one, other = ranks(first), ranks(second)
    one, other = one - one.mean(), other - other.mean()
    norm = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / norm if norm else math.nan


def spearman_interval(
    first: Sequence[float],
    second: Sequence[float],
    clusters: Sequence[int],
    seed: int = 0,
    n_resamples: int = 1000,
) -> tuple[float, float, float]:
    """ρ with its 95 % percentile bootstrap over clusters; all NaN where it is not defined.

    A resample keeps the ranks that its cases have among all, so that it is a matter of sums.
    """
    value = spearman(first, second)
    if math.isnan(value):
        return math.nan, math.nan, math.nan
    one, other = (r - r.mean() for r in (ranks(first), ranks(second)))
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    moments = np.stack([np.ones_like(one), one, other, one**2, other**2, one * other])
    sums = np.stack([np.bincount(index, row) for row in moments])  # (6, G)
    rng = np.random.default_rng(seed)
    n_groups = sums.shape[1]
    draws = rng.multinomial(n_groups, np.full(n_groups, 1 / n_groups), size=n_resamples)
    n, x, y, xx, yy, xy = sums @ draws.T  # each (B,)
    varies = np.maximum((xx - x * x / n) * (yy - y * y / n), 0.0)
    found = (xy - x * y / n)[varies > 0] / np.sqrt(varies[varies > 0])
    low, high = np.quantile(found, [0.025, 0.975]) if len(found) else (value, value)
    return value, float(low), float(high)
