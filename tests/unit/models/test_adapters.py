"""Adapters on disk and in memory: what PEFT itself reads, where they sit, how they go on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from tests import tinymodels
from tests.close import EXACT, FORWARD, Level, assert_close
from workbench.config.lora import LoraSettings
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.heads import ScalarHead
from workbench.models.loading import LoadedModel

UPPER = LoraSettings(r=2, last_layers=1)


@pytest.fixture(params=["llama", "gpt2", "t5"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    return tinymodels.load(tinymodels.write(tmp_path_factory.mktemp("m") / "it", request.param))


def _add(model: LoadedModel, lora: LoraSettings, name: str = "policy") -> list[torch.nn.Parameter]:
    """An adapter that changes something: B is drawn too."""
    parameters = adapters.add(model, name, lora, seed=0)
    generator = torch.Generator().manual_seed(1)
    for parameter in parameters:
        parameter.data.normal_(0.0, 0.2, generator=generator)
    return parameters


def _logits(model: torch.nn.Module, is_encoder_decoder: bool) -> Tensor:
    ids = torch.tensor([[3, 4, 5, 6, 7]])
    decoder = {"decoder_input_ids": torch.tensor([[2, 9, 4]])} if is_encoder_decoder else {}
    with torch.no_grad():
        logits: Tensor = model(input_ids=ids, **decoder).logits
    return logits


def _plain(model: LoadedModel, folder: Path) -> torch.nn.Module:
    kind = AutoModelForSeq2SeqLM if model.is_encoder_decoder else AutoModelForCausalLM
    plain: torch.nn.Module = kind.from_pretrained(folder, dtype=torch.float32)
    return plain.eval()


@pytest.mark.parametrize("lora", [LoraSettings(r=2), UPPER])
def test_plain_peft_and_the_merged_model_have_the_adapters_logits(
    model: LoadedModel, lora: LoraSettings, tmp_path: Path
) -> None:
    _add(model, lora)
    adapters.save(model, "policy", lora, tmp_path / "adapter")
    with adapters.active(model, "policy"):
        ours = _logits(model.model, model.is_encoder_decoder)
    base = _logits(model.model, model.is_encoder_decoder)
    assert (ours - base).abs().max() > 1e-2

    plain = _plain(model, model.info.path)
    theirs = PeftModel.from_pretrained(plain, str(tmp_path / "adapter")).eval()
    assert_close(_logits(theirs, model.is_encoder_decoder), ours, FORWARD)

    adapters.merge(model, tmp_path / "adapter", tmp_path / "merged")
    merged = _plain(model, tmp_path / "merged")
    assert_close(_logits(merged, model.is_encoder_decoder), ours, Level(1e-4, 0.0))
    assert adapters.lora_settings(tmp_path / "adapter").last_layers == lora.last_layers
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    is_t5 = model.is_encoder_decoder
    assert config["task_type"] == ("SEQ_2_SEQ_LM" if is_t5 else "CAUSAL_LM")


def test_the_last_layers_are_those_of_the_decoder(model: LoadedModel) -> None:
    adapters.add(model, "policy", UPPER, seed=0)
    keys = adapters.state(model, "policy")
    place = "decoder.block.1." if model.is_encoder_decoder else f".{model.blocks_name}.1."
    assert len(keys) >= 2 * 4
    assert all(place in key for key in keys), list(keys)
    adapters.add(model, "policy", LoraSettings(r=2), seed=0)
    assert any("encoder." in key for key in adapters.state(model, "policy")) == (
        model.is_encoder_decoder
    )


@pytest.mark.parametrize("is_trainable", [False, True])
def test_an_adapter_comes_back_bit_equal(
    model: LoadedModel, is_trainable: bool, tmp_path: Path
) -> None:
    _add(model, UPPER)
    weights = adapters.state(model, "policy")
    adapters.save(model, "policy", UPPER, tmp_path)
    parameters = adapters.load(model, "again", tmp_path, trainable=is_trainable)
    again = adapters.state(model, "again")
    assert again.keys() == weights.keys()
    for key, weight in weights.items():
        assert_close(again[key], weight, EXACT)
    assert len(parameters) == len(weights)
    assert all(p.requires_grad == is_trainable for p in parameters)


def test_a_reward_adapter_comes_back_with_its_head(model: LoadedModel, tmp_path: Path) -> None:
    _add(model, UPPER, "reward")
    head = ScalarHead(model.hidden_size, bias=False)
    head.init_normal_(torch.Generator().manual_seed(2))
    adapters.save(model, "reward", UPPER, tmp_path, score_head=head)
    again = adapters.load_scorer(model, "other", tmp_path)
    assert_close(again.linear.weight, head.linear.weight, EXACT)
    assert not again.linear.weight.requires_grad
    # A policy may start from a reward model's adapter; the head is passed over.
    assert adapters.load(model, "policy", tmp_path)


def test_folders_that_are_no_adapter_of_this_model_are_told(
    model: LoadedModel, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="holds no LoRA adapter"):
        adapters.load(model, "policy", tmp_path)
    _add(model, UPPER)
    adapters.save(model, "policy", UPPER, tmp_path)
    with pytest.raises(UserError, match="no reward head"):
        adapters.load_scorer(model, "reward", tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    save_file({"base_model.model.other": torch.zeros(1)}, str(weights))
    with pytest.raises(UserError, match="not made for"):
        adapters.load(model, "policy", tmp_path)
    weights.write_bytes(b"cut")
    with pytest.raises(UserError, match="cannot be read"):
        adapters.load(model, "policy", tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match="cannot be read"):
        adapters.load(model, "policy", tmp_path)
