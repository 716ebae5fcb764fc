"""Light reward models on frozen states: where to read, how much to regularise, how good it is.

A answers, N labels, M members, k directions, H hidden size; a view is a layer with a pooling.
View and regularisation are chosen on folds inside the labels that are learned from, by the
likelihood of what is held out; the accuracy that is told is of labels that took no part in fitting
nor in choosing. Folds go by prompt, so that no prompt is on both sides.

Left out: reading several layers at once, and anything that changes the base.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.config.probe import POOLINGS, Pooling, ProbeKind, ProbeSettings
from workbench.errors import UserError
from workbench.objectives.intervals import clustered_wilson
from workbench.rewards.probe_fits import Floats, Ints, Labels, Network, fit
from workbench.rewards.selection import Directions, directions, fit_probe

N_FOLDS = 5
_INNER_FOLDS = 4
_SAMPLE = 512
_PLAIN = 1.0  # the regularisation with which views are compared
_STRENGTHS = (0.1, 1.0, 10.0)
_LEAST_SCALE = 0.01


class View(NamedTuple):
    """Where a probe reads, and the answers seen from there."""

    layer: int
    pooling: Pooling
    directions: Directions
    points: Floats  # (A, k)


class Accuracy(NamedTuple):
    """Share of held-out labels that were told right, with its 95 % interval (Wilson, by prompt)."""

    value: float
    low: float
    high: float
    n: int


class Choice(NamedTuple):
    """What was left open: the number of a view, and the regularisation."""

    view: int
    strength: float


class Probe(NamedTuple):
    """A fitted probe on the base's own states; member 0 learned from all labels as they are.

    Differences of scores are log-odds that the first answer is preferred.
    """

    layer: int
    pooling: Pooling
    strength: float
    network: Network

    def scores(self, states: NDArray[np.float32]) -> Floats:  # (A, H) -> (M, A)
        """The scores of all members."""
        return self.network.scores(states.astype(np.float64))


def views_of(
    features: NDArray[np.float32],  # (A, L, 2, H)
    layers: Sequence[int],
    settings: ProbeSettings,
) -> list[View]:
    """All views that the settings leave open.

    The directions come from the answers alone, at most 512 of them, and from no label.

    Raises:
        UserError: States are not numbers, or there is no such layer.
    """
    require_finite(features)
    if settings.layer not in (0, *layers):
        told = ", ".join(map(str, layers))
        raise UserError(
            f"Layer {settings.layer} is not read.", f"These are: {told}; 0 chooses among them."
        )
    found = []
    for i, layer in enumerate(layers):
        for j, pooling in enumerate(POOLINGS):
            if settings.layer in (0, layer) and settings.pooling in ("choose", pooling):
                own = features[:, i, j].astype(np.float64)
                some = np.linspace(0, len(own) - 1, min(len(own), _SAMPLE)).astype(int)
                axes = directions(own[some])
                found.append(View(layer, pooling, axes, axes.of(own)))
    return found


def require_finite(features: NDArray[np.float32]) -> None:
    """Check the states of answers (A, ...).

    Raises:
        UserError: Some are not numbers.
    """
    n_bad = int((~np.isfinite(features)).reshape(len(features), -1).any(1).sum())
    if n_bad:
        raise UserError(
            f"What the model makes of {n_bad} answer{'' if n_bad == 1 else 's'} is not a number, "
            "so no probe can read it.",
            "Choose another model, or leave those answers out.",
        )


def folds(groups: Ints, n_folds: int, seed: int) -> Ints:
    """(N,) the fold of each label; those of one prompt are in one fold, of about equal size."""
    _, index, counts = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng((seed, n_folds)).permutation(len(counts))
    fold_of, sizes = np.zeros(len(counts), dtype=np.int64), np.zeros(n_folds)
    for group in order[np.argsort(-counts[order], kind="stable")]:
        fold_of[group] = int(sizes.argmin())
        sizes[fold_of[group]] += counts[group]
    return np.asarray(fold_of[index])


def choose(
    kind: ProbeKind, views: Sequence[View], labels: Labels, settings: ProbeSettings
) -> Choice:
    """The view that least squares tells most from, and the regularisation of this kind there."""
    best = best_view(views, labels, settings.seed)
    return Choice(best, choose_strength(kind, views[best], labels, settings))


def best_view(views: Sequence[View], labels: Labels, seed: int) -> int:
    """Number of the view from which least squares tells most of what is held out.

    Least squares, because it is solved at once: a tenth of the time of all else.
    """
    losses = [_loss(_held_out("ridge", v, labels, _PLAIN, _INNER_FOLDS, seed)[1]) for v in views]
    return int(np.argmin(losses))


def choose_strength(kind: ProbeKind, view: View, labels: Labels, settings: ProbeSettings) -> float:
    """The regularisation with which this kind tells most of what is held out."""
    if settings.strength:
        return settings.strength
    losses = [
        _loss(_held_out(kind, view, labels, strength, _INNER_FOLDS, settings.seed)[1])
        for strength in _STRENGTHS
    ]
    return _STRENGTHS[int(np.argmin(losses))]


def measure(
    kinds: Sequence[ProbeKind], views: Sequence[View], labels: Labels, settings: ProbeSettings
) -> dict[ProbeKind, Accuracy]:
    """Each kind on labels that neither fitting nor choosing has seen, five folds by prompt."""
    fold = folds(labels.groups, N_FOLDS, settings.seed)
    wins = {kind: np.zeros(len(fold)) for kind in kinds}
    for k in np.unique(fold):
        train, test = labels.take(fold != k), labels.take(fold == k)
        view = views[best_view(views, train, settings.seed)]
        for kind in kinds:
            strength = choose_strength(kind, view, train, settings)
            everything = np.ones((1, len(train.first)))
            network = fit(kind, view.points, train, everything, strength, settings.seed)
            wins[kind][fold == k] = test.wins(network.scores(view.points)[0])
    return {kind: accuracy_of(own, labels.groups) for kind, own in wins.items()}


def by_view(views: Sequence[View], labels: Labels, seed: int) -> list[Accuracy]:
    """What least squares tells from each view, on five folds by prompt."""
    found = []
    for view in views:
        wins, _ = _held_out("ridge", view, labels, _PLAIN, N_FOLDS, seed)
        found.append(accuracy_of(wins, labels.groups))
    return found


def by_size(
    kind: ProbeKind, view: View, labels: Labels, strength: float, sizes: Sequence[int], seed: int
) -> list[Accuracy]:
    """What is told of each fold when only so many of the other labels are learned from.

    View and regularisation are those that all labels chose, so that only the number differs.
    """
    fold = folds(labels.groups, N_FOLDS, seed)
    order = np.random.default_rng((seed, 1)).permutation(len(fold))
    found = []
    for size in sizes:
        counts = np.zeros((N_FOLDS, len(fold)))
        for k in range(N_FOLDS):
            counts[k, [i for i in order if fold[i] != k][:size]] = 1.0
        network = fit(kind, view.points, labels, counts, strength, seed)
        wins, _ = _told(network, view, labels, fold)
        found.append(accuracy_of(wins, labels.groups))
    return found


def fit_probe_on(
    kind: ProbeKind, views: Sequence[View], labels: Labels, settings: ProbeSettings
) -> Probe:
    """A probe that learned from all labels, and as many members as are wanted from draws of them.

    One factor makes log-odds of all scores: the likeliest for what is held out (Platt 1999, with
    the offset left out, as it would say that one side of a pair is preferred).
    """
    choice = choose(kind, views, labels, settings)
    view, n = views[choice.view], len(labels.first)
    rng = np.random.default_rng(settings.seed)
    draws = rng.integers(n, size=(settings.members, n))
    counts = np.array([np.ones(n), *(np.bincount(draw, minlength=n) for draw in draws)])
    network = fit(kind, view.points, labels, counts, choice.strength, settings.seed)
    _, margins = _held_out(kind, view, labels, choice.strength, _INNER_FOLDS, settings.seed)
    known = np.unique(
        labels.first if labels.second is None else np.concatenate([labels.first, labels.second])
    )
    centre = network.scores(view.points[known]).mean(1)
    network = network.seen_from(view.directions).scaled(max(_scale(margins), _LEAST_SCALE), centre)
    return Probe(view.layer, view.pooling, choice.strength, network)


def accuracy_of(wins: Floats, groups: Ints) -> Accuracy:
    """A share with Wilson's interval, the labels of one prompt counted as the cluster they are."""
    return Accuracy(*clustered_wilson(wins.tolist(), groups.tolist()), len(wins))


def _held_out(
    kind: ProbeKind, view: View, labels: Labels, strength: float, n_folds: int, seed: int
) -> tuple[Floats, Floats]:
    """What is told of each fold by a probe that learned from the others."""
    fold = folds(labels.groups, n_folds, seed)
    counts = (fold != np.arange(n_folds)[:, None]).astype(np.float64)
    return _told(fit(kind, view.points, labels, counts, strength, seed), view, labels, fold)


def _told(network: Network, view: View, labels: Labels, fold: Ints) -> tuple[Floats, Floats]:
    """Wins (N,) and margins of the labels, those of fold k by member k."""
    scores = network.scores(view.points)
    wins, margins = np.zeros(len(fold)), []
    for k, own in enumerate(scores):
        test = labels.take(fold == k)
        wins[fold == k] = test.wins(own)
        margins.append(test.margins(own))
    return wins, np.concatenate(margins)


def _scale(margins: Floats) -> float:
    """The factor with which margins are log-odds; negative when they point the wrong way."""
    spread = float(np.sqrt((margins**2).mean())) if len(margins) else 0.0
    if not spread:
        return 0.0
    units = margins / spread
    return float(fit_probe(units[:, None], np.ones(len(units)))[0]) / spread


def _loss(margins: Floats) -> float:
    """Nats per pair of what is held out, at the best scale; log 2 is what chance costs."""
    return float(np.logaddexp(0.0, -max(_scale(margins), 0.0) * margins).mean())
