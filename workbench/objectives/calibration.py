"""Whether a reward's margins mean what they say: reliability, calibration error, temperature.

N pairs, G clusters (prompts), B resamples, K bins. A margin is the score of the chosen answer less
that of the rejected one. By Bradley & Terry the reward is sure of its own pick with probability
σ(|margin|), and its pick is right where the margin is positive; 0 counts half. No torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.objectives.intervals import clustered_wilson

Array = NDArray[np.float64]

N_BINS = 5
_COLDEST, _HOTTEST = 1e-3, 1e3
_HALVINGS = 40


class Bin(NamedTuple):
    """Pairs of which the reward is about equally sure; bounds of the share are 95 %."""

    predicted: float
    right: float
    low: float
    high: float
    n: int


class Bounded(NamedTuple):
    """A figure with the bounds of its interval."""

    value: float
    low: float
    high: float


def confidence(margins: Sequence[float]) -> Array:  # (N,)
    """σ(|m|): how sure the reward is of its own pick, from 1/2 to 1."""
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * np.abs(np.asarray(margins, dtype=np.float64))))


def rightness(margins: Sequence[float]) -> Array:  # (N,)
    """1 where the pick is the chosen answer, 0 where it is not, 1/2 where there is no pick."""
    return np.asarray(0.5 + 0.5 * np.sign(np.asarray(margins, dtype=np.float64)))


def reliability(
    margins: Sequence[float], clusters: Sequence[int], n_bins: int = N_BINS
) -> list[Bin]:
    """What the reward predicted against what was right, in equal bins of [1/2, 1] that hold pairs.

    Source: DeGroot & Fienberg 1983, The Statistician 32; intervals: `clustered_wilson`.
    """
    sure, right = confidence(margins), rightness(margins)
    place = _places(sure, n_bins)
    found = []
    for k in range(n_bins):
        chosen = np.flatnonzero(place == k).tolist()
        if chosen:
            share, low, high = clustered_wilson(
                right[chosen].tolist(), [clusters[i] for i in chosen]
            )
            found.append(Bin(float(sure[chosen].mean()), share, low, high, len(chosen)))
    return found


def calibration_error(margins: Sequence[float], n_bins: int = N_BINS) -> float:
    """ECE = Σ_k n_k/N · |mean confidence_k − share right_k|.

    Source: Guo et al. 2017 (arXiv:1706.04599), eq. 3.
    """
    gaps = _gaps(margins, n_bins)
    return float(np.abs(gaps.sum(0)).sum() / len(margins)) if len(margins) else math.nan


def calibration_interval(
    margins: Sequence[float],
    clusters: Sequence[int],
    n_bins: int = N_BINS,
    seed: int = 0,
    n_resamples: int = 1000,
) -> Bounded:
    """ECE with its 95 % percentile bootstrap over clusters.

    ECE is never negative, so it is above 0 for a calibrated model too, and the more so the fewer
    the pairs: hold it against `error_when_calibrated`.
    """
    gaps, counts, sizes = _clustered(_gaps(margins, n_bins), clusters, seed, n_resamples)
    errors = np.abs(counts @ gaps).sum(1) / (counts @ sizes)
    low, high = np.quantile(errors, [0.025, 0.975])
    return Bounded(calibration_error(margins, n_bins), float(low), float(high))


def error_when_calibrated(
    margins: Sequence[float], n_bins: int = N_BINS, seed: int = 0, n_draws: int = 1000
) -> float:
    """The mean ECE that so many pairs would show if every confidence were true.

    What is right is drawn from the confidences themselves: Bröcker & Smith 2007, Weather and
    Forecasting 22, "consistency resampling".
    """
    sure = confidence(margins)
    place = _places(sure, n_bins)
    draws = np.random.default_rng(seed).random((n_draws, len(sure))) < sure
    gaps = (sure - draws) @ np.eye(n_bins)[place]
    return float(np.abs(gaps).sum(1).mean() / len(sure))


def temperature(margins: Sequence[float]) -> float:
    """The T whose σ(m/T) fits the labels best: −Σ log σ(m/T) is least.

    Above 1 the reward is over-confident. The sum is convex in 1/T. Where no T is best (all pairs
    right, or no more than by chance) it is the nearest bound of [1/1000, 1000].

    Source: Guo et al. 2017 (arXiv:1706.04599), section 4.2; Platt 1999 without a bias.
    """
    every = np.asarray(margins, dtype=np.float64)
    return float(_temperatures(every, np.ones((1, len(every))))[0])


def temperature_interval(
    margins: Sequence[float], clusters: Sequence[int], seed: int = 0, n_resamples: int = 500
) -> Bounded:
    """`temperature` with its 95 % percentile bootstrap over clusters."""
    every = np.asarray(margins, dtype=np.float64)
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    counts = _draws(int(index.max()) + 1, seed, n_resamples)
    low, high = np.quantile(_temperatures(every, counts[:, index]), [0.025, 0.975])
    return Bounded(temperature(margins), float(low), float(high))


def _temperatures(margins: Array, counts: Array) -> Array:  # (N,), (B, N) -> (B,)
    """By halving in log T: the slope Σ m·σ(−m/T) of the likelihood in 1/T falls as 1/T rises."""
    low = np.full(len(counts), math.log(_COLDEST))
    high = np.full(len(counts), math.log(_HOTTEST))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        scaled = margins / np.exp(middle)[:, None]
        slope = (counts * margins * (0.5 - 0.5 * np.tanh(0.5 * scaled))).sum(1)
        # Still gaining by being surer: the best T is lower.
        is_lower = slope >= 0
        high, low = np.where(is_lower, middle, high), np.where(is_lower, low, middle)
    return np.asarray(np.exp((low + high) / 2))


def _places(sure: Array, n_bins: int) -> NDArray[np.int64]:
    return np.minimum(((sure - 0.5) * 2 * n_bins).astype(np.int64), n_bins - 1)


def _gaps(margins: Sequence[float], n_bins: int) -> Array:  # (N, K)
    """Confidence less rightness of each pair, in the column of its bin."""
    sure = confidence(margins)
    gaps: Array = (sure - rightness(margins))[:, None] * np.eye(n_bins)[_places(sure, n_bins)]
    return gaps


def _clustered(
    values: Array, clusters: Sequence[int], seed: int, n_resamples: int
) -> tuple[Array, Array, Array]:
    """Sums of clusters (G, K), how often each is drawn (B, G), and their sizes (G,)."""
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    sizes = np.bincount(index).astype(np.float64)
    sums = np.zeros((len(sizes), values.shape[1]))
    np.add.at(sums, index, values)
    return sums, _draws(len(sizes), seed, n_resamples), sizes


def _draws(n: int, seed: int, n_resamples: int) -> Array:  # (B, n)
    rng = np.random.default_rng(seed)
    return rng.multinomial(n, np.full(n, 1 / n), size=n_resamples).astype(np.float64)
