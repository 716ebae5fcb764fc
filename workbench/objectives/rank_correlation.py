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
    n_resamples: int = 400,
) -> tuple[float, float, float]:
    """ρ with its 95 % percentile bootstrap over clusters; all NaN where it is not defined."""
    value = spearman(first, second)
    if math.isnan(value):
        return math.nan, math.nan, math.nan
    one, other = np.asarray(first), np.asarray(second)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    order = np.argsort(index, kind="stable")
    members = np.split(order, np.bincount(index).cumsum()[:-1])
    rng = np.random.default_rng(seed)
    found = []
    for draw in rng.integers(len(members), size=(n_resamples, len(members))):
        rows = np.concatenate([members[g] for g in draw])
        found.append(spearman(one[rows].tolist(), other[rows].tolist()))
    low, high = np.nanquantile(found, [0.025, 0.975]) if not np.isnan(found).all() else (value,) * 2
    return value, float(low), float(high)
