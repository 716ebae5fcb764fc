"""The clipped losses: numerics.md items 26, 27, 28, 30, 33 (token weights), 48 (A = 0)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, Level, assert_close
from tests.numerics import oracles
from workbench.objectives import policy_gradient as pg

NAN = float("nan")
EPS = 0.2
SLOPE = Level(1e-7, 1e-6)  # finite differences of float64


class Batch:
    """Ratios on both sides of both clip edges, advantages of both signs, NaN outside."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.mask = oracles.ragged(seed)
        self.old = rng.normal(-2.0, 0.5, self.mask.shape)
        self.new = self.old + rng.normal(0.0, 0.4, self.mask.shape)
        self.advantages = rng.normal(size=self.mask.shape)
        self.returns = rng.normal(size=self.mask.shape)
        self.n = int(self.mask.sum())

    def tensor(self, x: oracles.F, *, has_grad: bool = False) -> Tensor:
        return torch.tensor(np.where(self.mask, x, NAN), requires_grad=has_grad)

    @property
    def is_response(self) -> Tensor:
        return torch.tensor(self.mask)

    def policy(self, new: oracles.F) -> tuple[float, int]:
        parts = [
            oracles.ppo_token_loss(float(new[i]), self.old.item(i), self.advantages.item(i), EPS)
            for i in np.ndindex(*self.mask.shape)
            if self.mask[i]
        ]
        return sum(p[0] for p in parts) / self.n, sum(p[1] for p in parts)

    def value(self, new: oracles.F) -> tuple[float, int]:
        parts = [
            oracles.value_token_loss(float(new[i]), self.old.item(i), self.returns.item(i), EPS)
            for i in np.ndindex(*self.mask.shape)
            if self.mask[i]
        ]
        return sum(p[0] for p in parts) / self.n, sum(p[1] for p in parts)


def _policy_loss(batch: Batch, new: Tensor) -> tuple[Tensor, pg.PolicyStats]:
    return pg.ppo_policy_loss(
        new,
        batch.tensor(batch.old),
        batch.tensor(batch.advantages),
        batch.is_response,
        EPS,
        batch.n,
    )


def _value_loss(batch: Batch, new: Tensor) -> tuple[Tensor, Tensor]:
    return pg.value_loss(
        new, batch.tensor(batch.old), batch.tensor(batch.returns), batch.is_response, EPS, batch.n
    )


@pytest.mark.parametrize("seed", range(6))
def test_policy_loss_equals_the_loop_over_cases(seed: int) -> None:
    batch = Batch(seed)
    loss, stats = _policy_loss(batch, batch.tensor(batch.new))
    expected, n_clipped = batch.policy(batch.new)
    assert_close(loss, expected, FLOAT64)
    assert n_clipped > 0
    assert stats.clipped_sum.item() == n_clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),  # gain is not pushed beyond 1 + ε
        (0.5, 2.0, -1.0, False),  # but a loss of a good token is felt in full
        (1.5, -2.0, 3.0, False),
        (0.5, -2.0, 1.6, True),
    ],
)
def test_policy_loss_of_one_token_by_hand(
    ratio: float, advantage: float, loss: float, is_clipped: bool
) -> None:
    new = torch.tensor([[math.log(ratio)]], dtype=torch.float64)
    actual, stats = pg.ppo_policy_loss(
        new,
        torch.zeros(1, 1, dtype=torch.float64),
        torch.tensor([[advantage]], dtype=torch.float64),
        torch.tensor([[True]]),
        EPS,
        1,
    )
    assert_close(actual, loss, FLOAT64)
    assert bool(stats.clipped_sum) == is_clipped


@pytest.mark.parametrize("seed", range(3))
def test_policy_gradient_equals_finite_differences(seed: int) -> None:
    batch = Batch(seed)
    new = batch.tensor(batch.new, has_grad=True)
    _policy_loss(batch, new)[0].backward()  # type: ignore[no-untyped-call]
    expected = oracles.slope(lambda x: batch.policy(x)[0], batch.new)
    assert_close(new.grad, expected, SLOPE)


def test_policy_loss_passes_gradcheck() -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _policy_loss(batch, x)[0], (new,))


def test_at_ratio_1_the_gradient_is_minus_advantage_over_n() -> None:
    batch = Batch(1)
    new = batch.tensor(batch.old, has_grad=True)
    loss, stats = _policy_loss(batch, new)
    loss.backward()  # type: ignore[no-untyped-call]
    assert_close(new.grad, np.where(batch.mask, -batch.advantages / batch.n, 0.0), FLOAT64)
    assert_close(torch.stack([*stats]), [0.0, 0.0, 0.0], EXACT)


def test_no_advantage_gives_no_gradient() -> None:
    batch = Batch(2)
    batch.advantages = np.zeros_like(batch.advantages)
    new = batch.tensor(batch.new, has_grad=True)
    _policy_loss(batch, new)[0].backward()  # type: ignore[no-untyped-call]
    assert_close(new.grad, np.zeros_like(batch.new), EXACT)


def test_statistics_are_sums_over_response_tokens() -> None:
    batch = Batch(3)
    _, stats = _policy_loss(batch, batch.tensor(batch.new, has_grad=True))
    steps = oracles.selected(batch.new - batch.old, batch.mask)
    assert_close(stats.approx_kl_sum, math.fsum(0.5 * d * d for d in steps), FLOAT64)
    assert_close(stats.log_ratio_abs_max, max(abs(d) for d in steps), FLOAT64)
    assert not any(s.requires_grad for s in stats)


def test_a_broken_step_gives_a_finite_loss_and_shows_its_ratio() -> None:
    everything = torch.ones(1, 2, dtype=torch.bool)
    loss, stats = pg.ppo_policy_loss(
        torch.tensor([[500.0, -500.0]]),
        torch.zeros(1, 2),
        -torch.ones(1, 2),
        everything,
        EPS,
        2,
    )
    assert_close(loss, (math.exp(20.0) + 0.8) / 2, FLOAT32)
    assert_close(stats.log_ratio_abs_max, 500.0, EXACT)


@pytest.mark.parametrize("seed", range(6))
def test_value_loss_equals_the_loop_over_cases(seed: int) -> None:
    batch = Batch(seed)
    loss, n_clipped = _value_loss(batch, batch.tensor(batch.new))
    expected, expected_clipped = batch.value(batch.new)
    assert_close(loss, expected, FLOAT64)
    assert expected_clipped > 0
    assert n_clipped.item() == expected_clipped


@pytest.mark.parametrize(
    ("value", "old", "target", "loss"),
    [
        (1.0, 1.0, 3.0, 2.0),
        (2.0, 1.0, 3.0, 0.5 * 1.8**2),  # moved further than ε towards the target: clipped
        (0.0, 1.0, 3.0, 0.5 * 3.0**2),  # moved away: felt in full
        (2.0, 3.0, 1.0, 0.5 * 1.8**2),
    ],
)
def test_value_loss_of_one_token_by_hand(
    value: float, old: float, target: float, loss: float
) -> None:
    v, o, r = (torch.tensor([[x]], dtype=torch.float64) for x in (value, old, target))
    assert_close(pg.value_loss(v, o, r, torch.tensor([[True]]), EPS, 1)[0], loss, FLOAT64)


@pytest.mark.parametrize("seed", range(3))
def test_value_gradient_equals_finite_differences(seed: int) -> None:
    batch = Batch(seed)
    new = batch.tensor(batch.new, has_grad=True)
    _value_loss(batch, new)[0].backward()  # type: ignore[no-untyped-call]
    assert_close(new.grad, oracles.slope(lambda x: batch.value(x)[0], batch.new), SLOPE)


def test_value_loss_passes_gradcheck() -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _value_loss(batch, x)[0], (new,))


@given(seed=st.integers(0, 200), size=st.integers(1, 5))
def test_micro_batches_add_up_whatever_their_lengths(seed: int, size: int) -> None:
    """Divided by the tokens of the minibatch: not the mean of the micro-batches' means."""
    batch = Batch(seed)
    whole_loss, whole_stats = _policy_loss(batch, batch.tensor(batch.new))
    whole_value, whole_clipped = _value_loss(batch, batch.tensor(batch.new))
    parts, value_parts = [], []
    for start in range(0, len(batch.mask), size):
        rows = slice(start, start + size)
        new, old, advantages, returns = (
            batch.tensor(x)[rows] for x in (batch.new, batch.old, batch.advantages, batch.returns)
        )
        here = batch.is_response[rows]
        parts.append(pg.ppo_policy_loss(new, old, advantages, here, EPS, batch.n))
        value_parts.append(pg.value_loss(new, old, returns, here, EPS, batch.n))
    assert_close(sum(loss for loss, _ in parts), whole_loss, FLOAT64)
    assert_close(sum(s.approx_kl_sum for _, s in parts), whole_stats.approx_kl_sum, FLOAT64)
    assert_close(sum(s.clipped_sum for _, s in parts), whole_stats.clipped_sum, EXACT)
    assert_close(max(s.log_ratio_abs_max for _, s in parts), whole_stats.log_ratio_abs_max, EXACT)
    assert_close(sum(loss for loss, _ in value_parts), whole_value, FLOAT64)
    assert_close(sum(n for _, n in value_parts), whole_clipped, EXACT)


def test_mean_of_means_would_differ() -> None:
    """The negative control of the test above: these lengths are ragged enough to matter."""
    batch = Batch(0)
    whole, _ = _policy_loss(batch, batch.tensor(batch.new))
    new, old, advantages = (batch.tensor(x) for x in (batch.new, batch.old, batch.advantages))
    means = []
    for i, here in enumerate(batch.is_response):
        n = int(here.sum())
        loss, _ = pg.ppo_policy_loss(new[i], old[i], advantages[i], here, EPS, n)
        means.append(loss.item())
    assert abs(oracles.mean(means) - whole.item()) > 0.01


def test_explained_variance_equals_the_loop() -> None:
    batch = Batch(4)
    values, returns = batch.new, batch.returns
    rest = oracles.variance(oracles.selected(returns - values, batch.mask), 1)
    total = oracles.variance(oracles.selected(returns, batch.mask), 1)
    actual = pg.explained_variance(batch.tensor(values), batch.tensor(returns), batch.is_response)
    assert_close(actual, 1 - rest / total, FLOAT64)


def test_explained_variance_of_known_predictors() -> None:
    returns = torch.tensor([[1.0, 2.0, 3.0, 6.0]], dtype=torch.float64)
    everything = torch.ones(1, 4, dtype=torch.bool)
    for values, expected in [
        (returns, 1.0),
        (returns + 5.0, 1.0),
        (torch.zeros_like(returns), 0.0),
        (-returns, -3.0),
    ]:
        assert_close(pg.explained_variance(values, returns, everything), expected, FLOAT64)


def test_returns_without_spread_explain_nothing() -> None:
    same, everything = torch.ones(1, 4), torch.ones(1, 4, dtype=torch.bool)
    assert_close(pg.explained_variance(torch.zeros(1, 4), same, everything), 0.0, EXACT)
