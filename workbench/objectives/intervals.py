"""Intervals for shares and means, so that no comparison stands without one. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_Z95 = 1.959963984540054


def wilson(wins: float, n: int, z: float = _Z95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927), 95 % by default.

    Args:
        wins: Number of successes; a tie may count as one half.
        n: Number of trials; with 0 trials nothing is known and the interval is (0, 1).
        z: Normal quantile.
    """
    if n == 0:
        return 0.0, 1.0
    p = wins / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_mean(
    values: Sequence[float], seed: int = 0, n_resamples: int = 2000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean (Efron 1979); (nan, nan) for no values."""
    if not values:
        return math.nan, math.nan
    data = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = data[rng.integers(0, len(data), (n_resamples, len(data)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def cluster_bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[int],
    seed: int = 0,
    n_resamples: int = 2000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Bootstrap interval of a mean when values come in dependent groups (answers of one prompt).

    Whole clusters are drawn with replacement, so that several answers to one prompt do not
    pretend to be independent (Cameron, Gelbach & Miller 2008).
    """
    if not values:
        return math.nan, math.nan
    data = np.asarray(values, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sums, counts = np.bincount(index, data), np.bincount(index)
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, len(sums), (n_resamples, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
