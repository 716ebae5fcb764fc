"""Intervals for shares and means, so that no comparison stands without one. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Z95 = 1.959963984540054


def wilson(wins: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927), 95 % by default.

    Args:
        wins: Number of successes; a tie may count as one half.
        n: Number of trials; with 0 trials nothing is known and the interval is (0, 1).
        z: Normal quantile.
    """
    if n == 0:
        return 0.0, 1.0
    return _wilson(wins / n, n, z)


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    # At 0 and at 1 an end is p itself, which rounding must not leave outside.
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))


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


def clustered_wilson(
    wins: Sequence[float], clusters: Sequence[int], z: float = Z95
) -> tuple[float, float, float]:
    """A share with Wilson's interval where cases come in dependent groups (pairs of one prompt).

    The interval is that of as many independent cases as would have the share's robust variance,
    Σ_c (Σ_{i∈c} (w_i − p))² / n² · G/(G − 1) over G clusters; never of more than there are, and
    of one per cluster where all cases are alike and nothing can be said about their dependence.

    Source: Korn & Graubard 1998, Survey Methodology 24(2), with Wilson's interval in place of
    theirs as Dean & Pagano 2015 advise.

    Args:
        wins: 1 for a success, 0 for none, one half for a tie.
        clusters: The group of each case.
        z: Normal quantile.

    Returns:
        The share and its bounds; (nan, 0, 1) without cases.
    """
    if not wins:
        return math.nan, 0.0, 1.0
    data = np.asarray(wins, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    share, n, n_groups = float(data.mean()), len(data), int(index.max()) + 1
    residuals = np.bincount(index, data - share)
    variance = float(np.square(residuals).sum()) / n**2
    if n_groups < 2 or share * (1 - share) == 0 or variance == 0:
        n_effective = float(n_groups)
    else:
        n_effective = min(float(n), share * (1 - share) / (variance * n_groups / (n_groups - 1)))
    return share, *_wilson(share, n_effective, z)


def newcombe(
    wins: tuple[float, float], n: tuple[int, int], z: float = Z95
) -> tuple[float, float, float]:
    """Difference of two independent shares, first less second, with Newcombe's interval.

    Source: Newcombe 1998, Statistics in Medicine 17, method 10.

    Args:
        wins: Successes of both; a tie may count as one half.
        n: Trials of both, none of them 0.
        z: Normal quantile.

    Returns:
        The difference and its bounds.
    """
    shares = [w / trials for w, trials in zip(wins, n, strict=True)]
    (low_1, high_1), (low_2, high_2) = (
        wilson(w, trials, z) for w, trials in zip(wins, n, strict=True)
    )
    difference = shares[0] - shares[1]
    down = math.hypot(shares[0] - low_1, high_2 - shares[1])
    up = math.hypot(high_1 - shares[0], shares[1] - low_2)
    return difference, difference - down, difference + up


def newcombe_paired(
    both: int, first_only: int, second_only: int, neither: int, z: float = Z95
) -> tuple[float, float, float]:
    """Difference of two shares of the same cases, first less second, with Newcombe's interval.

    Wilson's bounds of both shares, joined with their correlation φ, whose numerator is corrected
    for continuity where it is positive. Where no case differs the interval is still not empty.

    Source: Newcombe 1998, Statistics in Medicine 17, 2635-2650, method 10.

    Args:
        both: Cases in which both hold.
        first_only: Only the first.
        second_only: Only the second.
        neither: None of the two.
        z: Normal quantile.

    Returns:
        The difference and its bounds; (nan, -1, 1) without cases.
    """
    n = both + first_only + second_only + neither
    if n == 0:
        return math.nan, -1.0, 1.0
    ones, twos = both + first_only, both + second_only
    (low_1, high_1), (low_2, high_2) = wilson(ones, n, z), wilson(twos, n, z)
    share_1, share_2 = ones / n, twos / n
    margins = ones * (n - ones) * twos * (n - twos)
    cross = float(both * neither - first_only * second_only)
    if cross > 0:
        cross = max(cross - n / 2, 0.0)
    phi = cross / math.sqrt(margins) if margins else 0.0
    difference = share_1 - share_2
    below = _joined(share_1 - low_1, high_2 - share_2, phi)
    above = _joined(high_1 - share_1, share_2 - low_2, phi)
    return difference, difference - below, difference + above


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def resampled_counts(n: int, seed: int = 0, n_resamples: int = 2000) -> Array:  # (R, n)
    """How often each of `n` cases is drawn in each of R bootstrap resamples (Efron 1979).

    Figures that are compared take the same counts, so that their difference is a paired one.
    """
    rng = np.random.default_rng(seed)
    draws = rng.integers(0, n, (n_resamples, n)) + n * np.arange(n_resamples)[:, None]
    counts = np.bincount(draws.ravel(), minlength=n_resamples * n)
    return counts.reshape(n_resamples, n).astype(np.float64)


def percentile_interval(values: Array, level: float = 0.95) -> tuple[float, float]:
    """The middle `level` of resampled figures; those that are no numbers say nothing."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return math.nan, math.nan
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def jackknife(value: float, left_out: Array, z: float = Z95) -> tuple[float, float]:
    """Interval of a figure from its values with one case left out at a time, (n,).

    se² = (n − 1)/n · Σ_i (θ_i − θ̄)². For figures such as the share of different n-grams, which a
    bootstrap would put too low: it draws cases twice, and what is there twice is not different.

    Source: Tukey 1958; Efron & Tibshirani 1993, chapter 11.
    """
    n = len(left_out)
    if n < 2:
        return math.nan, math.nan
    half = z * math.sqrt((n - 1) / n * float(np.square(left_out - left_out.mean()).sum()))
    return value - half, value + half
