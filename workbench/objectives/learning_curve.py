"""How accuracy grows with the number of labels, and what more of them may bring. No torch.

D draws (orders in which the labels came), S sizes, N held-out pairs, G clusters (prompts),
B resamples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Grown(NamedTuple):
    """Accuracy at each size with its 95 % interval, and what is expected of more labels."""

    value: Array  # (S,)
    low: Array  # (S,)
    high: Array  # (S,)
    gain: float
    gain_low: float
    gain_high: float
    limit: float


def fit(sizes: Sequence[int], accuracies: Array) -> tuple[Array, Array]:  # (..., S) -> (...), (...)
    """Limit a and slope b of accuracy = a − b/√n, by least squares.

    A power law a − b·n^−c with c = 1/2, the slowest that is usual: with a handful of points on a
    few hundred labels c cannot be told from the noise, and with it fixed the fit has one solution.

    Source: Cortes et al. 1993, "Learning curves: asymptotic values and rate of convergence"
    (NeurIPS 6), eq. 1.
    """
    x = np.asarray(sizes, dtype=np.float64) ** -0.5
    centred = x - x.mean()
    slope = (accuracies @ centred) / max(float(centred @ centred), 1e-300)
    return np.asarray(accuracies.mean(-1) - slope * x.mean()), np.asarray(-slope)


def grown(
    is_right: Array,  # (D, S, N): 1 right, 0 wrong, 1/2 undecided
    sizes: Sequence[int],
    clusters: Sequence[int],
    n_more: int,
    seed: int = 0,
    n_resamples: int = 1000,
) -> Grown:
    """The curve and the gain of `n_more` labels after the largest size, with 95 % intervals.

    Draws and held-out clusters are both resampled (percentile bootstrap): the one says how much
    depends on which labels came first, the other how much on what was held out.
    """
    _, index = np.unique(np.asarray(clusters), return_inverse=True)
    counts = np.bincount(index).astype(np.float64)
    n_draws, n_sizes, _ = is_right.shape
    sums = np.zeros((n_draws, n_sizes, len(counts)))
    np.add.at(sums.transpose(2, 0, 1), index, is_right.transpose(2, 0, 1))
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(n_draws, np.full(n_draws, 1 / n_draws), size=n_resamples)
    groups = rng.multinomial(len(counts), np.full(len(counts), 1 / len(counts)), size=n_resamples)
    totals = np.einsum("bd,dsg,bg->bs", draws, sums, groups, optimize=True)
    resampled = totals / (n_draws * (groups @ counts))[:, None]
    value = is_right.mean(axis=(0, 2))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    limit, slope = fit(sizes, value)
    gains = _gain(fit(sizes, resampled)[1], sizes[-1], n_more)
    gain_low, gain_high = np.quantile(gains, [0.025, 0.975])
    gain = float(_gain(slope, sizes[-1], n_more))
    return Grown(value, low, high, gain, float(gain_low), float(gain_high), float(limit))


def _gain(slope: Array, n: int, n_more: int) -> Array:
    return np.asarray(slope * (n**-0.5 - (n + n_more) ** -0.5))
