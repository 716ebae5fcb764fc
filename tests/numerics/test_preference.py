"""The reward model's loss: numerics.md item 39."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.close import EXACT, FLOAT32, FLOAT64, Level, assert_close
from tests.numerics import oracles
from workbench.objectives import preference

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
    assert_close(x.grad, oracles.slope(total, scores), Level(1e-7, 1e-6))


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
