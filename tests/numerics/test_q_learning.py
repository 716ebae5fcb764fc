"""Losses of Q and V: numerics.md items 9 (V = 0 beyond the end), 15 (targets carry no gradient);
ILQL, SARSA and soft Q-learning of section 2.

Path consistency is tested where it has to vanish: on a tree small enough to be solved.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, SLOPE, assert_close
from tests.numerics import oracles
from workbench.objectives import q_learning as ql

NAN = float("nan")
BETA, GAMMA = 0.7, 0.9


class Batch:
    """Ragged answers, NaN outside the response."""

    def __init__(self, seed: int) -> None:
        self.mask = oracles.ragged(seed)
        names = ("q", "values", "rewards", "logps", "ref", "targets")
        for k, name in enumerate(names):
            setattr(self, name, oracles.normal(10 * seed + k, *self.mask.shape))

    def __getattr__(self, name: str) -> oracles.F:
        raise AttributeError(name)

    def tensor(self, name: str, *, has_grad: bool = False) -> Tensor:
        x = np.where(self.mask, getattr(self, name), NAN)
        return torch.tensor(x, requires_grad=has_grad)

    @property
    def is_response(self) -> Tensor:
        return torch.tensor(self.mask)

    def loop(self, f: Callable[..., float], *arrays: oracles.F) -> oracles.F:
        """A function of numbers for every response token, 0 elsewhere."""
        out = np.zeros(self.mask.shape)
        for i in np.ndindex(*self.mask.shape):
            if self.mask[i]:
                out[i] = f(*(x.item(i) for x in arrays))
        return out


# Targets


def test_the_value_after_a_token_is_the_next_ones_and_0_after_the_last() -> None:
    values = torch.tensor([[1.0, 2.0, 3.0], [4.0, NAN, NAN], [5.0, 6.0, NAN], [7.0, 8.0, 9.0]])
    is_response = torch.tensor(
        [[True, True, True], [True, False, False], [True, True, False], [True, False, True]]
    )
    expected = [[2.0, 3.0, 0.0], [0.0, 0.0, 0.0], [6.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert_close(ql.following_values(values, is_response), expected, EXACT)


def test_target_by_hand_does_not_bootstrap_beyond_the_last_token() -> None:
    """For answers that ended and answers that were cut alike; what stands there may be anything."""
    rewards = torch.tensor([[1.0, 2.0, 4.0], [8.0, NAN, NAN]])
    next_values = torch.tensor([[10.0, 20.0, 1e9], [NAN, NAN, NAN]])
    is_response = torch.tensor([[True, True, True], [True, False, False]])
    actual = ql.td_target(rewards, next_values, is_response, 0.5)
    assert_close(actual, [[6.0, 12.0, 4.0], [8.0, 0.0, 0.0]], EXACT)


def test_perfect_values_are_their_own_targets() -> None:
    """V = Σ of the rewards to come, so r + γV' = V: the fixed point of every TD method here."""
    mask = oracles.ragged(1)
    r = oracles.normal(1, *mask.shape)
    values = torch.tensor(np.where(mask, oracles.to_go(r, mask, GAMMA), NAN))
    is_response = torch.tensor(mask)
    target = ql.td_target(
        torch.tensor(np.where(mask, r, NAN)),
        ql.following_values(values, is_response),
        is_response,
        GAMMA,
    )
    assert_close(target[is_response], values[is_response], FLOAT64)


def test_targets_carry_no_gradient() -> None:
    batch = Batch(1)
    values = batch.tensor("values", has_grad=True)
    after = ql.following_values(values, batch.is_response)
    assert after.requires_grad
    assert not ql.td_target(batch.tensor("rewards"), after, batch.is_response, 0.9).requires_grad


# Q and V


def test_q_loss_equals_the_loop_and_moves_q_only() -> None:
    batch = Batch(2)
    q, targets = (batch.tensor(name, has_grad=True) for name in ("q", "targets"))
    losses = ql.q_loss(q, targets, batch.is_response)
    expected = batch.loop(lambda a, b: (a - b) ** 2, batch.q, batch.targets)
    assert_close(losses, expected, FLOAT64)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    total = batch.loop(lambda a, b: 2 * (a - b), batch.q, batch.targets)
    assert_close(q.grad, total, FLOAT64)
    assert targets.grad is None


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.95])
def test_expectile_loss_equals_the_loop_over_cases(tau: float) -> None:
    q, v = oracles.normal(1, 8), oracles.normal(2, 8)
    expected = [oracles.expectile(a, b, tau) for a, b in zip(q, v, strict=True)]
    assert_close(ql.expectile_loss(torch.tensor(q), torch.tensor(v), tau), expected, FLOAT64)


def test_expectile_gradient_equals_finite_differences_and_leaves_q_alone() -> None:
    a, b = oracles.normal(1, 8), oracles.normal(2, 8)
    q, v = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    ql.expectile_loss(q, v, 0.8).sum().backward()  # type: ignore[no-untyped-call]

    def total(x: oracles.F) -> float:
        return sum(oracles.expectile(i, j, 0.8) for i, j in zip(a, x, strict=True))

    assert_close(v.grad, oracles.slope(total, b), SLOPE)
    assert q.grad is None


@pytest.mark.parametrize("tau", [0.5, 0.7, 0.9])
def test_the_expectile_of_a_fair_coin_is_tau(tau: float) -> None:
    """τ(1 − v) = (1 − τ)v: the loss is lowest where V is the τ-expectile, the mean for τ = ½."""
    v = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    coin = torch.tensor([0.0, 1.0], dtype=torch.float64)
    (grad,) = torch.autograd.grad(ql.expectile_loss(coin, v.expand(2), tau).sum(), v)
    assert_close(grad, 0.0, FLOAT64)


def test_conservative_loss_is_the_cross_entropy_of_q_over_the_vocabulary() -> None:
    batch, temperature = Batch(3), 0.6
    q = oracles.normal(5, *batch.mask.shape, 4)
    ids = np.random.default_rng(6).integers(0, 4, batch.mask.shape)
    expected = np.zeros(batch.mask.shape)
    for i in np.ndindex(*batch.mask.shape):
        if batch.mask[i]:
            expected[i] = -oracles.logp(q[i], int(ids[i]), temperature)
    inside = torch.tensor(np.where(batch.mask[..., None], q, NAN), requires_grad=True)
    taken = inside.gather(-1, torch.tensor(ids).unsqueeze(-1)).squeeze(-1)
    losses = ql.conservative_loss(
        (inside / temperature).logsumexp(-1), taken, batch.is_response, temperature
    )
    assert_close(losses, expected, FLOAT64)


def test_what_all_tokens_of_a_state_share_costs_nothing() -> None:
    """V moves no conservative loss: with Q = V + advantage the head alone decides."""
    q = torch.tensor(oracles.normal(1, 1, 3, 5))
    everything = torch.ones(1, 3, dtype=torch.bool)
    plain, shifted = (
        ql.conservative_loss(x.logsumexp(-1), x[..., 2], everything) for x in (q, q + 7.0)
    )
    assert_close(plain, shifted, FLOAT64)


def test_weights_are_the_exponential_of_the_advantage_up_to_a_largest() -> None:
    q, v = torch.tensor([1.0, 0.0, 5.0, 900.0]), torch.tensor([0.0, 1.0, 0.0, 0.0])
    actual = ql.advantage_weights(q.requires_grad_(), v.requires_grad_(), 0.5, 10.0)
    assert_close(actual, [math.exp(0.5), math.exp(-0.5), 10.0, 10.0], FLOAT32)
    assert not actual.requires_grad


def test_imitation_weighs_each_token_and_moves_the_policy_only() -> None:
    logps = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    weights = torch.tensor([[3.0, 0.5]], requires_grad=True)
    losses = ql.awac_loss(logps, weights)
    assert_close(losses, [[3.0, 1.0]], EXACT)
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(logps.grad, [[-3.0, -0.5]], EXACT)
    assert weights.grad is None


def test_losses_of_q_and_v_pass_gradcheck() -> None:
    x = torch.tensor(oracles.normal(1, 2, 3), requires_grad=True)
    y = torch.tensor(oracles.normal(2, 2, 3))
    mask = torch.tensor([[True, True, True], [True, False, False]])
    for loss in (
        lambda x: ql.q_loss(x, y, mask),
        lambda x: ql.expectile_loss(y, x, 0.8),
        lambda x: ql.conservative_loss(x, y, mask, 0.6),
        lambda x: ql.conservative_loss(y, x, mask, 0.6),
        lambda x: ql.awac_loss(x, y),
        lambda x: ql.following_values(x, mask),
    ):
        assert torch.autograd.gradcheck(loss, (x,))


# Soft Q-learning


def _path_losses(batch: Batch, loss: str, **changed: Tensor) -> Tensor:
    given = {name: batch.tensor(name) for name in ("logps", "ref", "values", "rewards")} | changed
    losses: Tensor = getattr(ql, loss)(*given.values(), batch.is_response, BETA, GAMMA)
    return losses


def _residuals(batch: Batch) -> oracles.F:
    return oracles.path_residuals(
        batch.logps - batch.ref, batch.values, batch.rewards, batch.mask, BETA, GAMMA
    )


def _residuals_to_end(batch: Batch) -> oracles.F:
    """The discounted sum of the one-step residuals: values in between cancel out."""
    return oracles.to_go(_residuals(batch), batch.mask, GAMMA)


# By name: a mutant replaces the functions of the module, not the ones that a list holds.
LOSSES = [
    ("path_consistency_loss", _residuals),
    ("path_consistency_to_end_loss", _residuals_to_end),
]


@pytest.mark.parametrize(("loss", "residuals"), LOSSES)
def test_path_losses_equal_the_loops(loss: str, residuals: Callable[[Batch], oracles.F]) -> None:
    for seed in range(4):
        batch = Batch(seed)
        assert_close(_path_losses(batch, loss), residuals(batch) ** 2, FLOAT64)


@pytest.mark.parametrize(("loss", "residuals"), LOSSES)
@pytest.mark.parametrize("name", ["logps", "values"])
def test_path_gradients_equal_finite_differences(
    loss: str, residuals: Callable[[Batch], oracles.F], name: str
) -> None:
    batch = Batch(2)
    x = batch.tensor(name, has_grad=True)
    (grad,) = torch.autograd.grad(_path_losses(batch, loss, **{name: x}).sum(), x)
    start = getattr(batch, name)

    def total(values: oracles.F) -> float:
        setattr(batch, name, values)
        return float((residuals(batch) ** 2).sum())

    assert_close(grad, oracles.slope(total, start), SLOPE)


@pytest.mark.parametrize("loss", [name for name, _ in LOSSES])
def test_path_losses_pass_gradcheck(loss: str) -> None:
    batch = Batch(0)
    inputs = [
        torch.tensor(getattr(batch, name), requires_grad=True)
        for name in ("logps", "ref", "values", "rewards")
    ]
    assert torch.autograd.gradcheck(
        lambda *x: getattr(ql, loss)(*x, batch.is_response, BETA, GAMMA), inputs
    )


class Tree:
    """Answers of up to three tokens out of two, where token 1 ends; a reward for every token.

    Solved from the leaves: V(s) = β log Σ_a ref(a|s)·exp(Q(s, a)/β), π = ref·exp((Q − V)/β).
    """

    TOKENS, DEPTH, STOP = (0, 1), 3, 1

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        states = [s for n in range(self.DEPTH) for s in itertools.product((0,), repeat=n)]
        self.ref = {s: oracles.probabilities(rng.normal(size=2), 1.0) for s in states}
        self.reward = {(*s, a): float(rng.normal()) for s in states for a in self.TOKENS}

    def value(self, state: tuple[int, ...]) -> float:
        if len(state) == self.DEPTH or self.STOP in state:
            return 0.0
        ref = self.ref[state]
        terms = [ref[a] * math.exp(self.q(state, a) / BETA) for a in self.TOKENS]
        return BETA * math.log(math.fsum(terms))

    def q(self, state: tuple[int, ...], token: int) -> float:
        return self.reward[(*state, token)] + GAMMA * self.value((*state, token))

    def answers(self) -> Iterator[list[int]]:
        for n in range(self.DEPTH):
            yield [0] * n + [1]
        yield [0] * self.DEPTH

    def batch(self) -> tuple[dict[str, Tensor], Tensor]:
        """Every answer that there is, as tensors, with the optimal policy and its values."""
        rows = list(self.answers())
        shape = (len(rows), self.DEPTH)
        names = ("logps", "ref_logps", "values", "rewards")
        out = {name: torch.full(shape, NAN, dtype=torch.float64) for name in names}
        is_response = torch.zeros(shape, dtype=torch.bool)
        for b, row in enumerate(rows):
            for t, token in enumerate(row):
                state = tuple(row[:t])
                log_ref, value = math.log(self.ref[state][token]), self.value(state)
                out["ref_logps"][b, t] = log_ref
                out["values"][b, t] = value
                out["logps"][b, t] = log_ref + (self.q(state, token) - value) / BETA
                out["rewards"][b, t] = self.reward[(*state, token)]
                is_response[b, t] = True
        return out, is_response


@pytest.mark.parametrize("loss", [name for name, _ in LOSSES])
def test_the_solved_tree_is_consistent_on_every_path(loss: str) -> None:
    tensors, is_response = Tree().batch()
    losses = getattr(ql, loss)(*tensors.values(), is_response, BETA, GAMMA)
    assert_close(losses, torch.zeros(losses.shape), FLOAT64)


@pytest.mark.parametrize("loss", [name for name, _ in LOSSES])
@pytest.mark.parametrize("name", ["logps", "values"])
def test_anything_else_than_the_solution_is_not(loss: str, name: str) -> None:
    """The control: another policy, or other values, are seen on the paths that they are on."""
    tensors, is_response = Tree().batch()
    tensors[name] = tensors[name] + 0.1
    losses = getattr(ql, loss)(*tensors.values(), is_response, BETA, GAMMA)
    assert (losses[is_response] > 1e-6).all()


def test_the_solved_trees_policy_is_one() -> None:
    tensors, is_response = Tree().batch()
    whole = torch.where(is_response, tensors["logps"], 0.0).sum(dim=1)
    assert_close(whole.exp().sum(), 1.0, FLOAT64)


# Target copies


def test_target_copies_follow_at_their_rate_in_place() -> None:
    target, param = torch.zeros(3), torch.ones(3, requires_grad=True)
    same = target
    for k in range(1, 4):
        ql.polyak_([target], [param], 0.25)
        assert_close(target, torch.full((3,), 1.0 - 0.75**k), FLOAT32)
    assert same is target
    assert not target.requires_grad


def test_target_copies_at_rate_1_are_copies() -> None:
    target, param = torch.zeros(3), torch.tensor(oracles.normal(1, 3)).float()
    ql.polyak_([target], [param], 1.0)
    assert_close(target, param, EXACT)


def test_target_copies_of_another_number_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ql.polyak_([torch.zeros(1), torch.zeros(1)], [torch.ones(1)], 0.5)


def test_what_lies_outside_the_response_has_neither_loss_nor_gradient() -> None:
    batch = Batch(3)
    nothing = torch.zeros(int((~batch.mask).sum()))
    for name, loss in (
        ("q", lambda x: ql.q_loss(x, batch.tensor("targets"), batch.is_response)),
        ("q", lambda x: ql.conservative_loss(batch.tensor("values"), x, batch.is_response, 0.5)),
        ("values", lambda x: _path_losses(batch, "path_consistency_loss", values=x)),
        ("logps", lambda x: _path_losses(batch, "path_consistency_loss", logps=x)),
        ("values", lambda x: _path_losses(batch, "path_consistency_to_end_loss", values=x)),
        ("logps", lambda x: _path_losses(batch, "path_consistency_to_end_loss", logps=x)),
    ):
        x = batch.tensor(name, has_grad=True)
        losses = loss(x)
        assert_close(losses[~batch.is_response], nothing, EXACT)
        (grad,) = torch.autograd.grad(losses.sum(), x)
        assert_close(grad[~batch.is_response], nothing, EXACT)
        assert torch.isfinite(grad).all()
