"""Layers below the first adapted one are computed once, with exactly the same result."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests import tinymodels
from tests.close import EXACT, FORWARD, assert_close
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.errors import Cancelled
from workbench.models import adapters
from workbench.models.loading import LoadedModel, Trunk

KINDS: tuple[tinymodels.Kind, ...] = ("llama", "gpt2", "pad_is_eos", "gemma2")
PROMPT_IDS = torch.tensor([[2, 2, 5, 9, 1], [7, 4, 19, 3, 8]])
PROMPT_MASK = torch.tensor([[False, False, True, True, True], [True] * 5])
RESPONSE_IDS = torch.tensor([[6, 4, 1, 7, 7, 7], [9, 2, 13, 14, 5, 1]])
IS_RESPONSE = torch.tensor([[True] * 3 + [False] * 3, [True] * 6])
BATCH = (PROMPT_IDS, PROMPT_MASK, RESPONSE_IDS, IS_RESPONSE)
IDS = torch.cat([PROMPT_IDS, RESPONSE_IDS], 1)
MASK = torch.cat([PROMPT_MASK, IS_RESPONSE], 1)


@pytest.fixture(scope="module")
def trunk_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("trunk")
    return {kind: tinymodels.write(root / kind, kind) for kind in KINDS}


@pytest.fixture(params=KINDS)
def model(request: pytest.FixtureRequest, trunk_folders: dict[str, Path]) -> LoadedModel:
    return tinymodels.load(trunk_folders[request.param])


def _adapter(model: LoadedModel, name: str = "policy", last_layers: int = 1) -> list[nn.Parameter]:
    """LoRA that changes something: B is drawn too."""
    lora = LoraSettings(r=2, last_layers=last_layers)
    parameters = adapters.add(model, name, lora, seed=3)
    generator = torch.Generator().manual_seed(5)
    for parameter in parameters:
        parameter.data.normal_(0.0, 0.3, generator=generator)
    return parameters


def _n_lower(model: LoadedModel) -> int:
    return adapters.first_layer(model, LoraSettings(r=2, last_layers=1))


def test_what_can_be_shared(model: LoadedModel) -> None:
    n_layers = model.model.config.num_hidden_layers
    assert _n_lower(model) == n_layers - 1 > 0
    assert adapters.first_layer(model, LoraSettings()) == 0
    assert adapters.first_layer(model, LoraSettings(last_layers=n_layers)) == 0


@torch.no_grad()
def test_states_on_a_trunk_are_bit_equal(model: LoadedModel) -> None:
    _adapter(model)
    trunk = model.trunk(IDS, MASK, _n_lower(model))
    base = model.response_states(*BATCH)
    assert_close(model.response_states(*BATCH, trunk=trunk), base, EXACT)
    with adapters.active(model, "policy"):
        plain = model.response_states(*BATCH)
        assert_close(model.response_states(*BATCH, trunk=trunk), plain, EXACT)
        last = model.answer_states(*BATCH)
        assert_close(model.answer_states(*BATCH, trunk=trunk), last, EXACT)
    assert not torch.equal(plain, base)
    # Nothing is left behind: the next plain forward computes all layers again.
    assert_close(model.response_states(*BATCH), base, EXACT)


def test_gradients_on_a_trunk_are_bit_equal(model: LoadedModel) -> None:
    parameters = _adapter(model)

    def gradients(trunk: Trunk | None) -> list[Tensor]:
        with adapters.active(model, "policy"):
            states = model.response_states(*BATCH, trunk=trunk)
        logps, _ = model.logps(states, RESPONSE_IDS, IS_RESPONSE, 1.0)
        return list(torch.autograd.grad(logps.sum(), parameters))

    plain = gradients(None)
    shared = gradients(model.trunk(IDS, MASK, _n_lower(model)))
    assert sum(float(g.abs().sum()) for g in plain) > 0
    for a, b in zip(shared, plain, strict=True):
        assert_close(a, b, EXACT)


@torch.no_grad()
def test_the_trunk_is_the_plain_base_whatever_is_active(model: LoadedModel) -> None:
    before = model.trunk(IDS, MASK, _n_lower(model))
    _adapter(model, "reward", last_layers=0)
    with adapters.active(model, "reward"):
        during = model.trunk(IDS, MASK, _n_lower(model))
    assert_close(during.states, before.states, EXACT)


@torch.no_grad()
def test_a_trunk_is_cut_to_rows_and_columns(model: LoadedModel) -> None:
    """Wider at the right, as for closed answers; narrower where every row of a part is padding."""
    _adapter(model)
    wide = torch.nn.functional.pad(IDS, (0, 2), value=7)
    wide_mask = torch.nn.functional.pad(MASK, (0, 2), value=False)
    trunk = model.trunk(wide, wide_mask, _n_lower(model))
    with adapters.active(model, "policy"):
        plain = model.response_states(*BATCH)
        assert_close(model.response_states(*BATCH, trunk=trunk), plain, FORWARD)
        row = trunk.select(torch.tensor([0])).narrow(2, 5)
        part = (PROMPT_IDS[:1, 2:], PROMPT_MASK[:1, 2:], RESPONSE_IDS[:1, :3], IS_RESPONSE[:1, :3])
        assert_close(model.response_states(*part, trunk=row), plain[:1, :3], FORWARD)


@torch.no_grad()
def test_a_wrong_trunk_would_be_noticed(model: LoadedModel) -> None:
    """The control: states of other texts give other states."""
    trunk = model.trunk(IDS.flip(0), MASK.flip(0), _n_lower(model))
    shared, plain = model.response_states(*BATCH, trunk=trunk), model.response_states(*BATCH)
    assert (shared - plain)[IS_RESPONSE].abs().max() > 0.01


def test_skipped_layers_are_not_computed_but_can_be_cancelled(model: LoadedModel) -> None:
    trunk = model.trunk(IDS, MASK, _n_lower(model))
    computed: list[int] = []
    for number, layer in enumerate(model._blocks.modules):
        child = next(layer.children())
        child.register_forward_hook(lambda *_, number=number: computed.append(number))
    model.states(IDS, MASK, trunk)
    assert set(computed) == {trunk.n_layers}
    computed.clear()
    model.trunk(IDS, MASK, 1)
    assert set(computed) == {0}

    token = CancelToken()
    token.cancel()
    with model.checking(token.raise_if_cancelled), pytest.raises(Cancelled):
        model.states(IDS, MASK, trunk)
    assert not any("forward" in vars(layer) for layer in model._blocks.modules)


@pytest.mark.parametrize("missing", [0.0, None])
def test_layers_that_hand_on_more_are_not_split(
    trunk_folders: dict[str, Path], missing: float | None
) -> None:
    """A layer that also reads the embeddings: without them it is wrong, or fails."""
    model = tinymodels.load(trunk_folders["llama"])
    assert model.can_split(1)
    handed_on: list[Any] = []
    first, last = model._blocks.modules[0].forward, model._blocks.modules[1].forward

    def keep(states: Tensor, **more: object) -> object:
        handed_on.append(states)
        return first(states, **more)

    def read(states: Tensor, **more: object) -> object:
        return last(states + (handed_on.pop() if handed_on else missing), **more)

    model.model.base_model.register_forward_pre_hook(lambda *_: handed_on.clear())
    model._blocks.modules[0].forward = keep  # type: ignore[method-assign]
    model._blocks.modules[1].forward = read  # type: ignore[method-assign]
    assert not model.can_split(1)
    assert adapters.first_layer(model, LoraSettings(last_layers=1)) == 0
