"""Rewards and advantages: numerics.md items 9 (no bootstrap), 17, 22, 23."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.close import EXACT, FLOAT64, assert_close
from tests.numerics import oracles
from workbench.objectives import advantages

NAN = float("nan")


def _tensors(mask: oracles.B, *arrays: oracles.F) -> list[Tensor]:
    """As tensors with NaN outside the mask."""
    return [torch.tensor(np.where(mask, x, NAN)) for x in arrays]


def test_score_lands_on_the_last_response_token_for_both_endings() -> None:
    scores = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    kl = torch.tensor([[0.5, 0.5, 0.5], [0.5, 0.5, NAN], [0.5, NAN, NAN]], dtype=torch.float64)
    is_response = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    expected = [[-0.05, -0.05, 0.95], [-0.05, 1.95, 0.0], [2.95, 0.0, 0.0]]
    assert_close(advantages.place_rewards(scores, kl, is_response, 0.1), expected, FLOAT64)


def test_rewards_equal_the_loop() -> None:
    for seed in range(5):
        mask = oracles.ragged(seed)
        scores, kl = oracles.normal(seed, len(mask)), oracles.normal(seed + 9, *mask.shape)
        expected = oracles.rewards(scores, kl, mask, 0.3)
        (kl_tensor,) = _tensors(mask, kl)
        actual = advantages.place_rewards(torch.tensor(scores), kl_tensor, torch.tensor(mask), 0.3)
        assert_close(actual, expected, FLOAT64)


def test_score_is_given_once_also_where_the_mask_has_a_hole() -> None:
    is_response = torch.tensor([[True, False, True]])
    actual = advantages.place_rewards(torch.tensor([5.0]), torch.zeros(1, 3), is_response, 0.1)
    assert_close(actual, [[0.0, 0.0, 5.0]], EXACT)


def test_row_without_response_tokens_gets_no_reward() -> None:
    nothing = torch.zeros(1, 3, dtype=torch.bool)
    actual = advantages.place_rewards(torch.tensor([5.0]), torch.ones(1, 3), nothing, 0.1)
    assert_close(actual, torch.zeros(1, 3), EXACT)


@pytest.mark.parametrize(
    ("gamma", "gae_lambda"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.99, 0.0), (0.7, 1.0)]
)
def test_advantages_equal_the_double_sum(gamma: float, gae_lambda: float) -> None:
    for seed in range(4):
        mask = oracles.ragged(seed)
        r, v = oracles.normal(seed, *mask.shape), oracles.normal(seed + 9, *mask.shape)
        rewards, values = _tensors(mask, r, v)
        expected = oracles.gae(r, v, mask, gamma, gae_lambda)
        actual, returns = advantages.gae(rewards, values, torch.tensor(mask), gamma, gae_lambda)
        assert_close(actual, expected, FLOAT64)
        assert_close(returns, np.where(mask, expected + v, 0.0), FLOAT64)


def test_lambda_1_makes_returns_the_discounted_rewards_to_come() -> None:
    """Closed form: values cancel out of the returns."""
    rewards = torch.tensor([[1.0, 10.0, 100.0]], dtype=torch.float64)
    values = torch.tensor([[3.0, -7.0, 20.0]], dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    actual, returns = advantages.gae(rewards, values, everything, 0.5, 1.0)
    assert_close(returns, [[31.0, 60.0, 100.0]], FLOAT64)
    assert_close(actual, [[28.0, 67.0, 80.0]], FLOAT64)


def test_lambda_0_makes_advantages_the_one_step_errors() -> None:
    rewards = torch.tensor([[1.0, 10.0, 100.0]], dtype=torch.float64)
    values = torch.tensor([[3.0, -7.0, 20.0]], dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    actual, _ = advantages.gae(rewards, values, everything, 0.5, 0.0)
    assert_close(actual, [[1.0 - 3.5 - 3.0, 10.0 + 10.0 + 7.0, 80.0]], FLOAT64)


def test_perfect_values_leave_no_advantage() -> None:
    rewards = torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)
    values = torch.tensor([[6.0, 5.0, 3.0]], dtype=torch.float64)
    everything = torch.ones(1, 3, dtype=torch.bool)
    actual, returns = advantages.gae(rewards, values, everything, 1.0, 0.95)
    assert_close(actual, torch.zeros(1, 3), FLOAT64)
    assert_close(returns, values, FLOAT64)


@given(seed=st.integers(0, 500), extra=st.integers(1, 5))
def test_more_right_padding_changes_nothing(seed: int, extra: int) -> None:
    mask = oracles.ragged(seed)
    rewards, values = _tensors(
        mask, oracles.normal(seed, *mask.shape), oracles.normal(seed + 1, *mask.shape)
    )
    garbage = torch.full((len(mask), extra), 1e6, dtype=torch.float64)
    wide_mask = torch.tensor(np.pad(mask, ((0, 0), (0, extra))))
    short = advantages.gae(rewards, values, torch.tensor(mask), 0.9, 0.8)
    wide = advantages.gae(
        torch.cat([rewards, garbage], 1), torch.cat([values, garbage], 1), wide_mask, 0.9, 0.8
    )
    for a, b in zip(short, wide, strict=True):
        assert_close(b[:, : mask.shape[1]], a, EXACT)
        assert_close(b[:, mask.shape[1] :], torch.zeros(len(mask), extra), EXACT)


def test_outside_the_mask_both_are_0() -> None:
    mask = oracles.ragged(2)
    rewards, values = _tensors(mask, oracles.normal(1, *mask.shape), oracles.normal(2, *mask.shape))
    for x in advantages.gae(rewards, values, torch.tensor(mask), 1.0, 0.95):
        assert_close(x[~torch.tensor(mask)], torch.zeros(int((~mask).sum())), EXACT)
