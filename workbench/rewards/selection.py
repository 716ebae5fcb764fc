"""Which pairs to ask about next: scores and orders out of features, margins and ensembles.

N pairs, D features, M members of the ensemble. A pair's features are those of its first answer
less those of its second, so a linear probe's margin is its score of the first less the second.
NumPy only: the probes are small, and a pool is put in order within a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Key = TypeVar("Key")

RIDGE = 1.0
N_COMPONENTS = 128
N_MEMBERS = 16
_NEWTON_STEPS = 30
_NEARLY = 1e-8


def compact(features: Floats, n_components: int = N_COMPONENTS) -> Floats:
    """Answers in the directions in which they differ most: (A, D) -> (A, k)."""
    return directions(features, n_components).of(features)


class Directions(NamedTuple):
    """A few directions in a space of features."""

    centre: Floats  # (D,)
    axes: Floats  # (D, k)

    def of(self, features: Floats) -> Floats:
        """(A, D) -> (A, k)."""
        return np.asarray((features - self.centre) @ self.axes, dtype=np.float64)


def directions(features: Floats, n_components: int = N_COMPONENTS) -> Directions:
    """The directions in which answers (A, D) differ most.

    Principal components of standardised features, as long as they are: to whiten them costs a
    probe a tenth of its accuracy. On the whole they are scaled to a mean squared length of 1, so
    that one ridge suits every model.
    """
    centre = features.mean(0)
    centred = features - centre
    spread = centred.std(0)
    spread = np.where(spread > 0, spread, 1.0)
    centred = centred / spread
    if len(centred) <= centred.shape[1]:
        values, vectors = np.linalg.eigh(centred @ centred.T)
        is_some = values > values[-1] * _NEARLY
        axes = centred.T @ (vectors[:, is_some] / np.sqrt(values[is_some]))
    else:
        values, axes = np.linalg.eigh(centred.T @ centred)
    axes = axes[:, ::-1][:, :n_components]  # eigenvalues come ascending
    length = float(np.sqrt(((centred @ axes) ** 2).sum(1).mean())) if axes.size else 1.0
    return Directions(centre, axes / spread[:, None] / (length or 1.0))


def fit_probe(differences: Floats, is_first: Floats, ridge: float = RIDGE) -> Floats:
    """Weights (D,) of a Bradley-Terry model P(first better) = σ(w · difference), by Newton steps.

    Minimises Σ −log P(what was said) + ridge/2 · ‖w‖² (Bradley & Terry 1952; a logistic
    regression without intercept, as the sides of a pair are shuffled).

    Args:
        differences: (N, D).
        is_first: (N,), 1 where the first answer was preferred, 0 where the second was.
        ridge: Strength of the penalty.
    """
    all_once = np.ones((1, len(differences)))
    return np.asarray(fit_weighted(differences, is_first, all_once, ridge)[0])


def fit_weighted(
    differences: Floats, is_first: Floats, counts: Floats, ridge: float = RIDGE
) -> Floats:
    """As `fit_probe`, for each row of `counts` (M, N), how often a pair counts: (M, D)."""
    n_features = differences.shape[1]
    weights = np.zeros((len(counts), n_features))
    penalty = ridge * np.eye(n_features)
    for _ in range(_NEWTON_STEPS):
        p = sigmoid(weights @ differences.T)
        slope = (counts * (p - is_first)) @ differences + ridge * weights
        heights = counts * p * (1 - p)
        bend = np.stack([(differences.T * h) @ differences for h in heights]) + penalty
        step = np.linalg.solve(bend, slope[..., None])[..., 0]
        weights = weights - step
        if np.abs(step).max(initial=0.0) < _NEARLY:
            break
    return weights


def fit_ensemble(
    differences: Floats,
    is_first: Floats,
    seed: int,
    n_members: int = N_MEMBERS,
    ridge: float = RIDGE,
) -> Floats:
    """Weights (M, D) of probes, each fitted to a bootstrap draw of the labels (Efron 1979)."""
    n = len(differences)
    rng = np.random.default_rng(seed)
    draws = rng.integers(n, size=(n_members, n)) if n else np.zeros((n_members, 0), np.int64)
    counts = np.stack([np.bincount(draw, minlength=n) for draw in draws]).astype(np.float64)
    return fit_weighted(differences, is_first, counts, ridge)


def disagreement(margins: Floats) -> Floats:
    """How much the members of an ensemble disagree: (M, N) margins -> (N,) nats.

    H[mean of P] − mean of H[P]: what the label would tell of the model, without the noise that
    all members agree about (BALD; Houlsby et al. 2011, arXiv:1112.5745, eq. 2).
    """
    p = sigmoid(margins)
    return np.asarray(entropy(p.mean(0)) - entropy(p).mean(0))


def by_margin(margins: Floats) -> Ints:
    """Order (N,) of the pairs, the smallest |margin| first (Lewis & Gale 1994)."""
    return np.argsort(np.abs(margins), kind="stable")


def by_disagreement(margins: Floats) -> Ints:
    """Order (N,) of the pairs, the most disputed by the members (M, N) first."""
    return np.argsort(-disagreement(margins), kind="stable")


def farthest_first(differences: Floats, taken: Floats, n_picks: int) -> Ints:
    """Order (N,) in which each pair is the one farthest from all before it.

    The greedy 2-approximation of k-centre (Gonzalez 1985; as a strategy of active learning:
    Sener & Savarese 2018, arXiv:1708.00489). A pair and the same pair turned round are one, so
    the distance is min(‖a − b‖, ‖a + b‖).

    Args:
        differences: (N, D) of the pairs to put in order.
        taken: (L, D) of those labelled already.
        n_picks: After so many the rest follows by its distance from them.
    """
    norms = (differences**2).sum(1)
    distances = norms.copy()  # from the pair of two equal answers, which says nothing
    for centre in taken:
        distances = np.minimum(distances, _apart(differences, norms, centre))
    picked: list[int] = []
    for _ in range(min(n_picks, len(differences))):
        best = int(distances.argmax())
        picked.append(best)
        distances = np.minimum(distances, _apart(differences, norms, differences[best]))
        distances[picked] = -np.inf
    is_left = np.ones(len(differences), dtype=bool)
    is_left[picked] = False
    rest = np.flatnonzero(is_left)
    return np.concatenate(
        [np.array(picked, dtype=np.int64), rest[np.argsort(-distances[rest], kind="stable")]]
    )


def _apart(differences: Floats, norms: Floats, centre: Floats) -> Floats:
    """Squared distances (N,) from a centre (D,) or its mirror image, whichever is nearer."""
    nearer: Floats = norms + (centre**2).sum() - 2 * np.abs(differences @ centre)
    return nearer


def interleave(orders: Mapping[Key, Sequence[int]], shares: Mapping[Key, float]) -> list[int]:
    """One order in which each of several has its share at any length, as nearly as can be.

    The next place goes to whoever is farthest behind its share; each pair comes once.

    Args:
        orders: Orders of the same pairs.
        shares: How large a part each gets, in any unit.
    """
    wanted = {key: share for key, share in shares.items() if share > 0}
    total = sum(wanted.values())
    given = dict.fromkeys(wanted, 0)
    queues = {key: iter(orders[key]) for key in wanted}
    merged: dict[int, None] = {}
    n = len(orders[next(iter(wanted))]) if wanted else 0
    while len(merged) < n:
        place = len(merged) + 1
        key = max(wanted, key=lambda k: wanted[k] / total * place - given[k])
        given[key] += 1
        merged[next(i for i in queues[key] if i not in merged)] = None
    return list(merged)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + e⁻ˣ), without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)), dtype=np.float64)


def entropy(p: Floats) -> Floats:
    """Of a coin that falls on heads with probability `p`, in nats."""
    inner = np.clip(p, 1e-12, 1 - 1e-12)
    return np.asarray(-inner * np.log(inner) - (1 - inner) * np.log1p(-inner), dtype=np.float64)
