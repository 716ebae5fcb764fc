"""Log-probabilities and entropies: numerics.md items 4 (which position), 10, 12, 29.

The fused head is compared with loops, with finite differences and with the plain path.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.close import BFLOAT16, EXACT, FLOAT32, FLOAT64, Level, assert_close
from tests.numerics import oracles
from workbench.objectives import logprobs

N, H, V = 6, 4, 9


class Head:
    """Random hidden states under a random frozen head, in float64."""

    def __init__(self, seed: int = 0, n: int = N) -> None:
        self.hidden = oracles.normal(seed, n, H)
        self.weight = oracles.normal(seed + 1, V, H)
        self.bias = oracles.normal(seed + 2, V)
        self.ids = np.random.default_rng(seed + 3).integers(0, V, n)

    def logits(self, hidden: oracles.F, *, has_bias: bool) -> oracles.F:
        rows = [[sum(h * w) for w in self.weight] for h in hidden]
        return np.array(rows) + (self.bias if has_bias else 0.0)

    def tensors(self, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        hidden, weight, bias = (
            torch.tensor(x, dtype=dtype) for x in (self.hidden, self.weight, self.bias)
        )
        return hidden, weight, bias, torch.tensor(self.ids)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_logps_equal_the_loop(temperature: float) -> None:
    logits = oracles.normal(1, 3, 5, V)
    ids = np.random.default_rng(2).integers(0, V, (3, 5))
    expected = np.zeros((3, 5))
    for i in np.ndindex(3, 5):
        expected[i] = oracles.logp(logits[i], int(ids[i]), temperature)
    actual = logprobs.token_logps(torch.tensor(logits), torch.tensor(ids), temperature)
    assert_close(actual, expected, FLOAT64)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_entropy_equals_the_loop(temperature: float) -> None:
    logits = oracles.normal(1, 4, V)
    expected = [oracles.entropy(row, temperature) for row in logits]
    assert_close(logprobs.entropy(torch.tensor(logits), temperature), expected, FLOAT64)


def test_uniform_logits_have_entropy_log_v() -> None:
    assert_close(logprobs.entropy(torch.zeros(2, V)), [math.log(V)] * 2, FLOAT32)


def test_peaked_logits_have_entropy_0_and_not_below() -> None:
    peaked = torch.zeros(1, V)
    peaked[0, 3] = 200.0
    assert_close(logprobs.entropy(peaked), [0.0], FLOAT32)


def test_log_softmax_of_bf16_logits_is_computed_in_fp32() -> None:
    logits = torch.tensor(oracles.normal(5, 200, V) * 4).bfloat16()
    ids = torch.zeros(200, dtype=torch.int64)
    actual = logprobs.token_logps(logits, ids)
    assert actual.dtype == torch.float32
    assert logprobs.entropy(logits).dtype == torch.float32
    exact = logits.double().log_softmax(-1)[:, 0]
    assert_close(actual, exact, FLOAT32)
    in_bf16 = logits.log_softmax(-1)[:, 0].double()
    assert (in_bf16 - exact).abs().max() > 1e-3, "the control must show the error it guards"


@given(st.integers(0, 1000), st.floats(-50.0, 50.0))
def test_logps_do_not_change_when_all_logits_shift(seed: int, shift: float) -> None:
    logits = torch.tensor(oracles.normal(seed, 3, V))
    ids = torch.tensor([0, 4, 8])
    assert_close(
        logprobs.token_logps(logits + shift, ids), logprobs.token_logps(logits, ids), FLOAT64
    )


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
def test_fused_head_equals_the_loop(temperature: float, has_bias: bool) -> None:
    head = Head()
    hidden, weight, bias, ids = head.tensors()
    logits = head.logits(head.hidden, has_bias=has_bias)
    logps, entropies = logprobs.linear_logps(
        hidden, weight, ids, temperature, bias if has_bias else None
    )
    assert_close(
        logps,
        [oracles.logp(z, int(y), temperature) for z, y in zip(logits, head.ids, strict=True)],
        FLOAT64,
    )
    assert_close(entropies, [oracles.entropy(z, temperature) for z in logits], FLOAT64)


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("with_entropy_grad", [True, False])
def test_fused_gradient_equals_finite_differences(with_entropy_grad: bool, has_bias: bool) -> None:
    head, temperature = Head(), 0.6
    hidden, weight, bias, ids = head.tensors()
    hidden.requires_grad_()
    a, b = oracles.normal(8, N), oracles.normal(9, N) * with_entropy_grad

    def weighted(h: oracles.F) -> float:
        logits = head.logits(h, has_bias=has_bias)
        return math.fsum(
            a[i] * oracles.logp(logits[i], int(head.ids[i]), temperature)
            + b[i] * oracles.entropy(logits[i], temperature)
            for i in range(N)
        )

    logps, entropies = logprobs.linear_logps(
        hidden,
        weight,
        ids,
        temperature,
        bias if has_bias else None,
        with_entropy_grad=with_entropy_grad,
    )
    loss = (torch.tensor(a) * logps).sum()
    if with_entropy_grad:
        loss = loss + (torch.tensor(b) * entropies).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert_close(hidden.grad, oracles.slope(weighted, head.hidden), Level(1e-7, 1e-6))


def test_fused_gradient_passes_gradcheck() -> None:
    hidden, weight, bias, ids = Head().tensors()
    hidden.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h: logprobs.linear_logps(h, weight, ids, 0.6, bias, with_entropy_grad=True),
        (hidden,),
    )
    assert torch.autograd.gradcheck(
        lambda h: logprobs.linear_logps(h, weight, ids, 1.3)[0], (hidden,)
    )


def test_fused_head_gives_the_same_in_chunks() -> None:
    hidden, weight, bias, ids = Head(n=11).tensors()

    def run() -> tuple[Tensor, Tensor, Tensor]:
        h = hidden.clone().requires_grad_()
        logps, entropies = logprobs.linear_logps(h, weight, ids, 0.8, bias, with_entropy_grad=True)
        (logps.sum() + entropies.sum()).backward()  # type: ignore[no-untyped-call]
        assert h.grad is not None
        return logps.detach(), entropies.detach(), h.grad

    whole = run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logprobs, "_CHUNK_ENTRIES", 3 * V)
        parts = run()
    for in_parts, at_once in zip(parts, whole, strict=True):
        assert_close(in_parts, at_once, FLOAT64)


def test_fused_head_never_holds_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logprobs, "_CHUNK_ENTRIES", 2 * V)
    hidden, weight, bias, ids = Head(n=10).tensors()
    saved: list[tuple[int, ...]] = []

    def note(x: Tensor) -> Tensor:
        saved.append(tuple(x.shape))
        return x

    with torch.autograd.graph.saved_tensors_hooks(note, lambda x: x):
        logprobs.linear_logps(hidden.requires_grad_(), weight, ids, 1.0, bias)
    assert saved == [(10, H)], "only ∂logp/∂h is kept"


def test_fused_head_keeps_nothing_without_a_gradient() -> None:
    hidden, weight, _, ids = Head().tensors()
    logps, _ = logprobs.linear_logps(hidden, weight, ids, 1.0)
    assert not logps.requires_grad
    with torch.no_grad():
        logps, _ = logprobs.linear_logps(hidden.requires_grad_(), weight, ids, 1.0)
    assert not logps.requires_grad


def test_entropy_of_the_fused_head_carries_a_gradient_only_when_asked() -> None:
    hidden, weight, _, ids = Head().tensors()
    hidden.requires_grad_()
    assert not logprobs.linear_logps(hidden, weight, ids)[1].requires_grad
    assert logprobs.linear_logps(hidden, weight, ids, with_entropy_grad=True)[1].requires_grad


def test_fused_head_in_bf16_is_near_float64_and_answers_in_fp32() -> None:
    hidden, weight, bias, ids = Head(n=40).tensors(torch.bfloat16)
    h16, h64 = hidden.clone().requires_grad_(), hidden.double().requires_grad_()
    logps, entropies = logprobs.linear_logps(h16, weight, ids, 1.0, bias)
    exact, exact_entropies = logprobs.linear_logps(h64, weight.double(), ids, 1.0, bias.double())
    logps.sum().backward()  # type: ignore[no-untyped-call]
    exact.sum().backward()  # type: ignore[no-untyped-call]
    assert logps.dtype == entropies.dtype == torch.float32
    assert h16.grad is not None
    assert h16.grad.dtype == torch.bfloat16
    assert_close(logps, exact, BFLOAT16)
    assert_close(entropies, exact_entropies, BFLOAT16)
    assert_close(h16.grad, h64.grad, BFLOAT16)


def test_fused_head_of_no_tokens_is_empty() -> None:
    _, weight, _, _ = Head().tensors()
    empty = torch.zeros(0, H, dtype=torch.float64, requires_grad=True)
    logps, entropies = logprobs.linear_logps(empty, weight, torch.zeros(0, dtype=torch.int64))
    logps.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(logps, [], EXACT)
    assert_close(entropies, [], EXACT)


def test_sure_token_has_logp_0_and_no_gradient() -> None:
    weight = torch.eye(4, dtype=torch.float64)
    hidden = torch.tensor([[80.0, 0.0, 0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    logps, _ = logprobs.linear_logps(hidden, weight, torch.tensor([0]))
    logps.sum().backward()  # type: ignore[no-untyped-call]
    assert_close(logps, [0.0], FLOAT64)
    assert_close(hidden.grad, torch.zeros(1, 4), FLOAT64)
