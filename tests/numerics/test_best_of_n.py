"""Best of n: its distance from the policy, and what it earns."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from tests.numerics import oracles
from workbench.objectives import best_of_n


def _kl_of_best(p: list[float], n: int) -> float:
    """KL(best of n ‖ p) over answers in the order of their scores, from the definition."""
    total, below = 0.0, 0.0
    for mass in p:
        best = (below + mass) ** n - below**n
        total += best * math.log(best / mass)
        below += mass
    return total


def test_one_answer_is_the_policy_itself() -> None:
    assert_close(best_of_n.best_of_n_kl(1), 0.0, EXACT)


@pytest.mark.parametrize("n", [2, 4, 16])
def test_kl_is_what_many_improbable_answers_come_to(n: int) -> None:
    """Uniform over ever more answers the true KL rises to the formula, from below."""
    bound = best_of_n.best_of_n_kl(n)
    gaps = [bound - _kl_of_best([1 / k] * k, n) for k in (10, 100, 1000, 10_000)]
    assert gaps == sorted(gaps, reverse=True)
    assert 0 < gaps[-1] < 0.01 * gaps[0]


def test_kl_is_no_more_than_the_formula_for_any_policy() -> None:
    for seed in range(20):
        p = oracles.probabilities(oracles.normal(seed, 6) * 2, 1.0)
        for n in (2, 3, 8):
            assert _kl_of_best(p, n) < best_of_n.best_of_n_kl(n)


def test_kl_by_hand() -> None:
    assert_close(best_of_n.best_of_n_kl(4), 0.6362943611198906, FLOAT64)


@pytest.mark.parametrize("n", range(1, 7))
def test_expected_best_equals_the_mean_over_all_choices(n: int) -> None:
    scores = np.sort(oracles.normal(1, 6))
    actual = best_of_n.expected_best_of_n(torch.tensor(scores), n)
    assert_close(actual, oracles.best_of_n(scores, n), FLOAT64)


def test_of_one_it_is_the_mean_and_of_all_the_largest() -> None:
    scores = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    assert_close(best_of_n.expected_best_of_n(scores, 1), [3.0, 1.0], FLOAT32)
    assert_close(best_of_n.expected_best_of_n(scores, 3), [6.0, 3.0], FLOAT32)


def test_answers_chosen_by_one_score_are_paid_by_another() -> None:
    """The order is the reward model's, the numbers are the annotator's."""
    gold = oracles.normal(2, 5)
    actual = best_of_n.expected_best_of_n(torch.tensor(gold), 3)
    assert_close(actual, oracles.best_of_n(gold, 3), FLOAT64)


def test_verdicts_are_counted_as_0_and_1() -> None:
    is_right = torch.tensor([False, True, False, True])
    for verdicts in (is_right, is_right.long()):
        actual = best_of_n.expected_best_of_n(verdicts, 2)
        assert_close(actual, (0 + 1 + 0 * 2 + 1 * 3) / 6, FLOAT32)


def test_the_estimate_has_no_bias() -> None:
    """Over all samples of four out of three equally likely scores, the mean is E[max of two]."""
    support = [0.0, 1.0, 5.0]
    estimates = [
        best_of_n.expected_best_of_n(torch.tensor(sorted(support[i] for i in draw)), 2).item()
        for draw in np.ndindex(3, 3, 3, 3)
    ]
    true = oracles.mean([max(support[i], support[j]) for i, j in np.ndindex(3, 3)])
    assert_close(oracles.mean(estimates), true, FLOAT32)


def test_many_scores_do_not_overflow() -> None:
    scores = torch.arange(2000.0)
    assert_close(best_of_n.expected_best_of_n(scores, 1000), 1999.0 - 1000 / 1001, FLOAT32)


@pytest.mark.parametrize("n", [0, 4])
def test_more_than_there_are_cannot_be_told(n: int) -> None:
    with pytest.raises(ValueError, match="cannot be told from 3 scores"):
        best_of_n.expected_best_of_n(torch.zeros(3), n)


@pytest.mark.parametrize("n", range(1, 5))
def test_wins_equal_the_mean_over_all_opponents_and_choices(n: int) -> None:
    """By a reward that is not the judge, with verdicts that tie now and then."""
    scores = oracles.normal(3, 2, 5)
    utilities = oracles.normal(4, 2, 5).round()
    actual = best_of_n.win_shares(torch.tensor(scores), torch.tensor(utilities), n)
    expected = [oracles.wins(list(s), list(u), n) for s, u in zip(scores, utilities, strict=True)]
    assert_close(actual, expected, FLOAT64)


def test_one_answer_wins_against_another_half_of_the_time() -> None:
    scores, utilities = oracles.normal(5, 3, 6), oracles.normal(6, 3, 6)
    shares = best_of_n.win_shares(torch.tensor(scores), torch.tensor(utilities), 1)
    assert_close(shares, [0.5, 0.5, 0.5], FLOAT64)


@pytest.mark.parametrize("n", [1, 3, 5])
def test_the_best_in_its_own_eyes_loses_to_one_more_answer_once_in_n_plus_1(n: int) -> None:
    scores = torch.tensor(oracles.normal(7, 1, 6))
    assert_close(best_of_n.win_shares(scores, scores, n), [n / (n + 1)], FLOAT64)


def test_an_opponent_needs_an_answer_of_its_own() -> None:
    with pytest.raises(ValueError, match="cannot be told from 2 scores"):
        best_of_n.win_shares(torch.zeros(1, 3), torch.zeros(1, 3), 3)
