"""Losses of policies and values: numerics.md items 15 (advantages carry no gradient), 18 (KL as a
loss), 26, 27, 28, 30, 33 (token weights), 48 (A = 0); REINFORCE, A2C, RLOO and GRPO of section 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, SLOPE, assert_close
from tests.numerics import oracles
from workbench.objectives import policy_gradient as pg
from workbench.objectives.kl import Estimator

NAN = float("nan")
LOW, HIGH = 0.2, 0.28
EPS = 0.2
MAX_TOKENS = 9
HOWS: tuple[pg.Aggregation, ...] = ("token", "answer", "fixed_length")
ESTIMATORS: tuple[Estimator, ...] = ("k1", "k2", "k3")


class Batch:
    """Ratios on both sides of both clip edges, advantages of both signs, NaN outside."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.mask = oracles.ragged(seed)
        self.old = rng.normal(-2.0, 0.5, self.mask.shape)
        self.new = self.old + rng.normal(0.0, 0.4, self.mask.shape)
        self.advantages = rng.normal(size=self.mask.shape)
        self.returns = rng.normal(size=self.mask.shape)
        self.ref = self.old + rng.normal(0.0, 0.4, self.mask.shape)
        self.n = int(self.mask.sum())

    def tensor(self, x: oracles.F, *, has_grad: bool = False) -> Tensor:
        return torch.tensor(np.where(self.mask, x, NAN), requires_grad=has_grad)

    @property
    def is_response(self) -> Tensor:
        return torch.tensor(self.mask)

    def each(
        self, loss: Callable[..., tuple[float, bool]], *arrays: oracles.F
    ) -> list[tuple[float, bool]]:
        """A loss of numbers for every response token."""
        return [
            loss(*(x.item(i) for x in arrays)) for i in np.ndindex(*self.mask.shape) if self.mask[i]
        ]

    def policy(self, new: oracles.F, dual: float = math.inf) -> tuple[float, int]:
        def loss(n: float, o: float, a: float) -> tuple[float, bool]:
            return oracles.clipped_loss(n - o, a, LOW, HIGH, dual)

        parts = self.each(loss, new, self.old, self.advantages)
        return sum(p[0] for p in parts) / self.n, sum(p[1] for p in parts)

    def value(self, new: oracles.F) -> tuple[float, int]:
        def loss(v: float, o: float, r: float) -> tuple[float, bool]:
            return oracles.value_token_loss(v, o, r, EPS)

        parts = self.each(loss, new, self.old, self.returns)
        return sum(p[0] for p in parts) / self.n, sum(p[1] for p in parts)

    def total(self, losses: Tensor, how: pg.Aggregation = "token") -> Tensor:
        return pg.aggregate(
            losses,
            self.is_response,
            how,
            n_tokens=self.n,
            n_answers=len(self.mask),
            max_tokens=MAX_TOKENS,
        )


def _policy_losses(
    batch: Batch, new: Tensor, dual_clip: float = 0.0
) -> tuple[Tensor, pg.PolicyStats]:
    return pg.clipped_policy_loss(
        new,
        batch.tensor(batch.old),
        batch.tensor(batch.advantages),
        batch.is_response,
        LOW,
        HIGH,
        dual_clip,
    )


def _policy_loss(
    batch: Batch, new: Tensor, dual_clip: float = 0.0
) -> tuple[Tensor, pg.PolicyStats]:
    losses, stats = _policy_losses(batch, new, dual_clip)
    return batch.total(losses), stats


def _value_losses(
    batch: Batch, new: Tensor, clip_range: float | None = EPS
) -> tuple[Tensor, Tensor]:
    return pg.value_loss(
        new, batch.tensor(batch.old), batch.tensor(batch.returns), batch.is_response, clip_range
    )


def _value_loss(batch: Batch, new: Tensor, clip_range: float | None = EPS) -> tuple[Tensor, Tensor]:
    losses, n_clipped = _value_losses(batch, new, clip_range)
    return batch.total(losses), n_clipped


def _gradient(loss: Tensor, x: Tensor) -> Tensor:
    (grad,) = torch.autograd.grad(loss, x)
    return grad


# The clipped loss of tokens


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("dual", [0.0, 1.5])
def test_policy_loss_equals_the_loop_over_cases(seed: int, dual: float) -> None:
    batch = Batch(seed)
    loss, stats = _policy_loss(batch, batch.tensor(batch.new), dual)
    expected, n_clipped = batch.policy(batch.new, dual or math.inf)
    assert_close(loss, expected, FLOAT64)
    assert n_clipped > 0
    assert stats.clipped_sum.item() == n_clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.25, 2.0, -2.5, False),  # between 1 + ε_low and 1 + ε_high: the upper edge is ε_high
        (1.5, 2.0, -2.56, True),  # gain is not pushed beyond 1 + ε_high
        (0.5, 2.0, -1.0, False),  # but a loss of a good token is felt in full
        (1.5, -2.0, 3.0, False),
        (0.75, -2.0, 1.6, True),  # the lower edge is ε_low
    ],
)
def test_policy_loss_of_one_token_by_hand(
    ratio: float, advantage: float, loss: float, is_clipped: bool
) -> None:
    for dual_clip in (0.0, 3.0):
        actual, stats = _one_token(ratio, advantage, dual_clip)
        assert_close(actual, [[loss]], FLOAT64)
        assert bool(stats.clipped_sum) == is_clipped


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "is_clipped"),
    [
        (2.9, -2.0, 5.8, False),
        (3.1, -2.0, 6.0, True),
        (50.0, -2.0, 6.0, True),  # a bad token that became likely costs no more than this
        (50.0, 2.0, -2.56, True),  # good tokens are not its business
        (0.1, 2.0, -0.2, False),
    ],
)
def test_dual_clip_of_one_token_by_hand(
    ratio: float, advantage: float, loss: float, is_clipped: bool
) -> None:
    actual, stats = _one_token(ratio, advantage, dual_clip=3.0)
    assert_close(actual, [[loss]], FLOAT64)
    assert bool(stats.clipped_sum) == is_clipped


def _one_token(ratio: float, advantage: float, dual_clip: float) -> tuple[Tensor, pg.PolicyStats]:
    return pg.clipped_policy_loss(
        torch.tensor([[math.log(ratio)]], dtype=torch.float64),
        torch.zeros(1, 1, dtype=torch.float64),
        torch.tensor([[advantage]], dtype=torch.float64),
        torch.tensor([[True]]),
        LOW,
        HIGH,
        dual_clip,
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dual", [0.0, 1.5])
def test_policy_gradient_equals_finite_differences(seed: int, dual: float) -> None:
    batch = Batch(seed)
    new = batch.tensor(batch.new, has_grad=True)
    grad = _gradient(_policy_loss(batch, new, dual)[0], new)
    expected = oracles.slope(lambda x: batch.policy(x, dual or math.inf)[0], batch.new)
    assert_close(grad, expected, SLOPE)


def test_policy_loss_passes_gradcheck() -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    for dual_clip in (0.0, 1.5):
        assert torch.autograd.gradcheck(
            lambda x, c=dual_clip: _policy_losses(batch, x, c)[0], (new,)
        )


def test_at_ratio_1_the_gradient_is_minus_advantage_over_n() -> None:
    batch = Batch(1)
    new = batch.tensor(batch.old, has_grad=True)
    loss, stats = _policy_loss(batch, new)
    expected = np.where(batch.mask, -batch.advantages / batch.n, 0.0)
    assert_close(_gradient(loss, new), expected, FLOAT64)
    assert_close(torch.stack([*stats]), [0.0, 0.0, 0.0], EXACT)


def test_no_advantage_gives_no_gradient() -> None:
    batch = Batch(2)
    batch.advantages = np.zeros_like(batch.advantages)
    new = batch.tensor(batch.new, has_grad=True)
    assert_close(_gradient(_policy_loss(batch, new)[0], new), np.zeros_like(batch.new), EXACT)


def test_statistics_are_sums_over_response_tokens() -> None:
    batch = Batch(3)
    _, stats = _policy_loss(batch, batch.tensor(batch.new, has_grad=True))
    steps = oracles.selected(batch.new - batch.old, batch.mask)
    assert_close(stats.approx_kl_sum, math.fsum(0.5 * d * d for d in steps), FLOAT64)
    assert_close(stats.log_ratio_abs_max, max(abs(d) for d in steps), FLOAT64)
    assert not any(s.requires_grad for s in stats)


def test_a_broken_step_gives_a_finite_loss_and_shows_its_ratio() -> None:
    everything = torch.ones(1, 2, dtype=torch.bool)
    losses, stats = pg.clipped_policy_loss(
        torch.tensor([[500.0, -500.0]]), torch.zeros(1, 2), -torch.ones(1, 2), everything, EPS, EPS
    )
    assert_close(losses, [[math.exp(20.0), 0.8]], FLOAT32)
    assert_close(stats.log_ratio_abs_max, 500.0, EXACT)


# The clipped loss of answers


def _sequence_losses(batch: Batch, new: Tensor) -> tuple[Tensor, pg.PolicyStats]:
    return pg.sequence_policy_loss(
        new,
        batch.tensor(batch.old),
        torch.tensor(batch.advantages[:, 0]),
        batch.is_response,
        LOW,
        HIGH,
    )


def _sequence_loop(batch: Batch, new: oracles.F) -> list[tuple[float, bool]]:
    out = []
    for b in range(len(new)):
        log_ratio = math.fsum(oracles.selected(new[b] - batch.old[b], batch.mask[b]))
        out.append(oracles.clipped_loss(log_ratio, batch.advantages.item(b, 0), LOW, HIGH))
    return out


@pytest.mark.parametrize("seed", range(6))
def test_loss_of_whole_answers_equals_the_loop_over_cases(seed: int) -> None:
    batch = Batch(seed)
    losses, stats = _sequence_losses(batch, batch.tensor(batch.new))
    expected = _sequence_loop(batch, batch.new)
    assert_close(losses, [loss for loss, _ in expected], FLOAT64)
    assert stats.clipped_sum.item() == sum(is_clipped for _, is_clipped in expected) > 0
    steps = [
        math.fsum(oracles.selected(new - old, mask))
        for new, old, mask in zip(batch.new, batch.old, batch.mask, strict=True)
    ]
    assert_close(stats.approx_kl_sum, math.fsum(0.5 * d * d for d in steps), FLOAT64)
    assert_close(stats.log_ratio_abs_max, max(map(abs, steps)), FLOAT64)


@pytest.mark.parametrize("seed", range(3))
def test_gradient_of_whole_answers_equals_finite_differences(seed: int) -> None:
    batch = Batch(seed)
    new = batch.tensor(batch.new, has_grad=True)
    grad = _gradient(_sequence_losses(batch, new)[0].sum(), new)
    expected = oracles.slope(lambda x: sum(p[0] for p in _sequence_loop(batch, x)), batch.new)
    assert_close(grad, expected, SLOPE)


def test_loss_of_whole_answers_passes_gradcheck() -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _sequence_losses(batch, x)[0], (new,))


def test_an_answer_without_tokens_costs_nothing() -> None:
    nothing = torch.tensor([[True, True], [False, False]])
    losses, stats = pg.sequence_policy_loss(
        torch.zeros(2, 2), torch.zeros(2, 2), torch.tensor([3.0, 5.0]), nothing, EPS, EPS
    )
    assert_close(losses, [-3.0, 0.0], EXACT)
    assert_close(torch.stack([*stats]), [0.0, 0.0, 0.0], EXACT)


# REINFORCE


def test_reinforce_is_minus_advantage_times_logp_and_0_outside() -> None:
    batch = Batch(2)
    losses = pg.reinforce_loss(
        batch.tensor(batch.new), batch.tensor(batch.advantages), batch.is_response
    )
    expected = np.zeros_like(batch.new)
    for i in np.ndindex(*batch.mask.shape):
        if batch.mask[i]:
            expected[i] = -batch.advantages[i] * batch.new[i]
    assert_close(losses, expected, FLOAT64)


def test_reinforce_moves_the_policy_and_not_the_advantages() -> None:
    batch = Batch(2)
    new, advantages = (batch.tensor(x, has_grad=True) for x in (batch.new, batch.advantages))
    pg.reinforce_loss(new, advantages, batch.is_response).sum().backward()  # type: ignore[no-untyped-call]
    assert_close(new.grad, np.where(batch.mask, -batch.advantages, 0.0), FLOAT64)
    assert advantages.grad is None


def test_one_step_of_a2c_is_one_step_of_ppo_without_its_clip() -> None:
    """Huang et al. 2022 (arXiv:2205.09123): where ρ = 1 both have the same gradient."""
    batch = Batch(4)
    new = batch.tensor(batch.old, has_grad=True)
    a2c = pg.reinforce_loss(new, batch.tensor(batch.advantages), batch.is_response).sum()
    ppo = _policy_losses(batch, new)[0].sum()
    assert_close(_gradient(a2c, new), _gradient(ppo, new), FLOAT64)
    values = batch.tensor(batch.old, has_grad=True)
    without_clip, _ = _value_loss(batch, values, None)
    with_clip, _ = _value_loss(batch, values)
    assert_close(_gradient(without_clip, values), _gradient(with_clip, values), FLOAT64)


def test_reinforce_passes_gradcheck() -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    advantages = batch.tensor(batch.advantages)
    assert torch.autograd.gradcheck(
        lambda x: pg.reinforce_loss(x, advantages, batch.is_response), (new,)
    )


def test_reinforce_follows_the_gradient_of_the_expected_reward() -> None:
    """E_{y~π}[∇ loss] summed over a vocabulary is −∇ Σ π(y)·R(y), whatever the baseline."""
    z, reward = oracles.normal(1, 5), oracles.normal(2, 5)
    p = np.array(oracles.probabilities(z, 1.0))
    expected = -p * (reward - sum(p * reward))
    for baseline in (0.0, 3.0):
        logits = torch.tensor(z, requires_grad=True)
        logps = logits.log_softmax(-1).unsqueeze(0)
        losses = pg.reinforce_loss(
            logps, torch.tensor(reward - baseline).unsqueeze(0), torch.ones(1, 5, dtype=torch.bool)
        )
        assert_close(_gradient((torch.tensor(p) * losses).sum(), logits), expected, FLOAT64)


# Values


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
    response = torch.tensor([[True]])
    assert_close(pg.value_loss(v, o, r, response, EPS)[0], [[loss]], FLOAT64)
    squared, n_clipped = pg.value_loss(v, o, r, response, None)
    assert_close(squared, [[0.5 * (value - target) ** 2]], FLOAT64)
    assert n_clipped.item() == 0


@pytest.mark.parametrize("seed", range(3))
def test_value_gradient_equals_finite_differences(seed: int) -> None:
    batch = Batch(seed)
    new = batch.tensor(batch.new, has_grad=True)
    grad = _gradient(_value_loss(batch, new)[0], new)
    assert_close(grad, oracles.slope(lambda x: batch.value(x)[0], batch.new), SLOPE)


@pytest.mark.parametrize("clip_range", [EPS, None])
def test_value_loss_passes_gradcheck(clip_range: float | None) -> None:
    batch = Batch(0)
    new = torch.tensor(batch.new, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: _value_losses(batch, x, clip_range)[0], (new,))


# KL as a loss


def _kl_losses(batch: Batch, new: Tensor, estimator: Estimator) -> Tensor:
    return pg.kl_loss(
        new, batch.tensor(batch.old), batch.tensor(batch.ref), batch.is_response, estimator
    )


def _kl_value(new: float, old: float, ref: float, estimator: str) -> float:
    d = new - ref
    k = {"k1": d, "k2": d * d / 2, "k3": math.exp(ref - new) - 1 + d}[estimator]
    return math.exp(new - old) * k


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_kl_loss_has_the_weighted_estimate_as_value(estimator: Estimator) -> None:
    batch = Batch(5)
    expected = np.zeros_like(batch.new)
    for i in np.ndindex(*batch.mask.shape):
        if batch.mask[i]:
            expected[i] = _kl_value(batch.new[i], batch.old[i], batch.ref[i], estimator)
    assert_close(_kl_losses(batch, batch.tensor(batch.new), estimator), expected, FLOAT64)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_kl_loss_has_the_gradient_of_k3_times_the_ratio(estimator: Estimator) -> None:
    """Finite differences of ρ·k3, ρ included; all three estimators share them."""
    batch = Batch(5)
    new = batch.tensor(batch.new, has_grad=True)

    def corrected_k3(x: oracles.F) -> float:
        return math.fsum(
            _kl_value(x[i], batch.old[i], batch.ref[i], "k3")
            for i in np.ndindex(*batch.mask.shape)
            if batch.mask[i]
        )

    grad = _gradient(_kl_losses(batch, new, estimator).sum(), new)
    assert_close(grad, oracles.slope(corrected_k3, batch.new), SLOPE)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("is_on_policy", [True, False])
def test_kl_loss_follows_the_exact_gradient_of_the_reverse_kl(
    estimator: Estimator, is_on_policy: bool
) -> None:
    """E_{y~old}[∇ loss], summed over a vocabulary: the closed form is p_j(log p_j/q_j − KL)."""
    z, z_ref = oracles.normal(1, 6), oracles.normal(2, 6)
    z_old = z if is_on_policy else oracles.normal(3, 6)
    p, q, old = (np.array(oracles.probabilities(x, 1.0)) for x in (z, z_ref, z_old))
    exact = p * (np.log(p / q) - sum(p * np.log(p / q)))

    logits = torch.tensor(z, requires_grad=True)
    losses = pg.kl_loss(
        logits.log_softmax(-1).unsqueeze(0),
        torch.tensor(np.log(old)).unsqueeze(0),
        torch.tensor(np.log(q)).unsqueeze(0),
        torch.ones(1, 6, dtype=torch.bool),
        estimator,
    )
    expected_loss = (torch.tensor(old) * losses).sum()
    assert_close(_gradient(expected_loss, logits), exact, FLOAT64)
    if estimator != "k2":
        assert_close(expected_loss, sum(p * np.log(p / q)), FLOAT64)


def test_plain_estimates_as_losses_would_go_elsewhere() -> None:
    """Why `kl_loss` is no plain estimate: k1 pulls nowhere, k3 towards the forward KL."""
    z, z_ref = oracles.normal(1, 6), oracles.normal(2, 6)
    p, q = (np.array(oracles.probabilities(x, 1.0)) for x in (z, z_ref))
    logits, log_q = torch.tensor(z, requires_grad=True), torch.tensor(np.log(q))
    d = logits.log_softmax(-1) - log_q
    weights = torch.tensor(p)
    assert_close(_gradient((weights * d).sum(), logits), np.zeros(6), FLOAT64)
    d = logits.log_softmax(-1) - log_q
    k3 = (-d).exp() - 1 + d
    assert_close(_gradient((weights * k3).sum(), logits), p - q, FLOAT64)
    exact = p * (np.log(p / q) - sum(p * np.log(p / q)))
    assert max(abs(p - q - exact)) > 0.01


def test_kl_loss_of_a_token_far_from_the_reference_still_pulls() -> None:
    """k3 is cut at 10, and its own gradient would vanish there."""
    logps = torch.tensor([[-30.0]], requires_grad=True)
    zero, response = torch.zeros(1, 1), torch.tensor([[True]])
    loss = pg.kl_loss(logps, logps.detach(), zero, response, "k3")
    assert_close(loss, [[10.0]], FLOAT32)
    assert_close(_gradient(loss.sum(), logps), [[-30.0]], FLOAT32)


def test_kl_loss_weights_a_broken_step_by_no_infinity() -> None:
    logps = torch.tensor([[500.0]])
    loss = pg.kl_loss(logps, torch.zeros(1, 1), logps - 1.0, torch.tensor([[True]]), "k1")
    assert_close(loss, [[math.exp(20.0)]], FLOAT32)


def test_equal_policies_have_no_kl_loss_and_no_gradient() -> None:
    batch = Batch(1)
    batch.ref = batch.new
    for estimator in ESTIMATORS:
        new = batch.tensor(batch.new, has_grad=True)
        losses = _kl_losses(batch, new, estimator)
        assert_close(losses, np.zeros_like(batch.new), EXACT)
        assert_close(_gradient(losses.sum(), new), np.zeros_like(batch.new), EXACT)


# Sums


@pytest.mark.parametrize("how", HOWS)
def test_aggregate_equals_the_loop(how: pg.Aggregation) -> None:
    for seed in range(4):
        batch = Batch(seed)
        expected = oracles.aggregated(batch.returns, batch.mask, how, MAX_TOKENS)
        assert_close(batch.total(batch.tensor(batch.returns), how), expected, FLOAT64)


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("token", (4 * 1.0 + 6.0) / 20),
        ("answer", (1.0 + 6.0) / 6),  # both answers alike, however long
        ("fixed_length", (4 * 1.0 + 6.0) / (6 * 8)),
    ],
)
def test_aggregate_of_a_long_and_a_short_answer_by_hand(
    how: pg.Aggregation, expected: float
) -> None:
    """Two answers of the six, five tokens of the twenty, that the minibatch holds."""
    losses = torch.tensor([[1.0, 1.0, 1.0, 1.0], [6.0, NAN, NAN, NAN]])
    is_response = torch.tensor([[True] * 4, [True, False, False, False]])
    actual = pg.aggregate(losses, is_response, how, n_tokens=20, n_answers=6, max_tokens=8)
    assert_close(actual, expected, FLOAT32)


@pytest.mark.parametrize("how", HOWS)
def test_an_empty_minibatch_has_the_loss_0(how: pg.Aggregation) -> None:
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    losses = torch.full((2, 3), NAN, requires_grad=True)
    for n_answers in (0, 2):
        actual = pg.aggregate(losses, nothing, how, n_tokens=0, n_answers=n_answers, max_tokens=3)
        assert_close(actual, 0.0, EXACT)
        assert_close(_gradient(actual, losses), torch.zeros(2, 3), EXACT)


def test_unknown_aggregation_is_refused() -> None:
    with pytest.raises(AssertionError):
        Batch(0).total(torch.zeros(5, 7), "mean")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", HOWS)
def test_aggregate_passes_gradcheck(how: pg.Aggregation) -> None:
    batch = Batch(0)
    losses = torch.tensor(batch.returns, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: batch.total(x, how), (losses,))


@given(seed=st.integers(0, 200), size=st.integers(1, 5), how=st.sampled_from(HOWS))
def test_micro_batches_add_up_whatever_their_lengths(
    seed: int, size: int, how: pg.Aggregation
) -> None:
    """Losses, gradients and statistics of a minibatch, in parts and in one."""
    batch = Batch(seed)
    whole = batch.tensor(batch.new, has_grad=True)
    policy, stats = _policy_losses(batch, whole)
    value, n_clipped = _value_losses(batch, whole)
    kl = _kl_losses(batch, whole, "k3")
    total = batch.total(policy + value + kl, how)

    parts, part_stats, part_clipped = torch.tensor(0.0).double(), [], []
    split = batch.tensor(batch.new, has_grad=True)
    old, advantages, returns, ref = (
        batch.tensor(x) for x in (batch.old, batch.advantages, batch.returns, batch.ref)
    )
    for start in range(0, len(batch.mask), size):
        rows = slice(start, start + size)
        new, here = split[rows], batch.is_response[rows]
        policy, s = pg.clipped_policy_loss(new, old[rows], advantages[rows], here, LOW, HIGH)
        value, n = pg.value_loss(new, old[rows], returns[rows], here, EPS)
        kl = pg.kl_loss(new, old[rows], ref[rows], here, "k3")
        parts = parts + pg.aggregate(
            policy + value + kl,
            here,
            how,
            n_tokens=batch.n,
            n_answers=len(batch.mask),
            max_tokens=MAX_TOKENS,
        )
        part_stats.append(s)
        part_clipped.append(n)
    assert_close(parts, total, FLOAT64)
    assert_close(_gradient(parts, split), _gradient(total, whole), FLOAT64)
    assert_close(sum(s.approx_kl_sum for s in part_stats), stats.approx_kl_sum, FLOAT64)
    assert_close(sum(s.clipped_sum for s in part_stats), stats.clipped_sum, EXACT)
    assert_close(max(s.log_ratio_abs_max for s in part_stats), stats.log_ratio_abs_max, EXACT)
    assert_close(sum(part_clipped), n_clipped, EXACT)


def test_mean_of_means_would_differ() -> None:
    """The negative control of the test above: these lengths are ragged enough to matter."""
    batch = Batch(0)
    losses, _ = _policy_losses(batch, batch.tensor(batch.new))
    means = [
        oracles.mean(oracles.selected(row, mask))
        for row, mask in zip(losses.numpy(), batch.mask, strict=True)
    ]
    assert abs(oracles.mean(means) - batch.total(losses).item()) > 0.01


def test_what_lies_outside_the_response_has_neither_loss_nor_gradient() -> None:
    """There is NaN in every tensor there; one that leaked would show in each of these."""
    batch = Batch(3)
    outside = ~batch.is_response
    nothing = torch.zeros(int(outside.sum()))
    advantages = batch.tensor(batch.advantages)
    for loss in (
        lambda x: _policy_losses(batch, x)[0],
        lambda x: _policy_losses(batch, x, 1.5)[0],
        lambda x: _value_losses(batch, x)[0],
        lambda x: _value_losses(batch, x, None)[0],
        lambda x: _kl_losses(batch, x, "k3"),
        lambda x: pg.reinforce_loss(x, advantages, batch.is_response),
    ):
        x = batch.tensor(batch.new, has_grad=True)
        losses = loss(x)
        assert_close(losses[outside], nothing, EXACT)
        grad = _gradient(losses.sum(), x)
        assert_close(grad[outside], nothing, EXACT)
        assert torch.isfinite(grad).all()


# Diagnostics


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
