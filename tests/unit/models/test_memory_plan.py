"""The memory plan: its parts against models in memory, peaks that were measured, what moves it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.benchmarks import bench_memory_plan
from tests.benchmarks.bench_memory_plan import CASES, settings_of
from workbench.config.ppo import PPOSettings
from workbench.config.training import TrainingSettings
from workbench.errors import UserError
from workbench.models import adapters, memory_plan
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.memory_plan import MemoryPlan, ModelFacts
from workbench.models.sizes import Matrix

# Written by `bench_memory_plan --golden`: Linux, torch 2.13 for the processor, glibc 2.36, 2 cores.
GOLDEN = json.loads(bench_memory_plan.GOLDEN.read_text(encoding="utf-8"))
SIZES = {
    name: ModelFacts(**{**sizes, "matrices": tuple(Matrix(*m) for m in sizes["matrices"])})
    for name, sizes in GOLDEN["models"].items()
}
SMOLLM2 = SIZES["starter"]
GIB = 1 << 30
WITHIN = 0.15


def _settings(**changes: Any) -> PPOSettings:
    return PPOSettings.model_validate({"batch_size": 16, "max_new_tokens": 32, **changes})


def _plan(model: ModelFacts = SMOLLM2, dtype: str = "float32", **changes: Any) -> MemoryPlan:
    return memory_plan.plan(
        model, "ppo", _settings(**changes), device="cpu", dtype=dtype, longest_prompt=64
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("plan")
    return {kind: tinymodels.write(place / kind, kind) for kind in ("llama", "gpt2", "t5")}


KINDS = pytest.mark.parametrize("kind", ["llama", "gpt2", "t5"])


@pytest.mark.parametrize("name", GOLDEN["measured"])
def test_the_peak_is_what_was_measured(name: str) -> None:
    case, (longest, measured_mib) = CASES[name], GOLDEN["measured"][name]
    wanted = memory_plan.plan(
        SIZES[case.model],
        case.algorithm,
        settings_of(case),
        device="cpu",
        dtype=case.dtype,
        longest_prompt=longest,
    )
    assert abs(wanted.peak_bytes / (measured_mib << 20) - 1) < WITHIN


@KINDS
def test_the_base_is_the_sum_of_its_tensors(folders: dict[str, Path], kind: str) -> None:
    found = memory_plan.facts(folders[kind])
    for dtype in ("float32", "bfloat16"):
        model = tinymodels.load(folders[kind], dtype)
        n_bytes = sum(p.numel() * p.element_size() for p in model.model.parameters())
        assert _plan(found, dtype).parts["base"] == n_bytes


@KINDS
@pytest.mark.parametrize("lora", [{"r": 4}, {"r": 3, "last_layers": 1}])
def test_adapters_and_optimiser_are_counted_as_peft_makes_them(
    folders: dict[str, Path], kind: str, lora: dict[str, Any]
) -> None:
    settings = _settings(lora=lora)
    model = tinymodels.load(folders[kind])
    parameters = adapters.add(model, "policy", settings.lora, seed=0)
    optimiser = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    held = [p.grad for p in parameters if p.grad is not None]
    held += [s for p in parameters for s in optimiser.state[p].values() if s.ndim]
    parts = _plan(memory_plan.facts(folders[kind]), lora=lora, micro_batch_tokens=16).parts
    n_bytes = sum(p.nbytes for p in parameters)
    assert parts["adapters"] == 2 * n_bytes, "policy and reward model"
    assert parts["optimiser"] == sum(tensor.nbytes for tensor in held), "gradient and two moments"
    whole = _plan(memory_plan.facts(folders[kind]), lora=lora, micro_batch_tokens=10_000).parts
    assert whole["optimiser"] == 2 * n_bytes, "a gradient that nothing adds to comes later"


def test_only_named_matrices_are_adapted(folders: dict[str, Path]) -> None:
    lora = {"r": 3, "target_modules": "q_proj, down_proj", "last_layers": 1}
    parameters = adapters.add(
        tinymodels.load(folders["llama"]), "policy", _settings(lora=lora).lora, seed=0
    )
    parts = _plan(memory_plan.facts(folders["llama"]), lora=lora, micro_batch_tokens=10_000).parts
    assert parts["adapters"] == 2 * sum(p.nbytes for p in parameters)


@KINDS
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_what_autograd_saves(
    folders: dict[str, Path], kind: str, dtype: str
) -> None:
    """Counted: bytes of the storages that a forward pass of an adapter keeps."""
    n_texts, n_prompt, n_answer = 3, 12, 12
    model = tinymodels.load(folders[kind], dtype)
    settings = _settings(lora={"r": 4}, max_new_tokens=n_answer)
    adapters.add(model, "policy", settings.lora, seed=0)
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    prompts = pad_prompts(model, [[5] * (n_prompt - k) for k in range(n_texts)])
    answers = pad_answers(model, [[6] * n_answer] * n_texts)
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with adapters.active(model, "policy"), hooks:
        states = model.response_states(*prompts, *answers)
    assert states.requires_grad
    frozen = [*model.model.parameters(), *model.model.buffers()]
    weights = {p.untyped_storage().data_ptr() for p in frozen}
    saved = sum(t.untyped_storage().nbytes() for p, t in kept.items() if p not in weights)
    run = memory_plan.Run(memory_plan.facts(folders[kind]), "ppo", settings, dtype, n_prompt)
    planned = run.activations(n_texts * (n_prompt + n_answer))
    assert abs(planned / saved - 1) < 0.1, "the last norm comes on top"


@KINDS
def test_the_cache_is_what_answers_leave_in_it(folders: dict[str, Path], kind: str) -> None:
    n_texts, n_prompt, n_answer = 3, 5, 4
    model = tinymodels.load(folders[kind])
    growing = model.read(*pad_prompts(model, [[5] * n_prompt] * n_texts))
    with torch.no_grad():
        growing.start()
        for _ in range(n_answer - kind.startswith("t5")):  # its start token is in the cache too
            growing.append(torch.full((n_texts,), 6))
    cache: Any = growing._cache  # type: ignore[attr-defined]
    caches = [cache.self_attention_cache, cache.cross_attention_cache] if kind == "t5" else [cache]
    n_bytes = sum(
        tensor.nbytes for c in caches for layer in c.layers for tensor in (layer.keys, layer.values)
    )
    settings = _settings(batch_size=n_texts, max_new_tokens=n_answer)
    found = memory_plan.facts(folders[kind])
    run = memory_plan.Run(found, "ppo", settings, "float32", n_prompt)
    assert run.cache() == n_bytes * (found.n_layers + 1) // found.n_layers, "one twice: it grows"


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"micro_batch_tokens": 512}, {"micro_batch_tokens": 1024}),
        ({"lora": {"last_layers": 20}}, {"lora": {"last_layers": 25}}),
        ({"lora": {"r": 8}}, {"lora": {"r": 64}}),
        ({"checkpoint_activations": True}, {"checkpoint_activations": False}),
        ({"value_network": "shared"}, {"value_network": "own"}),
        ({"batch_size": 2}, {"batch_size": 4}),
        ({"max_new_tokens": 8, "batch_size": 4}, {"max_new_tokens": 64, "batch_size": 4}),
    ],
)
def test_what_takes_more_is_planned_with_more(less: dict[str, Any], more: dict[str, Any]) -> None:
    assert _plan(**less).peak_bytes < _plan(**more).peak_bytes


def test_the_parts_add_up_to_the_peak_which_is_the_largest_phase() -> None:
    learns = _plan()
    assert learns.peak_bytes == learns.phases["learning"] == max(learns.phases.values())
    assert sum(learns.parts.values()) == learns.peak_bytes
    assert learns.parts["cache"] == 0
    answers = _plan(batch_size=1024, micro_batch_tokens=64)
    assert answers.peak_bytes == answers.phases["answering"]
    assert sum(answers.parts.values()) == answers.peak_bytes
    assert answers.parts["cache"] == 4 * 2 * 31 * 192 * 1024 * 96


def test_a_config_that_says_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="how large"):
        memory_plan.facts(tmp_path)


def _fit(settings: TrainingSettings, free: int) -> memory_plan.Fitted:
    return memory_plan.auto_fit(
        SMOLLM2, "ppo", settings, free, device="cpu", dtype="float32", longest_prompt=64
    )


def test_the_largest_micro_batch_that_fits_is_found() -> None:
    settings = _settings(batch_size=64)
    free = 3 * GIB
    fitted = _fit(settings, free)
    assert fitted.fits
    n_tokens = fitted.settings.micro_batch_tokens
    assert fitted.settings == settings.model_copy(update={"micro_batch_tokens": n_tokens})
    at_once = _plan(batch_size=64, micro_batch_tokens=n_tokens).peak_bytes
    twice = _plan(batch_size=64, micro_batch_tokens=2 * n_tokens).peak_bytes
    assert at_once <= 0.9 * free < twice


def test_the_micro_batch_is_no_larger_than_the_batch() -> None:
    assert _fit(_settings(), 100 * GIB).settings.micro_batch_tokens == 2048  # 16 · 96, rounded up


def test_activations_are_recomputed_when_the_smallest_is_too_large() -> None:
    settings = _settings(max_new_tokens=1024)
    plain = _plan(max_new_tokens=1024, micro_batch_tokens=64).peak_bytes
    again = _plan(
        max_new_tokens=1024, micro_batch_tokens=64, checkpoint_activations=True
    ).peak_bytes
    fitted = _fit(settings, int((plain + again) / 2 / 0.9))
    assert fitted.fits
    assert fitted.settings.checkpoint_activations


def test_without_any_data_there_is_a_plan_too() -> None:
    settings = settings_of(CASES["sft"])
    place = {"device": "cpu", "dtype": "float32"}
    fitted = memory_plan.auto_fit(SMOLLM2, "sft", settings, 4 * GIB, **place, longest_prompt=0)
    assert fitted.fits


def test_a_card_holds_the_same_tensors_without_the_gaps_of_the_heap() -> None:
    place = {"dtype": "bfloat16", "longest_prompt": 64}
    card = memory_plan.plan(SMOLLM2, "ppo", _settings(), device="cuda", **place)
    processor = memory_plan.plan(SMOLLM2, "ppo", _settings(), device="cpu", **place)
    assert card.peak_bytes < processor.peak_bytes
    same = ("base", "adapters", "optimiser")
    assert [card.parts[name] for name in same] == [processor.parts[name] for name in same]


def test_what_cannot_fit_is_told_with_what_would_help() -> None:
    little = _fit(_settings(), GIB // 4)
    assert not little.fits
    assert "smaller model" in little.advice
    loaded = _fit(_settings(batch_size=4096), int(1.3 * GIB))
    assert not loaded.fits
    assert "Last layers" in loaded.advice


def test_torch_is_not_needed_for_a_plan() -> None:
    code = "import sys, workbench.models.memory_plan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
