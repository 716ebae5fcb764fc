"""The same quantities written the slow way: NumPy, float64, one loop per index.

None of these shares a formula with `workbench.objectives`: sums run token by token, masks are
`if`, advantages are double sums, gradients are finite differences.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Collection, Sequence
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


def rewards(scores: F, kl: F, mask: B, beta: float, per_token: F | None = None) -> F:
    out = np.zeros_like(kl)
    for b in range(len(scores)):
        last = None
        for t in range(kl.shape[1]):
            if mask[b, t]:
                out[b, t] = -beta * kl[b, t]
                if per_token is not None:
                    out[b, t] += per_token[b, t]
                last = t
        if last is not None:
            out[b, last] += scores[b]
    return out


def to_go(r: F, mask: B, gamma: float) -> F:
    """Σ_{k≥t} γ^{k−t}·r_k as it is written."""
    out = np.zeros_like(r)
    for b, t in np.ndindex(*r.shape):
        if mask[b, t]:
            later = range(t, int(mask[b].sum()))
            out[b, t] = math.fsum(gamma ** (k - t) * r[b, k] for k in later)
    return out


def leave_one_out(scores: Sequence[float], group_size: int) -> list[float]:
    out = []
    for start in range(0, len(scores), group_size):
        group = list(scores[start : start + group_size])
        for i, score in enumerate(group):
            out.append(score - statistics.fmean(group[:i] + group[i + 1 :]))
    return out


def group_relative(scores: Sequence[float], group_size: int, *, is_scaled: bool) -> list[float]:
    out = []
    for start in range(0, len(scores), group_size):
        group = scores[start : start + group_size]
        scale = statistics.stdev(group) + 1e-4 if is_scaled else 1.0
        out += [(score - statistics.fmean(group)) / scale for score in group]
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


def clipped_loss(
    log_ratio: float, advantage: float, low: float, high: float, dual: float = math.inf
) -> tuple[float, bool]:
    """The loss by cases, not by max: an action counts as clipped where its step is ignored."""
    ratio = math.exp(log_ratio)
    if advantage > 0 and ratio > 1 + high:
        return -advantage * (1 + high), True
    if advantage < 0 and ratio < 1 - low:
        return -advantage * (1 - low), True
    if advantage < 0 and ratio > dual:
        return -advantage * dual, True
    return -advantage * ratio, False


def aggregated(losses: F, mask: B, how: str, max_tokens: int) -> float:
    """The loss of a whole minibatch, with what it is divided by counted here."""
    rows = [selected(x, m) for x, m in zip(losses, mask, strict=True)]
    if how == "answer":
        return statistics.fmean(mean(row) if row else 0.0 for row in rows)
    n = int(mask.sum()) if how == "token" else len(rows) * max_tokens
    return math.fsum(x for row in rows for x in row) / n


def value_token_loss(v: float, old: float, target: float, eps: float) -> tuple[float, bool]:
    near = old + eps if v > old + eps else old - eps if v < old - eps else v
    is_clipped = abs(near - target) > abs(v - target)
    return 0.5 * (near - target if is_clipped else v - target) ** 2, is_clipped


def log1p_exp(x: float) -> float:
    return math.log1p(math.exp(x))


def dpo_loss(delta: float, beta: float, kind: str, smoothing: float) -> float:
    """From the log-probability ratio of a pair; the sigmoid by the probability of its label."""
    if kind == "sigmoid":
        return (1 - smoothing) * log1p_exp(-beta * delta) + smoothing * log1p_exp(beta * delta)
    if kind == "ipo":
        return (delta - 0.5 / beta) ** 2
    return 1 - beta * delta if beta * delta < 1 else 0.0


def rao_kupper(first: float, second: float, verdict: int, theta: float) -> float:
    """Probabilities from worths w = exp(score), as Rao and Kupper write them."""
    w1, w2 = math.exp(first), math.exp(second)
    p_first, p_second = w1 / (w1 + theta * w2), w2 / (theta * w1 + w2)
    p_tie = (theta**2 - 1) * w1 * w2 / ((w1 + theta * w2) * (theta * w1 + w2))
    return -math.log({1: p_first, -1: p_second, 0: p_tie}[verdict])


def plackett_luce(scores: Sequence[float]) -> float:
    """Draw without replacement: the probability that the answers come out in this order."""
    left, probability = [math.exp(s) for s in scores], 1.0
    while left:
        probability *= left[0] / math.fsum(left)
        left = left[1:]
    return -math.log(probability)


def expectile(q: float, v: float, tau: float) -> float:
    return tau * (q - v) ** 2 if q > v else (1 - tau) * (q - v) ** 2


def path_residuals(d: F, v: F, r: F, mask: B, beta: float, gamma: float) -> F:
    """V(s_t) less what one step brings: reward, price of leaving the reference, next value."""
    out = np.zeros_like(v)
    for b, t in np.ndindex(*v.shape):
        if mask[b, t]:
            is_last = t + 1 == int(mask[b].sum())
            following = 0.0 if is_last else v[b, t + 1]
            out[b, t] = v[b, t] - (r[b, t] - beta * d[b, t] + gamma * following)
    return out


def best_of_n(scores: Sequence[float], n: int) -> float:
    """The mean over all ways to draw n of them; the last drawn is the best."""
    return statistics.fmean(drawn[-1] for drawn in itertools.combinations(scores, n))


def wins(scores: list[float], utilities: list[float], n: int) -> float:
    """How often the best of n by score beats one more answer by utility; a tie is half a win."""
    results = []
    for opponent in range(len(scores)):
        others = [i for i in range(len(scores)) if i != opponent]
        for drawn in itertools.combinations(others, n):
            best = max(drawn, key=lambda i: scores[i])
            difference = utilities[best] - utilities[opponent]
            results.append(0.5 if difference == 0 else float(difference > 0))
    return statistics.fmean(results)


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
