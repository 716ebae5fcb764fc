"""Base and adapter in one step: PEFT's outputs, PEFT's gradients, and less kept for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import Linear
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tests import tinymodels
from tests.close import BFLOAT16, EXACT, FLOAT32, FLOAT64, FORWARD, assert_close
from workbench.config.lora import LoraSettings
from workbench.models import adapters, lora_layers
from workbench.models.loading import LoadedModel
from workbench.models.lora_layers import FusedLinear

PROMPT_IDS = torch.tensor([[2, 2, 5, 9, 1], [7, 4, 19, 3, 8]])
PROMPT_MASK = torch.tensor([[False, False, True, True, True], [True] * 5])
RESPONSE_IDS = torch.tensor([[6, 4, 1, 7, 7, 7], [9, 2, 13, 14, 5, 1]])
IS_RESPONSE = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
BATCH = (PROMPT_IDS, PROMPT_MASK, RESPONSE_IDS, IS_RESPONSE)


@pytest.fixture(params=["llama", "gpt2", "t5"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tinymodels.write(tmp_path / "it", request.param)


def _add(model: LoadedModel, name: str = "policy") -> list[nn.Parameter]:
    parameters = adapters.add(model, name, LoraSettings(r=2), seed=0)
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    for parameter in parameters:
        parameter.data.normal_(0.0, 0.2, generator=generator)
    return parameters


def _logps(model: LoadedModel, name: str | None = "policy") -> Tensor:
    with adapters.active(model, name):
        states = model.response_states(*BATCH)
    return model.logps(states, RESPONSE_IDS, IS_RESPONSE, 1.0)[0]


def _as_peft_has_it(model: LoadedModel) -> None:
    for layer in lora_layers.lora_layers(model.model):
        assert type(layer) is FusedLinear
        layer.__class__ = Linear


def test_outputs_and_gradients_are_pefts(folder: Path) -> None:
    """In float64: T5's unscaled attention blows up the rounding of float32."""
    model = tinymodels.load(folder)
    parameters = _add(model)
    model.model.double()
    logps = _logps(model)
    grads = torch.autograd.grad(logps.sum(), parameters)
    _as_peft_has_it(model)
    expected = _logps(model)
    assert_close(logps, expected, FLOAT64)
    for grad, peft in zip(grads, torch.autograd.grad(expected.sum(), parameters), strict=True):
        assert_close(grad, peft, FLOAT64)


def test_a_base_in_bfloat16_is_near(folder: Path) -> None:
    """Rounding in between moves single entries of the gradient: only the whole is near."""
    model = tinymodels.load(folder, "bfloat16")
    parameters = _add(model)

    def computed() -> tuple[Tensor, Tensor]:
        logps = _logps(model)
        grads = torch.autograd.grad(logps.sum(), parameters)
        assert all(grad.dtype == torch.float32 for grad in grads)
        return logps, torch.cat([grad.flatten() for grad in grads])

    logps, flat = computed()
    _as_peft_has_it(model)
    peft_logps, peft_flat = computed()
    assert_close(logps, peft_logps, BFLOAT16)
    assert torch.cosine_similarity(flat, peft_flat, dim=0) > 0.999


def test_a_fresh_adapter_changes_no_bit(folder: Path) -> None:
    model = tinymodels.load(folder)
    adapters.add(model, "policy", LoraSettings(r=2), seed=0)
    assert_close(_logps(model), _logps(model, None), EXACT)


def test_each_adapter_computes_with_its_own_weights(folder: Path) -> None:
    model = tinymodels.load(folder)
    _add(model, "policy")
    _add(model, "reward")
    adapters.freeze(model, "reward")
    fused = [_logps(model, name).detach() for name in ("policy", "reward", None)]
    _as_peft_has_it(model)
    for ours, name in zip(fused, ("policy", "reward", None), strict=True):
        assert_close(ours, _logps(model, name), FORWARD)
    assert not torch.allclose(fused[0], fused[1])


def _layer(base: nn.Module, **settings: Any) -> Any:
    """One layer with one adapter that changes something."""
    model = nn.ModuleDict({"it": base}).requires_grad_(False)
    is_transposed = isinstance(base, Conv1D)
    config = LoraConfig(r=2, target_modules=["it"], fan_in_fan_out=is_transposed, **settings)
    inject_adapter_in_model(config, model)
    layer: Any = model["it"]
    torch.manual_seed(0)
    for parameter in layer.parameters():
        parameter.data.normal_()
    lora_layers.fuse([layer])
    return layer


@pytest.mark.parametrize("base", [nn.Linear(4, 3), nn.Linear(4, 3, bias=False), Conv1D(3, 4)])
def test_gradients_are_finite_differences(base: nn.Module) -> None:
    layer = _layer(base, use_rslora=True).double()
    x = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    weights = (layer.lora_A["default"].weight, layer.lora_B["default"].weight)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x), (x, *weights))


def test_what_needs_no_gradient_gets_none() -> None:
    layer = _layer(nn.Linear(4, 3))
    a, b = layer.lora_A["default"].weight, layer.lora_B["default"].weight
    layer(torch.randn(2, 4)).sum().backward()
    assert a.grad is not None
    assert b.grad is not None
    layer.zero_grad()
    a.requires_grad_(False)
    b.requires_grad_(False)
    x = torch.randn(2, 4, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad is not None
    assert a.grad is None
    assert b.grad is None


@pytest.mark.parametrize(
    "settings", [{"use_dora": True}, {"lora_dropout": 0.5}, {"lora_bias": True}]
)
def test_other_kinds_of_adapter_are_pefts(settings: dict[str, Any]) -> None:
    layer, x = _layer(nn.Linear(4, 3), **settings), torch.randn(5, 4)
    torch.manual_seed(1)
    ours = layer(x)
    layer.__class__ = Linear
    torch.manual_seed(1)
    assert_close(ours, layer(x), EXACT)


def test_a_base_that_learns_gets_its_gradient() -> None:
    layer = _layer(nn.Linear(4, 3))
    layer.base_layer.bias.requires_grad_(True)
    layer(torch.randn(2, 4)).sum().backward()
    assert_close(layer.base_layer.bias.grad, torch.full((3,), 2.0), FLOAT32)
