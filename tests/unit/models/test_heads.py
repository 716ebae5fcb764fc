"""Q heads: their maths against the plain formula, their gradients, what is shared and what not."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.close import EXACT, FLOAT32, FLOAT64, assert_close
from workbench.models.heads import QHead
from workbench.objectives import logprobs

H, V, N, RANK = 6, 11, 5, 2


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def output_head() -> nn.Linear:
    head = nn.Linear(H, V, bias=False)
    head.weight.data.normal_(generator=_generator(1))
    return head


@pytest.fixture
def states() -> Tensor:
    return torch.randn(N, H, generator=_generator(2))


def _learned(output_head: nn.Module, dtype: torch.dtype = torch.float32) -> QHead:
    """A head whose every weight is drawn."""
    q = QHead(output_head, RANK, _generator(3))
    for parameter in q.parameters():
        parameter.data.normal_(generator=_generator(4))
    return q.to(dtype)


def _loop(q: QHead, weight: Tensor, states: Tensor) -> Tensor:
    """The definition, number by number in float64."""
    down, up = q.down.weight.double(), q.up.weight.double()
    v, c = q.state_value.weight.double()[0], q.state_value.bias.double()[0]
    table = torch.zeros(len(states), len(weight), dtype=torch.float64)
    for n, h in enumerate(states.double()):
        for a, w in enumerate(weight.double()):
            table[n, a] = v @ h + c + w @ (up @ (down @ h))
    return table


IDS = torch.tensor([0, 10, 3, 3, 7])


@torch.no_grad()
def test_q_is_the_formula(output_head: nn.Linear, states: Tensor) -> None:
    q = _learned(output_head)
    table = _loop(q, output_head.weight, states)
    assert_close(q.values_all(states), table, FLOAT32)
    assert_close(q.forward_taken(states, IDS), table[torch.arange(N), IDS], FLOAT32)
    for temperature in (0.3, 1.0, 5.0):
        wanted = (table / temperature).exp().sum(-1).log()
        assert_close(q.log_sum_exp(states, temperature), wanted, FLOAT32)


def test_q_is_0_before_learning_and_can_learn(output_head: nn.Linear, states: Tensor) -> None:
    q = QHead(output_head, RANK, _generator(3))
    assert not q.values_all(states).any()
    q.forward_taken(states, IDS).sum().backward()  # type: ignore[no-untyped-call]
    assert q.up.weight.grad is not None
    assert q.up.weight.grad.any()
    assert q.state_value.weight.grad is not None
    assert q.state_value.weight.grad.any()
    assert output_head.weight.grad is None


@pytest.mark.parametrize("chunk_entries", [1, 3 * V, 2**23])
def test_log_sum_exp_does_not_depend_on_its_chunks(
    chunk_entries: int, output_head: nn.Linear, states: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values and gradients, against torch's own over the whole table."""
    q = _learned(output_head.double(), torch.float64)
    states = states.double().requires_grad_()
    inputs = [states, *q.parameters()]
    plain = (q.values_all(states) / 0.7).logsumexp(-1)
    wanted = torch.autograd.grad(plain.sum(), inputs)
    monkeypatch.setattr(logprobs, "_CHUNK_ENTRIES", chunk_entries)
    chunked = q.log_sum_exp(states, 0.7)
    assert_close(chunked, plain, FLOAT64)
    for actual, expected in zip(torch.autograd.grad(chunked.sum(), inputs), wanted, strict=True):
        assert_close(actual, expected, FLOAT64)


def test_gradients_are_finite_differences(output_head: nn.Linear, states: Tensor) -> None:
    q = _learned(output_head.double(), torch.float64)
    states = states.double().requires_grad_()
    names = [name for name, _ in q.named_parameters()]
    inputs = (states, *q.parameters())

    def of(what: str) -> None:
        def f(states: Tensor, *weights: Tensor) -> Tensor:
            call = dict(zip(names, weights, strict=True))
            args = (states, IDS) if what == "forward_taken" else (states, 0.7)
            return torch.func.functional_call(_Calling(q, what), _under("q", call), args)

        assert torch.autograd.gradcheck(f, inputs)

    of("forward_taken")
    of("log_sum_exp")


class _Calling(nn.Module):
    """A module whose forward is one of the head's methods: `functional_call` knows no other."""

    def __init__(self, q: QHead, method: str) -> None:
        super().__init__()
        self.q = q
        self.method = method

    def forward(self, *args: object) -> Tensor:
        result: Tensor = getattr(self.q, self.method)(*args)
        return result


def _under(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}


@torch.no_grad()
def test_a_target_copy_shares_the_embedding_and_nothing_else(
    output_head: nn.Linear, states: Tensor
) -> None:
    q = _learned(output_head)
    target = copy.deepcopy(q)
    before = target.values_all(states)
    q.up.weight += 1.0
    assert_close(target.values_all(states), before, EXACT)
    assert (q.values_all(states) - before).abs().max() > 0.1
    output_head.weight *= 2.0
    assert (target.values_all(states) - before).abs().max() > 0.1
    # No vocabulary in what is trained and saved.
    assert all(V not in p.shape for p in q.state_dict().values())


@torch.no_grad()
def test_a_bf16_model_has_fp32_values(output_head: nn.Linear, states: Tensor) -> None:
    q = _learned(output_head.bfloat16())
    low = states.bfloat16()
    table = _loop(q, output_head.weight, low)
    for values in (q.values_all(low), q.forward_taken(low, IDS), q.log_sum_exp(low)):
        assert values.dtype == torch.float32
    assert_close(q.values_all(low), table, FLOAT32)
    assert_close(q.log_sum_exp(low), table.exp().sum(-1).log(), FLOAT32)
