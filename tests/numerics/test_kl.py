"""KL estimates and the adaptive weight: numerics.md items 16, 18 (estimators), 20."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from tests.numerics import oracles
from workbench.objectives import kl


def test_estimators_of_one_token_worked_out_by_hand() -> None:
    logps, ref_logps = torch.tensor([[-1.0]]).double(), torch.tensor([[-3.0]]).double()
    assert_close(kl.kl_estimate(logps, ref_logps, "k1"), [[2.0]], FLOAT64)
    assert_close(kl.kl_estimate(logps, ref_logps, "k2"), [[2.0]], FLOAT64)
    assert_close(kl.kl_estimate(logps, ref_logps, "k3"), [[math.exp(-2.0) + 1.0]], FLOAT64)


def test_less_likely_under_the_policy_is_negative_in_k1_only() -> None:
    logps, ref_logps = torch.tensor([[-3.0]]).double(), torch.tensor([[-1.0]]).double()
    assert_close(kl.kl_estimate(logps, ref_logps, "k1"), [[-2.0]], FLOAT64)
    assert_close(kl.kl_estimate(logps, ref_logps, "k2"), [[2.0]], FLOAT64)
    assert_close(kl.kl_estimate(logps, ref_logps, "k3"), [[math.exp(2.0) - 3.0]], FLOAT64)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_k1_and_k3_have_the_true_kl_as_expectation(estimator: kl.Estimator) -> None:
    """E_{y~p}[k] is summed over the whole vocabulary, so the comparison is exact."""
    z, z_ref = oracles.normal(1, 6), oracles.normal(2, 6)
    p, q = oracles.probabilities(z, 1.0), oracles.probabilities(z_ref, 1.0)
    true = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    estimates = kl.kl_estimate(torch.tensor(np.log(p)), torch.tensor(np.log(q)), estimator)
    assert_close((torch.tensor(p, dtype=torch.float64) * estimates).sum(), true, FLOAT64)


def test_k2_is_biased_which_is_why_it_is_not_the_default() -> None:
    z, z_ref = oracles.normal(1, 6), oracles.normal(2, 6)
    p, q = oracles.probabilities(z, 1.0), oracles.probabilities(z_ref, 1.0)
    true = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    k2 = kl.kl_estimate(torch.tensor(np.log(p)), torch.tensor(np.log(q)), "k2")
    assert abs(float((torch.tensor(p, dtype=torch.float64) * k2).sum()) - true) > 0.01


@given(st.floats(-19.0, 19.0))
def test_k2_and_k3_are_never_negative(d: float) -> None:
    logps = torch.tensor([[d]], dtype=torch.float64)
    for estimator in ("k2", "k3"):
        assert kl.kl_estimate(logps, torch.zeros_like(logps), estimator).item() >= 0.0


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_equal_policies_have_kl_exactly_0(estimator: kl.Estimator) -> None:
    logps = torch.tensor(oracles.normal(3, 2, 4)).float()
    assert_close(kl.kl_estimate(logps, logps.clone(), estimator), torch.zeros(2, 4), EXACT)


def test_k3_of_a_far_token_is_cut_at_10_and_stays_finite() -> None:
    logps = torch.tensor([[-500.0, 500.0, -2.0]])
    actual = kl.kl_estimate(logps, torch.zeros(1, 3), "k3")
    assert_close(actual, [[10.0, 10.0, math.exp(2.0) - 3.0]], FLOAT32)


def test_unknown_estimator_is_refused() -> None:
    with pytest.raises(AssertionError):
        kl.kl_estimate(torch.zeros(1), torch.zeros(1), "k4")  # type: ignore[arg-type]


def test_beta_follows_openai_in_numbers_worked_out_by_hand() -> None:
    controller = kl.AdaptiveKL(coef=0.1, target=6.0, horizon=10_000)
    # KL 6.6: error 0.1; 64 answers: β·(1 + 0.1·64/10000)
    assert_close(controller.updated(6.6, 64).coef, 0.1 * 1.00064, FLOAT64)
    # KL 60 and 0: the error is cut at 0.2 on both sides
    assert_close(controller.updated(60.0, 64).coef, 0.1 * 1.00128, FLOAT64)
    assert_close(controller.updated(0.0, 64).coef, 0.1 * 0.99872, FLOAT64)
    assert controller.updated(6.0, 64) == controller


def test_beta_brings_a_kl_that_answers_it_to_the_target() -> None:
    """A policy whose KL is 1/β settles where β = 1/target."""
    controller = kl.AdaptiveKL(coef=0.5, target=6.0, horizon=1000)
    for _ in range(500):
        controller = controller.updated(1.0 / controller.coef, 100)
    assert abs(1.0 / controller.coef - 6.0) < 0.01
    assert (controller.target, controller.horizon) == (6.0, 1000)
