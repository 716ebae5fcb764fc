"""Rewards and advantages: numerics.md items 9 (no bootstrap), 17, 22, 23; the baselines of
REINFORCE, RLOO and GRPO of section 2.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, SLOPE, assert_close
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


def test_shaping_pays_a_potential_as_it_rises_and_takes_it_back_at_the_end() -> None:
    # Potentials after 0, 1, … tokens: 0.5, 2, 1, 4 and 1, 3; the first is of no account.
    rises = torch.tensor([[1.5, -1.0, 3.0, NAN], [2.0, NAN, NAN, NAN]], dtype=torch.float64)
    is_response = ~rises.isnan()
    expected = [[1.5, -1.0, -0.5, 0.0], [0.0, 0.0, 0.0, 0.0]]
    assert_close(advantages.shaping(rises, is_response, 1.0), expected, FLOAT64)
    expected[0] = [0.75, 0.25 - 1.5, -0.5, 0.0]
    assert_close(advantages.shaping(rises, is_response, 0.5), expected, FLOAT64)


def test_rewards_of_tokens_are_added_where_they_stand() -> None:
    """Reward at the end, per token, or both: numerics.md leaves the choice to the user."""
    for seed in range(5):
        mask = oracles.ragged(seed)
        scores, kl = oracles.normal(seed, len(mask)), oracles.normal(seed + 9, *mask.shape)
        per_token = oracles.normal(seed + 20, *mask.shape)
        expected = oracles.rewards(scores, kl, mask, 0.3, per_token)
        kl_tensor, token_rewards = _tensors(mask, kl, per_token)
        actual = advantages.place_rewards(
            torch.tensor(scores), kl_tensor, torch.tensor(mask), 0.3, token_rewards
        )
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


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_rewards_to_go_equal_the_double_sum(gamma: float) -> None:
    for seed in range(4):
        mask = oracles.ragged(seed)
        r = oracles.normal(seed, *mask.shape)
        (rewards,) = _tensors(mask, r)
        actual = advantages.rewards_to_go(rewards, torch.tensor(mask), gamma)
        assert_close(actual, oracles.to_go(r, mask, gamma), FLOAT64)


def test_rewards_to_go_are_the_returns_of_gae_with_lambda_1() -> None:
    mask = oracles.ragged(3)
    r, v = oracles.normal(1, *mask.shape), oracles.normal(2, *mask.shape)
    rewards, values = _tensors(mask, r, v)
    _, returns = advantages.gae(rewards, values, torch.tensor(mask), 0.9, 1.0)
    assert_close(advantages.rewards_to_go(rewards, torch.tensor(mask), 0.9), returns, FLOAT64)


def test_rewards_to_go_by_hand() -> None:
    rewards = torch.tensor([[1.0, 10.0, 100.0, NAN], [1.0, NAN, 100.0, NAN]])
    is_response = torch.tensor([[True, True, True, False], [True, False, True, False]])
    actual = advantages.rewards_to_go(rewards, is_response, 0.5)
    assert_close(actual, [[31.0, 60.0, 100.0, 0.0], [26.0, 0.0, 100.0, 0.0]], FLOAT32)


def test_rewards_to_go_carry_gradients() -> None:
    """Path consistency differentiates through them."""
    mask = torch.tensor(oracles.ragged(1))
    rewards = torch.tensor(oracles.normal(1, *mask.shape), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: advantages.rewards_to_go(x, mask, 0.9), (rewards,))


@pytest.mark.parametrize("group_size", [2, 3, 6])
def test_group_advantages_equal_the_loops(group_size: int) -> None:
    scores = oracles.normal(group_size, 12) * 3 + 5
    tensor = torch.tensor(scores)
    assert_close(
        advantages.group_baseline_rloo(tensor, group_size),
        oracles.leave_one_out(scores, group_size),
        FLOAT64,
    )
    for is_scaled in (True, False):
        assert_close(
            advantages.group_advantages_grpo(tensor, group_size, is_scaled),
            oracles.group_relative(scores, group_size, is_scaled=is_scaled),
            FLOAT64,
        )


def test_leave_one_out_by_hand_keeps_to_its_group() -> None:
    actual = advantages.group_baseline_rloo(torch.tensor([1.0, 2.0, 6.0, 9.0, 0.0, 0.0]), 3)
    assert_close(actual, [-3.0, -1.5, 4.5, 9.0, -4.5, -4.5], FLOAT32)


def test_group_advantages_by_hand() -> None:
    scores = torch.tensor([1.0, 3.0, 10.0, 20.0])
    plain = advantages.group_advantages_grpo(scores, 2, scale_by_std=False)
    assert_close(plain, [-1.0, 1.0, -5.0, 5.0], FLOAT32)
    scaled = advantages.group_advantages_grpo(scores, 2, scale_by_std=True)
    assert_close(scaled[1], 1.0 / (2**0.5 + 1e-4), FLOAT32)
    # The spread of a group is not in it any more, but for the 1e-4.
    assert_close(scaled[3], 5.0 / (50**0.5 + 1e-4), FLOAT32)


@pytest.mark.parametrize("score", [0.0, 0.1, -7.3, 1e6])
def test_equal_scores_give_advantages_of_exactly_0(score: float) -> None:
    """0.1 has no exact mean of three in binary: what is left would be blown up by 1/1e-4."""
    for dtype in (torch.float32, torch.float64):
        scores = torch.full((6,), score, dtype=dtype)
        for actual in (
            advantages.group_baseline_rloo(scores, 3),
            advantages.group_advantages_grpo(scores, 3, scale_by_std=True),
            advantages.group_advantages_grpo(scores, 3, scale_by_std=False),
        ):
            assert_close(actual, torch.zeros(6), EXACT)


def test_leave_one_out_follows_the_gradient_of_the_expected_reward() -> None:
    """Without bias: all draws of two answers out of three, each with its probability.

    E[½ Σ_i A_i ∇log p(y_i)] = ∇ Σ_y p(y)·R(y). With the group's mean in place of the mean of the
    others, the answer itself included, the gradient would be half as long.
    """
    z, reward = oracles.normal(1, 3), oracles.normal(2, 3)
    p = oracles.probabilities(z, 1.0)

    def value(x: oracles.F) -> float:
        return sum(a * b for a, b in zip(oracles.probabilities(x, 1.0), reward, strict=True))

    total = np.zeros(3)
    for first, second in np.ndindex(3, 3):
        pair = torch.tensor([reward[first], reward[second]])
        weights = advantages.group_baseline_rloo(pair, 2).tolist()
        for chosen, weight in zip((first, second), weights, strict=True):
            score_function = np.eye(3)[chosen] - p
            total += p[first] * p[second] * 0.5 * weight * score_function
    assert_close(total, oracles.slope(value, z), SLOPE)


@pytest.mark.parametrize("group_size", [0, 1])
def test_an_answer_alone_is_no_group(group_size: int) -> None:
    with pytest.raises(ValueError, match="nothing to be compared with"):
        advantages.group_baseline_rloo(torch.ones(2), group_size)


def test_scores_that_do_not_fill_their_groups_are_refused() -> None:
    with pytest.raises(RuntimeError):
        advantages.group_advantages_grpo(torch.ones(5), 2, scale_by_std=True)


def test_moving_average_is_the_plain_mean_at_first() -> None:
    average = advantages.MovingAverage(decay=0.9)
    assert (average.mean, average.n) == (0.0, 0)
    means = [3.0, -1.0, 7.0, 2.0]
    for n, mean in enumerate(means, 1):
        average = average.updated(torch.tensor([mean - 1.0, mean + 1.0]))
        assert_close(average.mean, oracles.mean(means[:n]), FLOAT64)
        assert average.n == n


def test_moving_average_forgets_at_its_rate() -> None:
    """After 10 batches of 0 and with decay 0.9 the mean goes towards 1 by a tenth each time."""
    average = advantages.MovingAverage(decay=0.9)
    for _ in range(10):
        average = average.updated(torch.zeros(2))
    for k in range(1, 20):
        average = average.updated(torch.ones(2))
        assert_close(average.mean, 1.0 - 0.9**k, FLOAT64)


def test_moving_average_does_not_change_in_place() -> None:
    before = advantages.MovingAverage(decay=0.5)
    after = before.updated(torch.tensor([4.0]))
    assert (before.mean, after.mean) == (0.0, 4.0)
