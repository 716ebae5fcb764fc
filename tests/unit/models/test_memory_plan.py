"""The memory plan: its parts against models in memory, and what moves it which way."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.training import TrainingSettings
from workbench.errors import UserError
from workbench.models import adapters, memory_plan
from workbench.models.memory_plan import MemoryPlan, ModelFacts

SMOLLM2 = ModelFacts(134_515_008, 576, 1536, 30, 576, 192, 49_152, 8192)
GIB = 1 << 30


def _settings(**changes: Any) -> PPOSettings:
    return PPOSettings.model_validate({"batch_size": 16, "max_new_tokens": 32, **changes})


def _plan(model: ModelFacts = SMOLLM2, dtype: str = "float32", **changes: Any) -> MemoryPlan:
    return memory_plan.plan(
        model, "ppo", _settings(**changes), device="cpu", dtype=dtype, longest_prompt=64
    )


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymodels.write(tmp_path_factory.mktemp("plan") / "llama", "llama")


def test_the_base_is_the_sum_of_its_tensors(llama: Path) -> None:
    model = tinymodels.load(llama)
    found = memory_plan.facts(llama)
    n_bytes = sum(p.numel() * p.element_size() for p in model.model.parameters())
    assert _plan(found).parts["base"] == n_bytes
    assert _plan(found, "bfloat16").parts["base"] == n_bytes // 2


@pytest.mark.parametrize("lora", [{"r": 4}, {"r": 3, "last_layers": 1, "target_modules": "q_proj"}])
def test_adapters_and_optimiser_are_counted_as_peft_makes_them(
    llama: Path, lora: dict[str, Any]
) -> None:
    settings = _settings(lora=lora)
    parameters = adapters.add(tinymodels.load(llama), "policy", settings.lora, seed=0)
    n = sum(p.numel() for p in parameters)
    assert memory_plan.lora_parameters(memory_plan.facts(llama), settings) == n
    parts = _plan(memory_plan.facts(llama), lora=lora).parts
    assert parts["adapters"] == 2 * 4 * n, "policy and reward model"
    assert parts["optimiser"] == 3 * 4 * n, "gradient and two moments"


def test_activations_are_what_autograd_saves(llama: Path) -> None:
    """Counted: bytes of the storages that the forward pass of an adapter keeps, per layer."""
    import torch

    model = tinymodels.load(llama)
    found, settings = memory_plan.facts(llama), _settings(lora={"r": 4})
    adapters.add(model, "policy", settings.lora, seed=0)
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.full((2, 12), 5)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with adapters.active(model, "policy"), hooks:
        states = model.states(ids, torch.ones_like(ids, dtype=torch.bool))
    assert states.requires_grad
    weights = {p.untyped_storage().data_ptr() for p in model.model.parameters()}
    saved = sum(t.untyped_storage().nbytes() for p, t in kept.items() if p not in weights)
    planned = memory_plan.activations(found, settings, "float32", ids.numel())
    assert planned == pytest.approx(saved, rel=0.06), "the last norm and the masks come on top"


def test_the_cache_is_keys_and_values_of_every_layer() -> None:
    layers, keys, answers, tokens = 30, 192, 16, 64 + 32
    one_layer_twice = 2 * keys * answers * tokens
    whole = 2 * layers * keys * answers * tokens + one_layer_twice
    assert memory_plan.kv_cache(SMOLLM2, answers, tokens) == whole
    assert _plan().parts["cache"] == 4 * whole


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"micro_batch_tokens": 256}, {"micro_batch_tokens": 1024}),
        ({"lora": {"last_layers": 10}}, {"lora": {"last_layers": 20}}),
        ({"lora": {"r": 8}}, {"lora": {"r": 64}}),
        ({"checkpoint_activations": True}, {"checkpoint_activations": False}),
        ({"value_network": "shared"}, {"value_network": "own"}),
        (
            {"batch_size": 16, "micro_batch_tokens": 256},
            {"batch_size": 256, "micro_batch_tokens": 256},
        ),
    ],
)
def test_what_takes_more_is_planned_with_more(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert _plan(**less).peak_bytes < _plan(**more).peak_bytes


def test_the_peak_is_the_largest_phase_and_not_the_sum() -> None:
    wanted = _plan()
    assert wanted.peak_bytes == max(wanted.phases.values())
    assert wanted.peak_bytes < sum(wanted.parts.values())
    assert set(wanted.phases) == {"loading", "answering", "scoring", "learning"}
    reward = memory_plan.plan(
        SMOLLM2, "reward", RewardModelSettings(), device="cpu", dtype="float32", longest_prompt=64
    )
    assert set(reward.phases) == {"loading", "learning"}
    assert reward.parts["cache"] == 0


def test_a_config_that_says_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="does not say"):
        memory_plan.facts(tmp_path)


def _fit(settings: TrainingSettings, free: int) -> memory_plan.Fitted:
    return memory_plan.auto_fit(
        SMOLLM2, "ppo", settings, free, device="cpu", dtype="float32", longest_prompt=64
    )


def test_the_largest_micro_batch_that_fits_is_found() -> None:
    def peak(n_tokens: int) -> int:
        return _plan(batch_size=64, micro_batch_tokens=n_tokens).peak_bytes

    settings = _settings(batch_size=64)
    fitted = _fit(settings, int((peak(512) + peak(1024)) / 2 / 0.9))
    assert fitted.fits
    assert fitted.settings == settings.model_copy(update={"micro_batch_tokens": 512})


def test_the_micro_batch_is_no_larger_than_the_batch() -> None:
    assert _fit(_settings(), 100 * GIB).settings.micro_batch_tokens == 2048  # 16 · 96, rounded up


def test_activations_are_recomputed_when_the_smallest_is_too_large() -> None:
    plain = _plan(micro_batch_tokens=64).peak_bytes
    again = _plan(micro_batch_tokens=64, checkpoint_activations=True).peak_bytes
    fitted = _fit(_settings(), int((plain + again) / 2 / 0.9))
    assert fitted.fits
    assert fitted.settings.checkpoint_activations


def test_what_cannot_fit_is_told_with_what_would_help() -> None:
    little = _fit(_settings(), GIB // 4)
    assert not little.fits
    assert "smaller model" in little.advice
    loaded = _fit(_settings(batch_size=4096), int(1.3 * GIB))
    assert not loaded.fits
    assert "Last layers" in loaded.advice


def test_torch_is_not_needed_for_a_plan() -> None:
    import subprocess

    code = "import sys, workbench.models.memory_plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
