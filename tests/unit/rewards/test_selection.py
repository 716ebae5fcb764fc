"""Scores and orders against plain loops, and whether they ask what is worth asking."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.close import FLOAT32, FLOAT64, assert_close
from workbench.rewards import selection


def _pool(n: int, d: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def _loss(w: np.ndarray, x: np.ndarray, y: np.ndarray, ridge: float) -> float:
    total = ridge / 2 * sum(float(v) ** 2 for v in w)
    for row, label in zip(x, y, strict=True):
        margin = sum(float(a) * float(b) for a, b in zip(row, w, strict=True))
        total += math.log1p(math.exp(-margin if label else margin))
    return total


@pytest.mark.parametrize("ridge", [0.1, 3.0])
def test_a_fitted_probe_is_where_the_loss_is_flat(ridge: float) -> None:
    x = _pool(12, 3)
    y = (_pool(12, 1, 1)[:, 0] > 0).astype(float)
    w = selection.fit_probe(x, y, ridge)
    step = 1e-4
    slopes = [
        (_loss(w + step * e, x, y, ridge) - _loss(w - step * e, x, y, ridge)) / (2 * step)
        for e in np.eye(3)
    ]
    assert_close(slopes, np.zeros(3), FLOAT32)
    assert _loss(w, x, y, ridge) < _loss(np.zeros(3), x, y, ridge)


def test_a_pair_that_counts_twice_is_a_pair_that_is_there_twice() -> None:
    x, y = _pool(6, 2), np.array([1.0, 0, 1, 1, 0, 0])
    counts = np.array([[2.0, 0, 1, 3, 0, 1]])
    repeated = [i for i, n in enumerate(counts[0]) for _ in range(int(n))]
    assert_close(
        selection.fit_weighted(x, y, counts)[0],
        selection.fit_probe(x[repeated], y[repeated]),
        FLOAT64,
    )


def test_turning_pairs_round_turns_nothing_else() -> None:
    x, y = _pool(20, 4), (_pool(20, 1, 2)[:, 0] > 0).astype(float)
    sides = np.where(np.arange(20) % 3 == 0, -1.0, 1.0)
    turned = np.where(sides < 0, 1 - y, y)
    assert_close(
        selection.fit_probe(x, y), selection.fit_probe(x * sides[:, None], turned), FLOAT64
    )


def test_the_ensemble_depends_on_its_seed_only() -> None:
    x, y = _pool(20, 4), (_pool(20, 1, 2)[:, 0] > 0).astype(float)
    one, same, other = (selection.fit_ensemble(x, y, seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert one.shape == (selection.N_MEMBERS, 4)


def test_disagreement_against_a_loop() -> None:
    margins = 2 * _pool(5, 7)

    def h(p: float) -> float:
        return -p * math.log(p) - (1 - p) * math.log(1 - p)

    expected = []
    for column in margins.T:
        p = [1 / (1 + math.exp(-m)) for m in column]
        expected.append(h(sum(p) / len(p)) - sum(map(h, p)) / len(p))
    assert_close(selection.disagreement(margins), expected, FLOAT64)


def test_members_that_are_unsure_together_do_not_disagree() -> None:
    margins = np.array([[0.0, 5.0, 5.0], [0.0, 5.0, -5.0]])
    unsure, sure, disputed = selection.disagreement(margins)
    assert disputed > 0.5 > 1e-6 > abs(unsure)
    assert abs(sure) < 1e-6
    assert selection.by_disagreement(margins)[0] == 2


def test_by_margin_takes_the_nearest_to_zero_whatever_its_sign() -> None:
    assert selection.by_margin(np.array([-3.0, 0.5, -0.1, 2.0])).tolist() == [2, 1, 3, 0]


@pytest.mark.parametrize("n_picks", [0, 4, 9, 50])
def test_farthest_first_against_a_loop(n_picks: int) -> None:
    pool, taken = _pool(9, 3), _pool(2, 3, 1)

    def near(a: np.ndarray, b: np.ndarray) -> float:
        return min(float(((a - b) ** 2).sum()), float(((a + b) ** 2).sum()))

    centres = [np.zeros(3), *taken]
    expected: list[int] = []
    left = list(range(9))
    while left and len(expected) < n_picks:
        best = max(left, key=lambda i: min(near(pool[i], c) for c in centres))
        expected.append(best)
        left.remove(best)
        centres.append(pool[best])
    expected += sorted(left, key=lambda i: -min(near(pool[i], c) for c in centres))
    assert selection.farthest_first(pool, taken, n_picks).tolist() == expected


def test_a_pair_turned_round_is_no_other_pair() -> None:
    pool = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 0.9]])
    assert selection.farthest_first(pool, np.zeros((0, 2)), 3).tolist() == [0, 2, 1]


def test_compact_features_keep_the_angles_of_standardised_ones() -> None:
    for n, d in ((6, 40), (40, 6)):
        x = _pool(n, d) * np.linspace(1, 50, d) + 7
        z = (x - x.mean(0)) / x.std(0)
        z /= math.sqrt((z**2).sum(1).mean())
        compact = selection.compact(x)
        assert_close(compact @ compact.T, z @ z.T, FLOAT64)
        assert compact[:, 0].var() >= compact[:, 1].var()
        assert selection.compact(x, 2).shape == (n, 2)


def test_answers_that_do_not_differ_have_features_of_nothing() -> None:
    assert not selection.compact(np.ones((4, 3))).any()


def test_shares_hold_at_every_length() -> None:
    orders = {"a": range(100), "b": range(99, -1, -1), "c": [*range(50, 100), *range(50)]}
    shares = {"a": 0.5, "b": 0.25, "c": 0.25}
    merged = selection.interleave(orders, shares)
    assert sorted(merged) == list(range(100))
    assert merged[:4].count(0) == 1
    for n in (4, 8, 20, 40):
        from_a = [i for i in merged[:n] if i < 40]
        assert abs(len(from_a) - n / 2) <= 1
    assert selection.interleave(orders, {"a": 0.0, "b": 2.0}) == list(range(99, -1, -1))


@pytest.mark.parametrize("seed", range(3))
def test_uncertainty_asks_where_the_answer_is_not_known_yet(seed: int) -> None:
    """Half of the pairs are decided by a direction that the labels have settled already."""
    rng = np.random.default_rng(seed)
    known, unknown = np.eye(2)
    labelled = np.outer(rng.choice([-1.0, 1.0], 40) * 3, known)
    is_first = (labelled[:, 0] > 0).astype(float)
    settled = np.outer(rng.choice([-1.0, 1.0], 50) * 3, known)
    open_ = np.outer(rng.choice([-1.0, 1.0], 50) * 3, unknown) + 0.05 * rng.normal(size=(50, 2))
    # One label in the new direction, so that some members have seen it and others have not.
    labelled = np.vstack([labelled, unknown * 3])
    is_first = np.append(is_first, 1.0)
    pool = np.vstack([settled, open_])
    ensemble = selection.fit_ensemble(labelled, is_first, seed)
    margins = ensemble @ pool.T
    asked = selection.by_disagreement(margins)[:50]
    assert (asked >= 50).mean() == 1.0
    assert (selection.by_margin(margins.mean(0))[:50] >= 50).mean() == 1.0
    # The control that must fail: with the sign turned, all that is settled is asked again.
    broken = np.argsort(selection.disagreement(margins), kind="stable")[:50]
    assert (broken >= 50).mean() == 0.0
