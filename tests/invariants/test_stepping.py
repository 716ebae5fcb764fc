"""Reading token by token equals one plain forward of everything: numerics.md items 2, 3, 4, 19."""

from __future__ import annotations

import pytest
import torch

from tests.close import FORWARD, assert_close
from tests.tinymodels import EOS
from workbench.config.lora import LoraSettings
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.models.stepping import Stepper

IDS = [5, 9, EOS, 4, 19, 7, 3]
PROMPT = 4


def _adapter(model: LoadedModel, name: str) -> None:
    """An adapter that changes something: B is drawn, not 0."""
    with torch.no_grad():
        for parameter in adapters.add(model, name, LoraSettings(r=4, alpha=8), seed=0):
            parameter.normal_(0.0, 0.3, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def _plain(model: LoadedModel, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits after the first `n` tokens and all states of one forward over them."""
    ids = torch.tensor([IDS[:n]])
    output = model.model(input_ids=ids)
    return output.logits[0, -1], model.states(ids, torch.ones_like(ids, dtype=torch.bool))[0]


@pytest.mark.parametrize("adapter", ["policy", None])
def test_each_step_equals_a_plain_forward(model: LoadedModel, adapter: str | None) -> None:
    _adapter(model, "policy")
    stepper = Stepper(model, adapter)
    for n in range(PROMPT, len(IDS) + 1):
        logits, states = stepper.read(IDS[:n] if n == PROMPT else [IDS[n - 1]])
        with adapters.active(model, adapter):
            wanted_logits, wanted_states = _plain(model, n)
        assert_close(logits, wanted_logits, FORWARD)
        assert_close(states, wanted_states[-1:], FORWARD)


def test_the_adapter_makes_a_difference(llama: LoadedModel) -> None:
    """The control of the test above."""
    _adapter(llama, "policy")
    with_it, without = (Stepper(llama, name).read(IDS).logits for name in ("policy", None))
    assert (with_it - without).abs().max() > 0.1


def test_several_states_come_newest_last(llama: LoadedModel) -> None:
    wanted = _plain(llama, PROMPT)[1]
    assert_close(Stepper(llama, None).read(IDS[:PROMPT], n_states=3).states, wanted[-3:], FORWARD)
    assert_close(Stepper(llama, None).read(IDS[:PROMPT], n_states=9).states, wanted, FORWARD)


def test_two_readers_do_not_disturb_each_other(llama: LoadedModel) -> None:
    _adapter(llama, "policy")
    alone = Stepper(llama, "policy")
    alone.read(IDS[:PROMPT])
    wanted = alone.read([IDS[PROMPT]])
    policy, reference = Stepper(llama, "policy"), Stepper(llama, None)
    policy.read(IDS[:PROMPT])
    reference.read(IDS[:2])
    assert torch.equal(policy.read([IDS[PROMPT]]).logits, wanted.logits)
