"""The same quantities written the slow way: NumPy, float64, one loop per index.

None of these shares a formula with `workbench.objectives`: sums run token by token, masks are
`if`, advantages are double sums, gradients are finite differences.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

F = NDArray[np.float64]
B = NDArray[np.bool_]


def ragged(seed: int, n_rows: int = 5, width: int = 7) -> B:
    """A mask of right-padded answers: one full, one with a single token, the rest between."""
    rng = np.random.default_rng(seed)
    lengths = [width, 1, *rng.integers(1, width + 1, n_rows - 2)]
    return np.array([[t < n for t in range(width)] for n in lengths[:n_rows]])


def selected(x: F, mask: B) -> list[float]:
    return [float(v) for v, keep in zip(x.ravel(), mask.ravel(), strict=True) if keep]


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def variance(values: list[float], ddof: int) -> float:
    center = mean(values)
    return math.fsum((v - center) ** 2 for v in values) / (len(values) - ddof)


def response_mask(ids: NDArray[np.int64], stop_ids: Collection[int]) -> B:
    rows = []
    for row in ids:
        keep, is_open = [], True
        for token in row:
            keep.append(is_open)
            if int(token) in stop_ids:
                is_open = False
        rows.append(keep)
    return np.array(rows, dtype=bool).reshape(ids.shape)


def probabilities(logits: F, temperature: float) -> list[float]:
    top = max(float(v) for v in logits)
    weights = [math.exp((float(v) - top) / temperature) for v in logits]
    total = math.fsum(weights)
    return [w / total for w in weights]


def logp(logits: F, token: int, temperature: float) -> float:
    return math.log(probabilities(logits, temperature)[token])


def entropy(logits: F, temperature: float) -> float:
    return -math.fsum(p * math.log(p) for p in probabilities(logits, temperature) if p > 0)


def rewards(scores: F, kl: F, mask: B, beta: float) -> F:
    out = np.zeros_like(kl)
    for b in range(len(scores)):
        last = None
        for t in range(kl.shape[1]):
            if mask[b, t]:
                out[b, t] = -beta * kl[b, t]
                last = t
        if last is not None:
            out[b, last] += scores[b]
    return out


def gae(r: F, v: F, mask: B, gamma: float, lam: float) -> F:
    """A_t = Σ_{l≥0} (γλ)^l δ_{t+l}, as the paper writes it: an O(T²) sum for each row."""
    out = np.zeros_like(v)
    for b in range(len(v)):
        n = int(mask[b].sum())
        for t in range(n):
            total = 0.0
            for k in range(t, n):
                following = v[b, k + 1] if k + 1 < n else 0.0
                total += (gamma * lam) ** (k - t) * (r[b, k] + gamma * following - v[b, k])
            out[b, t] = total
    return out


def ppo_token_loss(new: float, old: float, advantage: float, eps: float) -> tuple[float, bool]:
    """The loss by cases, not by max: a token counts as clipped where its step is ignored."""
    ratio = math.exp(new - old)
    if advantage > 0 and ratio > 1 + eps:
        return -advantage * (1 + eps), True
    if advantage < 0 and ratio < 1 - eps:
        return -advantage * (1 - eps), True
    return -advantage * ratio, False


def value_token_loss(v: float, old: float, target: float, eps: float) -> tuple[float, bool]:
    near = old + eps if v > old + eps else old - eps if v < old - eps else v
    is_clipped = abs(near - target) > abs(v - target)
    return 0.5 * (near - target if is_clipped else v - target) ** 2, is_clipped


def slope(f: Callable[[F], float], x: F, step: float = 1e-6) -> F:
    """Central differences of a scalar function."""
    out = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        up, down = x.copy(), x.copy()
        up[i] += step
        down[i] -= step
        out[i] = (f(up) - f(down)) / (2 * step)
    return out


def normal(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).normal(size=shape)
