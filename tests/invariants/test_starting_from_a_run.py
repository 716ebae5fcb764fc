"""A policy run that starts from another: RL and preference learning after fine-tuning.

The policy begins as a copy of that run's adapter, which stays as the reference: numerics.md item
19 with another reference than the base.
"""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests import tinymodels
from tests.close import EXACT, FORWARD, Level, assert_close
from tests.offline_runs import Run, checkpoints, settings
from workbench.cancel import CancelToken
from workbench.config.ppo import PPOSettings
from workbench.events import Step
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.training import ppo
from workbench.training.inputs import Inputs

LOSS_AT_START = {"dpo": math.log(2), "kto": 0.5}
IDS = torch.tensor([[3, 4, 5, 6, 7]])


@pytest.fixture(params=("sft", "dpo", "kto"))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@torch.no_grad()
def test_a_run_that_starts_from_another_is_held_near_to_it(
    name: str, causal_model: LoadedModel, tmp_path: Path
) -> None:
    """The policy begins as a copy, the reference is that adapter and keeps every bit of it."""
    model = causal_model
    with torch.enable_grad():
        first = Run("sft", model, settings("sft", epochs=2), tmp_path / "sft")
    start = adapters.state(model, "policy")
    assert any(v.any() for k, v in start.items() if "lora_B" in k)
    with adapters.active(model, "policy"):
        wanted = model.model(input_ids=IDS).logits
    adapters.remove_all(model)

    # The adapter's own shape counts, not the settings' of the new run.
    changed = settings(name, lora={"r": 7})
    with torch.enable_grad():
        run = Run(name, model, changed, tmp_path / "second", start=first.folder)
    if name in LOSS_AT_START:
        assert run.heldout[0]["heldout/margins"] == 0.0
        assert_close(run.heldout[0]["heldout/loss"], LOSS_AT_START[name], Level(1e-7, 0.0))
    kept = adapters.state(model, "reference")
    assert kept.keys() == start.keys()
    assert all(torch.equal(kept[k], v) for k, v in start.items())
    with adapters.active(model, "reference"):
        assert_close(model.model(input_ids=IDS).logits, wanted, EXACT)

    with adapters.active(model, "policy"):
        ours = model.model(input_ids=IDS).logits
    assert float((ours - wanted).abs().max()) > 1e-3
    base = AutoModelForCausalLM.from_pretrained(model.info.path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(run.folder))
    assert_close(theirs(input_ids=IDS).logits, ours, FORWARD)


def test_a_start_that_does_not_move_stays_that_start(
    name: str, llama: LoadedModel, tmp_path: Path
) -> None:
    first = Run("sft", llama, settings("sft"), tmp_path / "sft")
    start = first.adapter()
    adapters.remove_all(llama)
    still = settings(name, learning_rate=0.0)
    run = Run(name, llama, still, tmp_path / "second", start=first.folder)
    assert run.adapter().keys() == start.keys()
    assert all(torch.equal(run.adapter()[k], v) for k, v in start.items())


def test_a_resumed_run_keeps_its_start_as_its_reference(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = tinymodels.load(folders["llama"])
    start = Run("sft", model, settings("sft"), tmp_path / "sft").folder
    adapters.remove_all(model)
    how = settings(name, epochs=2, checkpoint_every=1)
    whole = Run(name, model, how, tmp_path / "whole", start=start)
    first = checkpoints(whole.events)[0]
    adapters.remove_all(model)
    again = Run(name, model, how, tmp_path / "again", start=start, resume_from=first)
    assert again.everything() == whole.everything()
    assert again.metrics == whole.metrics[1:]


@torch.no_grad()
def test_ppo_starts_from_a_fine_tuned_policy_at_kl_0(
    causal_model: LoadedModel, tmp_path: Path
) -> None:
    model = causal_model
    with torch.enable_grad():
        first = Run("sft", model, settings("sft", epochs=2), tmp_path / "sft")
    start = adapters.state(model, "policy")
    adapters.remove_all(model)
    how = PPOSettings.model_validate(
        {"updates": 3, "batch_size": 8, "max_new_tokens": 6, "learning_rate": 1e-2}
    )
    inputs = Inputs(
        model,
        tmp_path / "ppo",
        prompts=tinymodels.prompts(),
        reward=tinymodels.TokenShare(7),
        start=first.folder,
    )
    with torch.enable_grad():
        events = list(ppo.train(how, inputs, CancelToken()))
    kl = [e.metrics["objective/kl"] for e in events if isinstance(e, Step)]
    assert kl[0] == 0.0
    assert kl[2] > 1e-4
    assert all(torch.equal(adapters.state(model, "reference")[k], v) for k, v in start.items())
    with adapters.active(model, "policy"):
        ours = model.model(input_ids=IDS).logits
    base = AutoModelForCausalLM.from_pretrained(model.info.path, dtype=torch.float32)
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "ppo" / "adapter"))
    assert_close(theirs(input_ids=IDS).logits, ours, FORWARD)
