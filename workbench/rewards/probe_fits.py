"""What a probe is fitted to, and how each kind is fitted: many members at once.

A answers, N labels, M members, k inputs, U hidden units. `counts` (M, N) says how often a label
counts for a member, so that bootstrap draws and folds are one call.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config.probe import ProbeKind
from workbench.errors import UserError
from workbench.rewards.selection import Directions, fit_weighted

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_UNITS = 16
_STEPS = 150
_STEP_SIZE = 0.02


class Labels(NamedTuple):
    """What was said of some answers: pairs, chosen over rejected, or ratings of single answers.

    Attributes:
        first: (N,) rows of answers: the chosen ones, or those that were rated.
        second: (N,) rows of the rejected ones; None for ratings.
        values: (N,) how much a pair counts, or the rating.
        groups: (N,) the prompt.
    """

    first: Ints
    second: Ints | None
    values: Floats
    groups: Ints

    def take(self, index: Ints | Bools) -> Labels:
        """Those at `index`."""
        second = None if self.second is None else self.second[index]
        return Labels(self.first[index], second, self.values[index], self.groups[index])

    @property
    def weights(self) -> Floats:
        """(N,) how much each counts."""
        return self.values if self.second is not None else np.ones(len(self.first))

    def rows(self, points: Floats) -> tuple[Floats, Floats]:
        """(N, k) and (N,), what a linear model is fitted to: differences and 1, or ratings."""
        if self.second is not None:
            return points[self.first] - points[self.second], np.ones(len(self.first))
        own, spread = points[self.first], float(self.values.std())
        return own - own.mean(0), (self.values - self.values.mean()) / (spread or 1.0)

    def margins(self, scores: Floats) -> Floats:
        """By how much scores (A,) put the better answer before the other, in each known pair."""
        if self.second is not None:
            return np.asarray(scores[self.first] - scores[self.second])
        ahead, better = self._compared(scores)
        return np.asarray((ahead * better)[np.triu(better != 0, 1)])

    def wins(self, scores: Floats) -> Floats:
        """(N,) how far scores agree with each label: 1, 0, or one half for equal scores.

        Of a rating it is the share of the answers rated otherwise that are on the right side.
        """
        if self.second is not None:
            return np.asarray((np.sign(self.margins(scores)) + 1) / 2)
        ahead, better = self._compared(scores)
        is_right = (np.sign(ahead * better) + 1) / 2 * (better != 0)
        n_others = (better != 0).sum(1)
        return np.where(n_others > 0, is_right.sum(1) / np.maximum(n_others, 1), 0.5)

    def _compared(self, scores: Floats) -> tuple[Floats, Floats]:
        """(N, N) how far each answer is ahead of each by score, and whether it should be."""
        own = scores[self.first]
        return own[:, None] - own, np.sign(self.values[:, None] - self.values)


class Network(NamedTuple):
    """A score for each point: linear, or with one hidden layer of tanh.

    Attributes:
        weight: (M, k), or (M, U) with a hidden layer.
        offset: (M,) is added to the score.
        hidden: (M, k, U), or None.
        bias: (M, U), or None.
    """

    weight: Floats
    offset: Floats
    hidden: Floats | None = None
    bias: Floats | None = None

    def scores(self, points: Floats) -> Floats:  # (A, k) -> (M, A)
        """The scores of all members."""
        if self.hidden is None or self.bias is None:
            return np.asarray(self.weight @ points.T + self.offset[:, None])
        units = np.tanh(points @ self.hidden + self.bias[:, None])  # (M, A, U)
        return np.asarray((units @ self.weight[..., None])[..., 0] + self.offset[:, None])

    def seen_from(self, directions: Directions) -> Network:
        """The same scores of what the directions are taken of: k becomes the size of that."""
        if self.hidden is None or self.bias is None:
            weight = self.weight @ directions.axes.T
            return self._replace(weight=weight, offset=self.offset - weight @ directions.centre)
        hidden = directions.axes @ self.hidden  # (M, D, U)
        return self._replace(hidden=hidden, bias=self.bias - directions.centre @ hidden)

    def scaled(self, scale: float, centre: Floats) -> Network:  # centre (M,)
        """`scale` times the scores, with 0 where they were `centre`."""
        return self._replace(weight=self.weight * scale, offset=(self.offset - centre) * scale)


Fit = Callable[[Floats, Labels, Floats, float, int], Network]


def fit(
    kind: ProbeKind, points: Floats, labels: Labels, counts: Floats, strength: float, seed: int
) -> Network:
    """Fit a kind of probe to labels of points (A, k), once for each row of `counts` (M, N).

    Raises:
        UserError: scikit-learn is missing, or the kind cannot learn from ratings.
    """
    if labels.second is None and kind not in ("ridge", "svm"):
        raise UserError(
            f"A probe of the kind {kind} learns from pairs, not from ratings.",
            "Choose ridge or svm for ratings, or learn from pairs.",
        )
    return _FITS[kind](points, labels, counts * labels.weights, strength, seed)


def _logistic(
    points: Floats, labels: Labels, counts: Floats, strength: float, _seed: int
) -> Network:
    """Bradley and Terry 1952: Σ −log σ(w · difference) + λ/2 · ‖w‖²."""
    differences, targets = labels.rows(points)
    return _linear(fit_weighted(differences, targets, counts, strength))


def _ridge(points: Floats, labels: Labels, counts: Floats, strength: float, _seed: int) -> Network:
    """Σ (1 − w · difference)² + λ · ‖w‖², or of ratings (Hoerl & Kennard 1970)."""
    inputs, targets = labels.rows(points)
    penalty = strength * np.eye(inputs.shape[1])
    bend = np.stack([(inputs.T * row) @ inputs for row in counts]) + penalty
    slope = (counts * targets) @ inputs
    return _linear(np.asarray(np.linalg.solve(bend, slope[..., None])[..., 0], dtype=np.float64))


def _svm(points: Floats, labels: Labels, counts: Floats, strength: float, seed: int) -> Network:
    """Squared hinge, or squared distance from a tube round the ratings; C = 1/λ (Joachims 2002).

    Each difference comes in both directions, so that there are two classes and no intercept.
    """
    svm = _sklearn_svm()
    options: dict[str, Any] = {
        "C": 1.0 / strength,
        "fit_intercept": False,
        "dual": False,
        "random_state": seed,
        "tol": 1e-8,
        "max_iter": 5000,
    }
    inputs, targets = labels.rows(points)
    if labels.second is None:
        model = svm.LinearSVR(loss="squared_epsilon_insensitive", epsilon=0.1, **options)
    else:
        model = svm.LinearSVC(**options)
        inputs, targets = np.concatenate([inputs, -inputs]), np.concatenate([targets, -targets])
        counts = np.concatenate([counts, counts], axis=1) / 2
    weights = [
        model.fit(inputs[row > 0], targets[row > 0], sample_weight=row[row > 0]).coef_.reshape(-1)
        for row in counts
    ]
    return _linear(np.array(weights, dtype=np.float64))


def _mlp(points: Floats, labels: Labels, counts: Floats, strength: float, seed: int) -> Network:
    """Bradley and Terry's likelihood of a hidden layer of 16 tanh units, λ/2 · ‖weights‖², Adam."""
    import torch  # the other kinds do without, beside the worker

    from workbench.objectives.preference import bradley_terry_nll

    assert labels.second is not None
    n_members, k = len(counts), points.shape[1]
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(n_members, k, _UNITS, generator=generator) / k**0.5
    weight = torch.randn(n_members, _UNITS, generator=generator) / _UNITS**0.5
    parameters = [hidden, weight, torch.zeros(n_members, _UNITS)]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(parameters, lr=_STEP_SIZE)
    x, often = torch.from_numpy(points).float(), torch.from_numpy(counts).float()
    first, second = torch.from_numpy(labels.first), torch.from_numpy(labels.second)
    with torch.enable_grad():
        for _ in range(_STEPS):
            units = torch.tanh(x @ parameters[0] + parameters[2][:, None])
            scores = (units @ parameters[1][..., None])[..., 0]  # (M, A)
            losses = often * bradley_terry_nll(scores[:, first], scores[:, second])
            size = parameters[0].square().sum() + parameters[1].square().sum()
            optimiser.zero_grad()
            torch.autograd.backward(losses.sum() + strength / 2 * size)
            optimiser.step()
    into, out, bias = (p.detach().double().numpy() for p in parameters)
    return Network(out, np.zeros(n_members), into, bias)


def _linear(weights: Floats) -> Network:
    return Network(weights, np.zeros(len(weights)))


def has_sklearn() -> bool:
    """Whether support vector machines can be fitted."""
    return importlib.util.find_spec("sklearn") is not None


def _sklearn_svm() -> Any:
    try:
        from sklearn import svm
    except ImportError as error:
        raise UserError(
            "A support vector machine needs scikit-learn, which is not installed.",
            'Install it with: pip install "rlhf-workbench[stats]". The other kinds do without.',
        ) from error
    return svm


_FITS: Mapping[ProbeKind, Fit] = {
    "logistic": _logistic,
    "ridge": _ridge,
    "svm": _svm,
    "mlp": _mlp,
}
