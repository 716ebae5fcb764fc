"""What TRL 1.16's own code says to the same tensors: tests/golden/make_trl.py made the numbers.

DPO, KTO, RLOO, GRPO, Dr. GRPO, DAPO and the reward model's loss, with the gradients that reach
each token. numerics.md items 18, 26, 33, 39 and section 2.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from workbench.objectives import advantages, policy_gradient, preference

GOLDEN = json.loads(
    (Path(__file__).parents[1] / "golden" / "trl-1.16.0.json").read_text(encoding="utf-8")
)
AGGREGATION: dict[str, policy_gradient.Aggregation] = {
    "grpo": "answer",
    "bnpo": "token",
    "dapo": "token",
    "dr_grpo": "fixed_length",
}


def _wide(x: Any) -> Tensor:
    return torch.tensor(x, dtype=torch.float64)


def _assert_same(loss: Tensor, x: Tensor, expected: float, gradient: Any) -> None:
    assert_close(loss, expected, FLOAT64)
    (grad,) = torch.autograd.grad(loss, x)
    assert_close(grad, gradient, FLOAT64)


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge"])
def test_dpo(kind: preference.DPOKind) -> None:
    """TRL's IPO takes means per token; the other two, sums."""
    given = GOLDEN["dpo"]
    is_response, logps = torch.tensor(given["is_response"]), _wide(given["logps"]).requires_grad_()
    policy, ref = (
        preference.sequence_logps(x, is_response, average=kind == "ipo").chunk(2)
        for x in (logps, _wide(given["ref_logps"]))
    )
    loss = preference.dpo_loss(*policy, *ref, given["beta"], kind).mean()
    _assert_same(loss, logps, given[kind]["mean_loss"], given[kind]["grad"])


def test_implicit_rewards() -> None:
    given = GOLDEN["dpo"]
    is_response = torch.tensor(given["is_response"])
    policy, ref = (
        preference.sequence_logps(_wide(given[name]), is_response)
        for name in ("logps", "ref_logps")
    )
    rewards = preference.implicit_rewards(policy, ref, given["beta"])
    means = torch.stack([half.mean() for half in rewards.chunk(2)])
    assert_close(means, given["sigmoid"]["mean_rewards"], FLOAT64)


@pytest.mark.parametrize("case", ["above", "clamped"])
def test_kto(case: str) -> None:
    given, expected = GOLDEN["kto"], GOLDEN["kto"][case]
    is_response = torch.tensor(given["is_response"])
    is_mismatched = torch.tensor(given["is_mismatched_response"])
    reference_point = preference.kto_reference_point(
        preference.sequence_logps(
            _wide(given["mismatched_logps"]) + expected["mismatched_shift"], is_mismatched
        ),
        preference.sequence_logps(_wide(given["mismatched_ref_logps"]), is_mismatched),
    )
    assert_close(reference_point, expected["reference_point"], FLOAT64)
    logps = _wide(given["logps"]).requires_grad_()
    loss = preference.kto_loss(
        preference.sequence_logps(logps, is_response),
        preference.sequence_logps(_wide(given["ref_logps"]), is_response),
        reference_point,
        torch.tensor(given["is_desirable"]),
        given["beta"],
        given["desirable_weight"],
        given["undesirable_weight"],
    ).mean()
    _assert_same(loss, logps, expected["mean_loss"], expected["grad"])


def test_advantages_of_groups() -> None:
    given = GOLDEN["advantages"]
    scores, size = _wide(given["scores"]), given["group_size"]
    rloo = advantages.group_baseline_rloo(scores, size)
    grpo = advantages.group_advantages_grpo(scores, size, scale_by_std=True)
    dr_grpo = advantages.group_advantages_grpo(scores, size, scale_by_std=False)
    for actual, name in ((rloo, "rloo"), (grpo, "grpo"), (dr_grpo, "dr_grpo")):
        assert_close(actual, given[name], FLOAT64)
        assert_close(actual[-size:], torch.zeros(size), EXACT)  # a group of equal scores


@pytest.mark.parametrize("case", GOLDEN["grpo"]["cases"], ids=lambda c: c["loss_type"])
def test_grpo(case: dict[str, Any]) -> None:
    """Clipped, dual-clipped, and with KL in the loss; TRL counts no token that dual clip stops."""
    given = GOLDEN["grpo"]
    is_response, logps = torch.tensor(given["is_response"]), _wide(given["logps"]).requires_grad_()
    old_logps, ref_logps = _wide(given["old_logps"]), _wide(given["ref_logps"])
    losses, stats = policy_gradient.clipped_policy_loss(
        logps,
        old_logps,
        _wide(given["advantages"]).unsqueeze(1).expand_as(logps),
        is_response,
        given["clip_low"],
        given["clip_high"],
        case["dual_clip"],
    )
    kl = policy_gradient.kl_loss(logps, old_logps, ref_logps, is_response, "k3")
    n_tokens = int(is_response.sum())
    loss = policy_gradient.aggregate(
        losses + case["kl_coef"] * kl,
        is_response,
        AGGREGATION[case["loss_type"]],
        n_tokens=n_tokens,
        n_answers=len(logps),
        max_tokens=given["max_tokens"],
    )
    _assert_same(loss, logps, case["loss"], case["grad"])
    if not case["dual_clip"]:
        assert_close(stats.clipped_sum / n_tokens, case["clip_share"], FLOAT32)


def test_rloo() -> None:
    given = GOLDEN["rloo"]
    logps = _wide(given["logps"]).requires_grad_()
    losses, stats = policy_gradient.sequence_policy_loss(
        logps,
        _wide(given["old_logps"]),
        _wide(given["advantages"]),
        torch.tensor(given["is_response"]),
        given["clip_low"],
        given["clip_high"],
    )
    _assert_same(losses.mean(), logps, given["mean_loss"], given["grad"])
    assert_close(stats.clipped_sum / len(logps), given["clip_share"], FLOAT32)


def test_reward_model() -> None:
    given = GOLDEN["reward_model"]
    scores = _wide(given["scores"]).requires_grad_()
    chosen, rejected = scores.chunk(2)
    loss = preference.bradley_terry_loss(
        chosen, rejected, given["centering"], _wide(given["margin"])
    ).mean()
    _assert_same(loss, scores, given["mean_loss"], given["grad"])


def test_the_numbers_are_of_the_release_that_they_name() -> None:
    assert GOLDEN["made_with"]["trl"] == "1.16.0"
    assert any(case["clip_share"] > 0 for case in GOLDEN["grpo"]["cases"])
    assert (
        GOLDEN["kto"]["above"]["reference_point"] > 0 == GOLDEN["kto"]["clamped"]["reference_point"]
    )
