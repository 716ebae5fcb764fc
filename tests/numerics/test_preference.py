"""Losses on judged answers: numerics.md item 39; ties and rankings; DPO and KTO of section 2."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.close import EXACT, FLOAT32, FLOAT64, SLOPE, assert_close
from tests.numerics import oracles
from workbench.objectives import preference

NAN = float("nan")
KINDS: tuple[preference.DPOKind, ...] = ("sigmoid", "ipo", "hinge")
CHOSEN, REJECTED = [0.3, -2.0, 5.0], [0.1, 1.0, 5.0]


def _double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_nll_is_minus_the_log_of_the_win_probability() -> None:
    expected = [
        -math.log(math.exp(c) / (math.exp(c) + math.exp(r)))
        for c, r in zip(CHOSEN, REJECTED, strict=True)
    ]
    actual = preference.bradley_terry_nll(_double(*CHOSEN), _double(*REJECTED))
    assert_close(actual, expected, FLOAT64)


def test_a_model_that_cannot_tell_pays_log_2() -> None:
    assert_close(preference.bradley_terry_nll(_double(7.0), _double(7.0)), [math.log(2)], FLOAT64)


def test_far_apart_scores_neither_overflow_nor_vanish() -> None:
    actual = preference.bradley_terry_nll(torch.tensor([1e4, -1e4]), torch.tensor([-1e4, 1e4]))
    assert_close(actual, [0.0, 2e4], FLOAT32)


def test_margin_asks_for_a_greater_difference() -> None:
    actual = preference.bradley_terry_nll(_double(3.0), _double(1.0), _double(2.0))
    assert_close(actual, [math.log(2)], FLOAT64)


def test_centring_adds_the_squared_sum_of_both_scores() -> None:
    chosen, rejected, margin = _double(3.0, -1.0), _double(1.0, 1.0), _double(0.5, 0.0)
    plain = preference.bradley_terry_nll(chosen, rejected, margin)
    actual = preference.bradley_terry_loss(chosen, rejected, centering=0.01, margin=margin)
    assert_close(actual - plain, [0.16, 0.0], FLOAT64)
    assert_close(preference.bradley_terry_loss(chosen, rejected, 0.0, margin), plain, EXACT)


def test_relative_weights_make_the_mean_the_weighted_mean() -> None:
    weights, losses = [1.0, 0.5, 0.125, 1.0], [0.7, 0.1, 2.0, 0.4]
    expected = (0.7 + 0.05 + 0.25 + 0.4) / 2.625
    relative = preference.relative_weights(weights)
    assert_close(sum(w * x for w, x in zip(relative, losses, strict=True)) / 4, expected, FLOAT64)
    assert preference.relative_weights([0.3] * 7) == [1.0] * 7


@pytest.mark.parametrize("centering", [0.0, 0.05])
def test_gradient_equals_finite_differences(centering: float) -> None:
    scores = oracles.normal(0, 2, 4)
    margin = [0.1, 0.0, 0.4, -0.2]

    def total(x: oracles.F) -> float:
        return math.fsum(
            math.log1p(math.exp(-(c - r - m))) + centering * (c + r) * (c + r)
            for c, r, m in zip(x[0], x[1], margin, strict=True)
        )

    x = torch.tensor(scores, requires_grad=True)
    loss = preference.bradley_terry_loss(x[0], x[1], centering, _double(*margin))
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(x.grad, oracles.slope(total, scores), SLOPE)


def test_loss_passes_gradcheck() -> None:
    chosen, rejected = (x.requires_grad_() for x in (_double(*CHOSEN), _double(*REJECTED)))
    assert torch.autograd.gradcheck(
        lambda c, r: preference.bradley_terry_loss(c, r, 0.01), (chosen, rejected)
    )


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(-20, 20))
def test_nll_sees_differences_only(chosen: float, rejected: float, shift: float) -> None:
    a = preference.bradley_terry_nll(_double(chosen), _double(rejected))
    b = preference.bradley_terry_nll(_double(chosen + shift), _double(rejected + shift))
    assert_close(a, b, FLOAT64)
    swapped = preference.bradley_terry_nll(_double(rejected), _double(chosen))
    assert_close(torch.exp(-a) + torch.exp(-swapped), [1.0], FLOAT64)


# Ties and rankings


@pytest.mark.parametrize("eta", [0.1, 1.0, 3.0])
def test_ties_equal_the_probabilities_of_rao_and_kupper(eta: float) -> None:
    first, second = oracles.normal(0, 3), oracles.normal(1, 3)
    verdict = [1, 0, -1]
    expected = [
        oracles.rao_kupper(a, b, v, math.exp(eta))
        for a, b, v in zip(first, second, verdict, strict=True)
    ]
    for parameter in (eta, torch.tensor(eta, dtype=torch.float64)):
        actual = preference.rao_kupper_nll(
            torch.tensor(first), torch.tensor(second), torch.tensor(verdict), parameter
        )
        assert_close(actual, expected, FLOAT64)


@given(st.floats(-20, 20), st.floats(-20, 20), st.floats(0.01, 3))
def test_the_three_verdicts_have_probabilities_that_add_up(a: float, b: float, eta: float) -> None:
    first, second = _double(a, a, a), _double(b, b, b)
    nll = preference.rao_kupper_nll(first, second, torch.tensor([1, 0, -1]), eta)
    assert_close((-nll).exp().sum(), 1.0, FLOAT64)


def test_a_small_tie_parameter_leaves_bradley_and_terry() -> None:
    first, second = _double(*CHOSEN), _double(*REJECTED)
    actual = preference.rao_kupper_nll(first, second, torch.tensor([1, 1, 1]), 1e-12)
    assert_close(actual, preference.bradley_terry_nll(first, second), FLOAT64)


def test_a_tie_is_likeliest_between_equal_scores() -> None:
    nll = preference.rao_kupper_nll(
        _double(2.0, 2.5, 4.0), _double(2.0, 2.0, 2.0), torch.zeros(3), 1.0
    )
    assert nll.tolist() == sorted(nll.tolist())
    assert_close(nll[0], -math.log((math.e**2 - 1) / (1 + math.e) ** 2), FLOAT64)


def test_ties_pass_gradcheck_also_for_their_parameter() -> None:
    scores = [x.requires_grad_() for x in (_double(*CHOSEN), _double(*REJECTED), _double(0.7))]
    verdict = torch.tensor([1, 0, -1])
    assert torch.autograd.gradcheck(
        lambda a, b, eta: preference.rao_kupper_nll(a, b, verdict, eta.squeeze()), scores
    )


def _ranked(lengths: list[int], width: int) -> torch.Tensor:
    return torch.arange(width) < torch.tensor(lengths).unsqueeze(1)


def test_rankings_equal_draws_without_replacement() -> None:
    scores, lengths = oracles.normal(3, 4, 5), [5, 3, 1, 0]
    is_ranked = _ranked(lengths, 5)
    expected = [oracles.plackett_luce(row[:n]) for row, n in zip(scores, lengths, strict=True)]
    tensor = torch.where(is_ranked, torch.tensor(scores), NAN).requires_grad_()
    actual = preference.plackett_luce_nll(tensor, is_ranked)
    assert_close(actual, expected, FLOAT64)
    actual.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(tensor.grad[~is_ranked], torch.zeros(11), EXACT)  # type: ignore[index]
    assert torch.isfinite(tensor.grad).all()  # type: ignore[arg-type]


def test_all_orders_of_three_answers_have_probabilities_that_add_up() -> None:
    orders = torch.tensor(list(itertools.permutations([0.3, -1.0, 2.0])), dtype=torch.float64)
    nll = preference.plackett_luce_nll(orders, torch.ones(6, 3, dtype=torch.bool))
    assert_close((-nll).exp().sum(), 1.0, FLOAT64)
    assert orders[nll.argmin()].tolist() == [2.0, 0.3, -1.0]


def test_a_ranking_of_two_is_a_pair() -> None:
    scores = torch.stack([_double(*CHOSEN), _double(*REJECTED)], dim=1)
    actual = preference.plackett_luce_nll(scores, torch.ones(3, 2, dtype=torch.bool))
    assert_close(actual, preference.bradley_terry_nll(scores[:, 0], scores[:, 1]), FLOAT64)


def test_rankings_pass_gradcheck() -> None:
    scores = torch.tensor(oracles.normal(4, 3, 4), requires_grad=True)
    is_ranked = _ranked([4, 2, 1], 4)
    assert torch.autograd.gradcheck(lambda x: preference.plackett_luce_nll(x, is_ranked), (scores,))


# DPO


def test_log_probability_of_an_answer_is_the_sum_over_its_tokens() -> None:
    mask = oracles.ragged(1)
    mask[2] = False  # an answer without tokens
    logps = oracles.normal(2, *mask.shape)
    rows = [oracles.selected(x, m) for x, m in zip(logps, mask, strict=True)]
    tensor = torch.tensor(np.where(mask, logps, NAN), requires_grad=True)
    sums = preference.sequence_logps(tensor, torch.tensor(mask))
    assert_close(sums, [math.fsum(row) for row in rows], FLOAT64)
    means = preference.sequence_logps(tensor, torch.tensor(mask), average=True)
    assert_close(means, [oracles.mean(row) if row else 0.0 for row in rows], FLOAT64)
    (sums.sum() + means.sum()).backward()  # type: ignore[no-untyped-call]
    assert torch.isfinite(tensor.grad).all()  # type: ignore[arg-type]


def _pairs(seed: int) -> tuple[oracles.F, list[float]]:
    """Log-probabilities of chosen, rejected, and both under the reference; their deltas."""
    x = oracles.normal(seed, 4, 6) * 3
    return x, [(c - rc) - (r - rr) for c, r, rc, rr in x.T]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_loss_equals_the_loop(kind: preference.DPOKind, beta: float) -> None:
    x, deltas = _pairs(1)
    for smoothing in (0.0, 0.2) if kind == "sigmoid" else (0.0,):
        expected = [oracles.dpo_loss(delta, beta, kind, smoothing) for delta in deltas]
        actual = preference.dpo_loss(*torch.tensor(x), beta, kind, smoothing)
        assert_close(actual, expected, FLOAT64)


@pytest.mark.parametrize(
    ("kind", "delta", "loss"),
    [
        ("sigmoid", 0.0, math.log(2)),
        ("ipo", 1.0, 0.0),  # 1/(2β) is where it wants to be, and no further
        ("ipo", 3.0, 4.0),
        ("hinge", 2.0, 0.0),
        ("hinge", 4.0, 0.0),  # clear enough
        ("hinge", 0.0, 1.0),
        ("hinge", -2.0, 2.0),
    ],
)
def test_dpo_loss_of_one_pair_by_hand(kind: preference.DPOKind, delta: float, loss: float) -> None:
    actual = preference.dpo_loss(
        _double(delta - 5.0), _double(-4.0), _double(-3.0), _double(-2.0), 0.5, kind
    )
    assert_close(actual, [loss], FLOAT64)


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_gradient_equals_finite_differences(kind: preference.DPOKind) -> None:
    x, _ = _pairs(2)
    smoothing = 0.2 if kind == "sigmoid" else 0.0

    def total(y: oracles.F) -> float:
        deltas = [(c - rc) - (r - rr) for c, r, rc, rr in y.T]
        return sum(oracles.dpo_loss(delta, 0.3, kind, smoothing) for delta in deltas)

    tensor = torch.tensor(x, requires_grad=True)
    preference.dpo_loss(*tensor, 0.3, kind, smoothing).sum().backward()  # type: ignore[no-untyped-call]
    assert_close(tensor.grad, oracles.slope(total, x), SLOPE)


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_passes_gradcheck(kind: preference.DPOKind) -> None:
    x = [row.clone().requires_grad_() for row in torch.tensor(_pairs(3)[0])]
    assert torch.autograd.gradcheck(lambda *y: preference.dpo_loss(*y, 0.3, kind), x)


@pytest.mark.parametrize("kind", KINDS)
def test_dpo_raises_the_chosen_and_lowers_the_rejected(kind: preference.DPOKind) -> None:
    """At the start, where the policy is the reference."""
    policy = [_double(-3.0).requires_grad_(), _double(-4.0).requires_grad_()]
    preference.dpo_loss(*policy, _double(-3.0), _double(-4.0), 0.1, kind).sum().backward()  # type: ignore[no-untyped-call]
    chosen, rejected = (float(x.grad) for x in policy)  # type: ignore[arg-type]
    assert chosen < 0 < rejected
    assert_close(chosen, -rejected, EXACT)


def test_conservative_dpo_stops_where_its_labels_are_as_often_wrong_as_it_says() -> None:
    """The gradient is 0 where σ(βΔ) = 1 − ε, and not before."""
    beta, smoothing = 0.5, 0.2
    goal, zero = math.log((1 - smoothing) / smoothing) / beta, _double(0.0, 0.0, 0.0)
    chosen = _double(goal - 1.0, goal, goal + 1.0).requires_grad_()
    loss = preference.dpo_loss(chosen, zero, zero, zero, beta, "sigmoid", smoothing)
    (grad,) = torch.autograd.grad(loss.sum(), chosen)
    assert grad[0] < -0.01
    assert_close(grad[1], 0.0, FLOAT64)
    assert grad[2] > 0.01


def test_the_policy_that_is_optimal_for_a_reward_has_it_as_implicit_reward() -> None:
    """π ∝ π_ref·exp(R/β): β·log π/π_ref is R up to a constant, and DPO pays what R would."""
    beta, reward = 0.4, oracles.normal(5, 4)
    ref = np.array(oracles.probabilities(oracles.normal(6, 4), 1.0))
    weights = ref * np.exp(reward / beta)
    policy = torch.tensor(np.log(weights / weights.sum()))
    ref_logps = torch.tensor(np.log(ref))
    implicit = preference.implicit_rewards(policy, ref_logps, beta)
    assert_close(implicit - implicit[0], reward - reward[0], FLOAT64)
    assert_close(
        preference.dpo_loss(policy[:2], policy[2:], ref_logps[:2], ref_logps[2:], beta, "sigmoid"),
        preference.bradley_terry_nll(torch.tensor(reward[:2]), torch.tensor(reward[2:])),
        FLOAT64,
    )


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(AssertionError):
        preference.dpo_loss(*torch.zeros(4, 1), 0.1, "exo")  # type: ignore[arg-type]


# KTO


def test_reference_point_is_the_mean_distance_and_never_below_0() -> None:
    policy, ref = _double(-1.0, -2.0, 3.0), _double(-2.0, -2.0, -2.0)
    assert_close(preference.kto_reference_point(policy, ref), 2.0, FLOAT64)
    assert_close(preference.kto_reference_point(ref, policy), 0.0, EXACT)
    assert not preference.kto_reference_point(policy.requires_grad_(), ref).requires_grad


def _kto(policy: torch.Tensor, ref: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
    return preference.kto_loss(
        policy, ref, kl, torch.tensor([True, False, True, False]), 0.3, 1.2, 0.7
    )


def _kto_loop(policy: oracles.F, ref: oracles.F, kl: float) -> list[float]:
    """The paper's value functions: λ less what is gained, in odds."""
    out = []
    for i, (log_pi, log_ref) in enumerate(zip(policy, ref, strict=True)):
        odds = math.exp(0.3 * (log_pi - log_ref - kl))
        out.append(0.7 - 0.7 / (1 + odds) if i % 2 else 1.2 - 1.2 * odds / (1 + odds))
    return out


def test_kto_loss_equals_the_loop() -> None:
    policy, ref = oracles.normal(1, 4) * 4, oracles.normal(2, 4) * 4
    for kl in (0.0, 1.5):
        actual = _kto(torch.tensor(policy), torch.tensor(ref), _double(kl).squeeze())
        assert_close(actual, _kto_loop(policy, ref, kl), FLOAT64)


def test_kto_gradient_equals_finite_differences_and_leaves_the_reference_point_alone() -> None:
    policy, ref = oracles.normal(1, 4) * 4, oracles.normal(2, 4) * 4
    x, kl = torch.tensor(policy, requires_grad=True), _double(1.5).squeeze().requires_grad_()
    _kto(x, torch.tensor(ref), kl).sum().backward()  # type: ignore[no-untyped-call]
    assert_close(x.grad, oracles.slope(lambda y: sum(_kto_loop(y, ref, 1.5)), policy), SLOPE)
    assert kl.grad is None


def test_kto_passes_gradcheck() -> None:
    policy = torch.tensor(oracles.normal(1, 4), requires_grad=True)
    ref, kl = torch.tensor(oracles.normal(2, 4)), torch.tensor(0.5)
    assert torch.autograd.gradcheck(lambda x: _kto(x, ref, kl), (policy,))


def test_kto_saturates_on_both_sides() -> None:
    far = torch.tensor([1e4, 1e4, -1e4, -1e4], requires_grad=True)
    loss = _kto(far, torch.zeros(4), torch.tensor(0.0))
    assert_close(loss, [0.0, 0.7, 1.2, 0.0], FLOAT32)
    (grad,) = torch.autograd.grad(loss.sum(), far)
    assert_close(grad, torch.zeros(4), FLOAT32)


def test_smoothing_mixes_both_verdicts_and_margins_only_what_was_said() -> None:
    first, second, margin = _double(1.5, -0.3), _double(0.2, 0.4), _double(1.0, 0.0)
    bt = preference.bradley_terry_loss(first, second, 0.0, margin, label_smoothing=0.2)
    expected = [
        0.8 * math.log1p(math.exp(-(a - b - m))) + 0.2 * math.log1p(math.exp(a - b))
        for a, b, m in zip(first.tolist(), second.tolist(), margin.tolist(), strict=True)
    ]
    assert_close(bt, expected, FLOAT64)
    verdict = torch.tensor([1, -1])
    rk = preference.rao_kupper_loss(first, second, verdict, 0.5, 0.0, margin, 0.2)
    expected = [
        0.8 * math.log1p(math.exp(-(v * (a - b) - 0.5 - m)))
        + 0.2 * math.log1p(math.exp(v * (a - b) + 0.5))
        for a, b, v, m in zip(
            first.tolist(), second.tolist(), verdict.tolist(), margin.tolist(), strict=True
        )
    ]
    assert_close(rk, expected, FLOAT64)


def test_a_tie_is_neither_smoothed_away_nor_given_a_margin() -> None:
    first, second = _double(1.5), _double(0.2)
    plain = preference.rao_kupper_nll(first, second, torch.tensor([0]), 0.5)
    loss = preference.rao_kupper_loss(first, second, torch.tensor([0]), 0.5, 0.01, 2.0, 0.3)
    assert_close(loss, plain + 0.01 * 1.7**2, FLOAT64)


def test_answers_that_share_a_place_are_won_against_the_whole_place_and_all_after() -> None:
    """Breslow's likelihood of a ranking a > {b, c} > d, by hand; any order within the place."""
    a, b, c, d = 0.7, -0.2, 1.1, 0.4
    both = math.exp(b) + math.exp(c) + math.exp(d)
    expected = (
        math.log(math.exp(a) + both) - a + math.log(both) - b + math.log(both) - c
    )  # d is last: log(exp d / exp d) = 0
    scores = _double(a, b, c, d, a, c, b, d).view(2, 4)
    places = torch.tensor([[0, 1, 1, 2]] * 2)
    is_ranked = torch.ones(2, 4, dtype=torch.bool)
    assert_close(preference.plackett_luce_nll(scores, is_ranked, places), [expected] * 2, FLOAT64)


def test_a_ranking_of_two_is_a_pair_with_its_centring() -> None:
    scores = torch.tensor(oracles.normal(4, 5, 2))
    is_ranked, places = torch.ones(5, 2, dtype=torch.bool), torch.tensor([[0, 1]] * 5)
    pairs = preference.bradley_terry_loss(scores[:, 0], scores[:, 1], 0.02)
    assert_close(preference.ranking_loss(scores, is_ranked, places, 0.02), pairs, FLOAT64)
    padded = torch.cat([scores, torch.full((5, 1), 99.0, dtype=torch.float64)], dim=1)
    padded.requires_grad_(True)
    is_padded = torch.tensor([[True, True, False]] * 5)
    loss = preference.ranking_loss(padded, is_padded, torch.tensor([[0, 1, 3]] * 5), 0.02)
    assert_close(loss, pairs, FLOAT64)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert padded.grad is not None
    assert not padded.grad[:, 2].any()
