"""Activations that are computed again for the gradients change memory and nothing else."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import tinymodels
from tests.close import EXACT, assert_close
from tests.tinymodels import TokenShare
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.config.ppo import PPOSettings
from workbench.events import Step
from workbench.models import adapters, layers, lora_layers
from workbench.models.loading import LoadedModel
from workbench.training import ppo
from workbench.training.inputs import Inputs

KINDS: tuple[tinymodels.Kind, ...] = ("llama", "gpt2", "pad_is_eos", "gemma2", "t5")
PROMPT_IDS = torch.tensor([[2, 2, 5, 9, 1], [7, 4, 19, 3, 8]])
PROMPT_MASK = torch.tensor([[False, False, True, True, True], [True] * 5])
RESPONSE_IDS = torch.tensor([[6, 4, 1, 7, 7, 7], [9, 2, 13, 14, 5, 1]])
IS_RESPONSE = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
BATCH = (PROMPT_IDS, PROMPT_MASK, RESPONSE_IDS, IS_RESPONSE)


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    folder = tmp_path_factory.getbasetemp() / f"recomputed-{request.param}"
    if not folder.exists():
        tinymodels.write(folder, request.param)
    return tinymodels.load(folder)


def _adapter(model: LoadedModel, name: str, last_layers: int = 0) -> list[nn.Parameter]:
    parameters = adapters.add(model, name, LoraSettings(r=2, last_layers=last_layers), seed=3)
    generator = torch.Generator().manual_seed(sum(map(ord, name)))
    for parameter in parameters:
        parameter.data.normal_(0.0, 0.3, generator=generator)
    return parameters


def _layers(model: LoadedModel) -> list[Any]:
    return lora_layers.lora_layers(model.model)


def _gradients(
    model: LoadedModel, parameters: list[nn.Parameter], *, recomputes: bool, n_trunk: int = 0
) -> list[Tensor]:
    """Of all log-probabilities; during the backward pass no adapter is active."""
    model.recomputes_activations = recomputes
    trunk = None
    if n_trunk:
        ids, mask = torch.cat(BATCH[::2], 1), torch.cat(BATCH[1::2], 1)
        trunk = model.trunk(ids, mask, n_trunk)
    with adapters.active(model, "policy"):
        states = model.response_states(*BATCH, trunk=trunk)
    logps, _ = model.logps(states, RESPONSE_IDS, IS_RESPONSE, 1.0)
    return list(torch.autograd.grad(logps.sum(), parameters, allow_unused=True))


def _assert_equal(actual: list[Tensor], expected: list[Tensor]) -> None:
    assert sum(float(g.abs().sum()) for g in expected) > 0
    for a, b in zip(actual, expected, strict=True):
        assert_close(a, b, EXACT)


def test_gradients_are_bit_equal(model: LoadedModel) -> None:
    parameters = _adapter(model, "policy")
    plain = _gradients(model, parameters, recomputes=False)
    _assert_equal(_gradients(model, parameters, recomputes=True), plain)
    assert not any("forward" in vars(block) for block in model._blocks.modules)


def test_on_a_frozen_trunk_too(model: LoadedModel) -> None:
    parameters = _adapter(model, "policy", last_layers=1)
    n_trunk = adapters.first_layer(model, LoraSettings(last_layers=1))
    assert (n_trunk == 0) == model.is_encoder_decoder
    plain = _gradients(model, parameters, recomputes=False)
    _assert_equal(_gradients(model, parameters, recomputes=True, n_trunk=n_trunk), plain)


def test_the_adapter_of_the_forward_pass_is_computed_again(model: LoadedModel) -> None:
    """As with a critic of its own, whose states are made before the policy's backward pass."""
    parameters, other = _adapter(model, "policy"), _adapter(model, "value")
    plain = _gradients(model, parameters, recomputes=False)
    with adapters.active(model, "value"):
        _assert_equal(_gradients(model, parameters, recomputes=True), plain)
        assert all(names == ["value"] for names in lora_layers.chosen(_layers(model)))
    assert all(p.requires_grad for p in (*parameters, *other))


def test_without_that_gradients_would_be_wrong(
    model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: recomputation with whatever adapter is active by then."""
    parameters = _adapter(model, "policy")
    _adapter(model, "value")
    plain = _gradients(model, parameters, recomputes=False)
    forgetful = SimpleNamespace(**vars(lora_layers) | {"choosing": lambda *_: nullcontext()})
    monkeypatch.setattr(layers, "lora_layers", forgetful)
    with adapters.active(model, "policy"):
        model.recomputes_activations = True
        states = model.response_states(*BATCH)
    logps, _ = model.logps(states, RESPONSE_IDS, IS_RESPONSE, 1.0)
    with adapters.active(model, "value"):
        wrong = torch.autograd.grad(logps.sum(), parameters, allow_unused=True)
    assert any(w is None or not torch.equal(w, p) for w, p in zip(wrong, plain, strict=True))


def test_less_is_kept_for_the_gradients(model: LoadedModel) -> None:
    """Counted: bytes of the tensors that a forward pass saves."""
    _adapter(model, "policy")

    def saved(*, recomputes: bool) -> int:
        model.recomputes_activations = recomputes
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with (
            adapters.active(model, "policy"),
            torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        ):
            states = model.response_states(*BATCH)
        del states
        weights = {p.untyped_storage().data_ptr() for p in model.model.parameters()}
        return sum(n for pointer, n in kept.items() if pointer not in weights)

    assert saved(recomputes=True) < 0.5 * saved(recomputes=False)


def test_nothing_is_wrapped_without_gradients(model: LoadedModel) -> None:
    model.recomputes_activations = True
    seen: list[bool] = []
    block = model._blocks.modules[0]
    handle = block.register_forward_pre_hook(lambda m, _: seen.append("forward" in vars(m)))
    with torch.no_grad():
        model.response_states(*BATCH)
    model.response_states(*BATCH)
    handle.remove()
    assert seen == [False, True]


def test_a_run_is_the_same_with_and_without(tmp_path: Path, llama: LoadedModel) -> None:
    def run(name: str, *, recomputes: bool) -> list[dict[str, float]]:
        settings = PPOSettings.model_validate(
            {
                "updates": 2,
                "batch_size": 8,
                "learning_rate": 1e-2,
                "max_new_tokens": 6,
                "value_network": "own",
                "checkpoint_activations": recomputes,
                "lora": {"r": 4, "last_layers": 1},
            }
        )
        inputs = Inputs(llama, tmp_path / name, prompts=tinymodels.prompts(), reward=TokenShare(7))
        events = list(ppo.train(settings, inputs, CancelToken()))
        adapters.remove_all(llama)
        steps = [e.metrics for e in events if isinstance(e, Step)]
        return [{k: v for k, v in m.items() if not k.startswith("time/")} for m in steps]

    plain = run("plain", recomputes=False)
    assert run("recomputed", recomputes=True) == plain
    assert plain[0] != plain[1]
