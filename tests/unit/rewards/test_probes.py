"""Probes against scikit-learn, and whether what is told of them is true."""

from __future__ import annotations

import numpy as np
import pytest

from tests.close import FLOAT32, FLOAT64, assert_close
from workbench.config.probe import ProbeKind, ProbeSettings
from workbench.errors import UserError
from workbench.rewards import probe_fits, probes
from workbench.rewards.probe_fits import Labels, fit

LAYERS = (2, 4, 6)
N, H = 120, 12


def points_and_labels(seed: int = 0, noise: float = 0.0) -> tuple[np.ndarray, Labels, np.ndarray]:
    """Answers whose worth is linear, pairs of them over 30 prompts, and the worth."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(2 * N, H))
    worth = points @ rng.normal(size=H) * 3
    return points, pairs_of(worth + noise * rng.normal(size=2 * N)), worth


def pairs_of(worth: np.ndarray) -> Labels:
    first, second = np.arange(0, len(worth), 2), np.arange(1, len(worth), 2)
    is_first = worth[first] > worth[second]
    chosen, rejected = np.where(is_first, first, second), np.where(is_first, second, first)
    return Labels(chosen, rejected, np.ones(len(first)), np.arange(len(first)) // 4)


def features_with(points: np.ndarray, layer: int, pooling: int) -> np.ndarray:
    """Noise everywhere but in one view."""
    noise = np.random.default_rng(9).normal(size=(len(points), len(LAYERS), 2, H))
    noise[:, layer, pooling] = points
    return noise.astype(np.float32)


def once(labels: Labels) -> np.ndarray:
    return np.ones((1, len(labels.first)))


def test_logistic_is_that_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    points, labels, _ = points_and_labels(noise=2.0)
    differences, _ = labels.rows(points)
    both = np.concatenate([differences, -differences])
    model = LogisticRegression(C=2.0, fit_intercept=False, solver="newton-cholesky", tol=1e-10)
    model.fit(both, np.repeat([1, 0], N), sample_weight=np.full(2 * N, 0.5))
    ours = fit("logistic", points, labels, once(labels), 0.5, 0)
    assert_close(ours.weight[0], model.coef_[0], FLOAT32)


@pytest.mark.parametrize("is_rated", [False, True])
def test_ridge_is_that_of_scikit_learn(is_rated: bool) -> None:
    from sklearn.linear_model import Ridge

    points, labels, worth = points_and_labels(noise=2.0)
    if is_rated:
        labels = Labels(np.arange(N), None, np.round(worth[:N]), np.arange(N))
    inputs, targets = labels.rows(points)
    model = Ridge(alpha=3.0, fit_intercept=False).fit(inputs, targets)
    ours = fit("ridge", points, labels, once(labels), 3.0, 0)
    assert_close(ours.weight[0], model.coef_, FLOAT64)


@pytest.mark.parametrize("kind", ["logistic", "ridge", "svm"])
def test_a_label_that_counts_twice_is_as_good_as_two(kind: ProbeKind) -> None:
    points, labels, _ = points_and_labels(noise=2.0)
    counts = np.array([np.ones(N), np.random.default_rng(1).integers(0, 3, N)])
    members = fit(kind, points, labels, counts, 1.0, 0)
    for own, weight in zip(counts, members.weight, strict=True):
        many = labels.take(np.repeat(np.arange(N), own.astype(int)))
        alone = fit(kind, points, many, once(many), 1.0, 0)
        assert_close(weight, alone.weight[0], FLOAT32)


def test_only_the_network_learns_what_is_not_linear() -> None:
    rng = np.random.default_rng(3)
    points = rng.normal(size=(400, 3))
    labels = pairs_of(np.abs(points[:, 0]))
    train, test = labels.take(labels.groups < 35), labels.take(labels.groups >= 35)
    found = {}
    for kind in ("logistic", "mlp"):
        network = fit(kind, points, train, once(train), 0.1, 0)
        found[kind] = float(test.wins(network.scores(points)[0]).mean())
    assert found["mlp"] > 0.85
    assert found["logistic"] < 0.65


@pytest.mark.parametrize("kind", ["logistic", "ridge", "svm"])
def test_the_view_that_tells_something_is_found_and_the_accuracy_holds(kind: ProbeKind) -> None:
    points, labels, _ = points_and_labels(noise=1.0)
    settings = ProbeSettings(members=2)
    views = probes.views_of(features_with(points, 1, 0), LAYERS, settings)
    accuracy = probes.measure([kind], views, labels, settings)[kind]
    assert accuracy.low > 0.7
    probe = probes.fit_probe_on(kind, views, labels, settings)
    assert (probe.layer, probe.pooling) == (4, "last")
    # New answers of the same kind, which no choice has seen.
    fresh, said, _ = points_and_labels(noise=1.0)
    fresh += 0.1 * np.random.default_rng(5).normal(size=fresh.shape)
    scores = probe.scores(fresh.astype(np.float32))
    assert scores.shape == (3, 2 * N)
    assert said.wins(scores[0]).mean() > 0.8


def test_nothing_is_found_where_nothing_is() -> None:
    shares = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        labels = pairs_of(rng.normal(size=2 * N))
        features = rng.normal(size=(2 * N, len(LAYERS), 2, H)).astype(np.float32)
        settings = ProbeSettings(seed=seed)
        views = probes.views_of(features, LAYERS, settings)
        shares.append(probes.measure(["logistic"], views, labels, settings)["logistic"].value)
        # What the best view is chosen by is flattered: the reason why it is not what is told.
        assert max(a.value for a in probes.by_view(views, labels, seed)) >= shares[-1] - 0.05
    assert abs(np.mean(shares) - 0.5) < 0.06


def test_more_labels_tell_more() -> None:
    points, labels, _ = points_and_labels()
    views = probes.views_of(features_with(points, 2, 1), LAYERS, ProbeSettings(layer=6))
    few, many = probes.by_size("logistic", views[1], labels, 1.0, [4, 90], 0)
    assert few.value + 0.1 < many.value


def test_folds_keep_prompts_together() -> None:
    groups = np.random.default_rng(0).integers(0, 17, 100)
    fold = probes.folds(groups, 5, 1)
    assert len(np.unique(fold)) == 5
    for group in np.unique(groups):
        assert len(np.unique(fold[groups == group])) == 1
    assert np.ptp(np.bincount(fold)) < 12
    assert (probes.folds(groups, 5, 2) != fold).any()


@pytest.mark.parametrize("kind", ["ridge", "mlp"])
def test_scores_are_log_odds_whatever_the_kind(kind: ProbeKind) -> None:
    rng = np.random.default_rng(4)
    points = rng.normal(size=(1200, 2))
    worth = points[:, 0] * 2
    labels = pairs_of(worth + rng.logistic(size=1200) / 2 - rng.logistic(size=1200) / 2)
    features = np.stack([np.stack([points, points], 1)], 1).astype(np.float32)
    views = probes.views_of(features, (1,), ProbeSettings(pooling="mean"))
    probe = probes.fit_probe_on(kind, views, labels, ProbeSettings(members=0))
    margins = labels.margins(probe.scores(points.astype(np.float32))[0])
    # Where it says so with 70 to 80 %, it is right in about that share.
    p = 1 / (1 + np.exp(-np.abs(margins)))
    sure = (p > 0.7) & (p < 0.8)
    assert abs((margins[sure] > 0).mean() - p[sure].mean()) < 0.08


def test_ratings_are_compared_with_those_that_differ() -> None:
    labels = Labels(np.array([0, 1, 2]), None, np.array([1.0, 1.0, 5.0]), np.array([0, 1, 2]))
    assert labels.wins(np.array([0.0, 3.0, 2.0])).tolist() == [1.0, 0.0, 0.5]
    assert labels.margins(np.array([0.0, 3.0, 2.0])).tolist() == [2.0, -1.0]
    points, _, worth = points_and_labels()
    rated = Labels(np.arange(N), None, np.clip(np.round(worth[:N]), -2, 2), np.arange(N) // 3)
    settings = ProbeSettings(learn_from="ratings", members=0)
    views = probes.views_of(features_with(points, 0, 1), LAYERS, settings)
    found = probes.measure(["ridge", "svm"], views, rated, settings)
    assert min(a.low for a in found.values()) > 0.75
    with pytest.raises(UserError, match="learns from pairs, not from ratings"):
        probes.measure(["logistic"], views, rated, settings)


def test_what_cannot_be_read_is_told() -> None:
    features = np.zeros((4, 3, 2, H), dtype=np.float32)
    features[1, 0, 0, 0] = np.nan
    with pytest.raises(UserError, match="1 answer is not a number"):
        probes.views_of(features, LAYERS, ProbeSettings())
    with pytest.raises(UserError, match=r"Layer 3 is not read\.") as caught:
        probes.views_of(np.zeros_like(features), LAYERS, ProbeSettings(layer=3))
    assert "2, 4, 6" in caught.value.hint


def test_without_scikit_learn_the_others_work(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    points, labels, _ = points_and_labels()
    with pytest.raises(UserError, match="scikit-learn") as caught:
        fit("svm", points, labels, once(labels), 1.0, 0)
    assert "rlhf-workbench[stats]" in caught.value.hint
    network = fit("logistic", points, labels, once(labels), 1.0, 0)
    assert labels.wins(network.scores(points)[0]).mean() > 0.9
    monkeypatch.setattr(probe_fits.importlib.util, "find_spec", lambda _: None)
    assert not probe_fits.has_sklearn()
