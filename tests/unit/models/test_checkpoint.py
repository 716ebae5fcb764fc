"""Checkpoints: everything back bit for bit, or a sentence on why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests import tinymodels
from tests.close import EXACT, assert_close
from workbench.config.lora import LoraSettings
from workbench.data.folders import MANIFEST, atomic_folder
from workbench.errors import UserError
from workbench.models import adapters, checkpoint
from workbench.models.heads import QHead, ScalarHead
from workbench.models.loading import LoadedModel

LORA = LoraSettings(r=2)
STATE = {"update": 3, "counters": {"kl_coef": 0.1}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinymodels.write(tmp_path_factory.mktemp("model") / "llama", "llama")


@pytest.fixture
def model(folder: Path) -> LoadedModel:
    return tinymodels.load(folder)


class Run:
    """A learner of its own: adapter, heads, and an optimiser that has made a step."""

    def __init__(self, model: LoadedModel, seed: int, n_heads: int = 2) -> None:
        self.model = model
        self.parameters = adapters.add(model, "policy", LORA, seed)
        q = QHead(model.output_head, 2, torch.Generator().manual_seed(seed))
        heads = {"value_head": ScalarHead(model.hidden_size, bias=True), "q1": q}
        self.heads: dict[str, nn.Module] = dict(list(heads.items())[:n_heads])
        learned = [*self.parameters, *(p for h in self.heads.values() for p in h.parameters())]
        self.optimiser = torch.optim.AdamW(learned, lr=0.1)
        generator = torch.Generator().manual_seed(seed)
        for parameter in learned:
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        self.optimiser.step()

    def save(self, folder: Path, algorithm: str = "ppo") -> None:
        checkpoint.save(
            folder, self.model, "policy", LORA, self.heads, self.optimiser, algorithm, STATE
        )

    def load(self, folder: Path, algorithm: str = "ppo") -> dict[str, object]:
        return checkpoint.load(folder, self.model, "policy", self.heads, self.optimiser, algorithm)

    def tensors(self) -> dict[str, torch.Tensor]:
        found = dict(adapters.state(self.model, "policy"))
        for name, head in self.heads.items():
            found |= {f"{name}/{k}": v.clone() for k, v in head.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            found |= {f"optimiser/{number}/{k}": v.clone() for k, v in state.items()}
        return found


def _assert_equal(a: Mapping[str, torch.Tensor], b: Mapping[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for key, tensor in a.items():
        assert_close(tensor, b[key], EXACT)


@pytest.mark.parametrize("n_heads", [0, 1, 2])
def test_everything_comes_back_bit_for_bit(
    n_heads: int, model: LoadedModel, folder: Path, tmp_path: Path
) -> None:
    run = Run(model, seed=1, n_heads=n_heads)
    run.save(tmp_path / "step")
    other = Run(tinymodels.load(folder), seed=2, n_heads=n_heads)
    assert any(not torch.equal(t, other.tensors()[k]) for k, t in run.tensors().items())
    assert other.load(tmp_path / "step") == STATE
    _assert_equal(other.tensors(), run.tensors())
    # The adapter in it is a PEFT folder like any other.
    assert adapters.lora_settings(tmp_path / "step").r == 2


def _refused(run: Run, folder: Path, words: str, algorithm: str = "ppo") -> None:
    """It is refused in a sentence, and nothing has been filled."""
    before = run.tensors()
    with pytest.raises(UserError, match=words) as caught:
        run.load(folder, algorithm)
    assert str(caught.value.args[0]).endswith(".")
    assert caught.value.hint
    _assert_equal(run.tensors(), before)


def test_a_damaged_one_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    run = Run(model, seed=1)
    run.save(tmp_path / "step")
    heads = tmp_path / "step" / "heads.safetensors"
    heads.write_bytes(heads.read_bytes()[:-1] + b"x")
    _refused(run, tmp_path / "step", "damaged: step: heads.safetensors has changed")


def test_one_of_another_algorithm_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    run = Run(model, seed=1)
    run.save(tmp_path / "step", "grpo")
    _refused(run, tmp_path / "step", "is one of grpo, and this run is ppo")


def test_one_of_another_base_is_refused_by_its_digest(model: LoadedModel, tmp_path: Path) -> None:
    run = Run(model, seed=1)
    model.info = replace(model.info, name="that", digest="d" * 64)
    run.save(tmp_path / "step")
    model.info = replace(model.info, name="this", digest="e" * 64)
    words = r"belongs to the base model that \(d{12}\), and this \(e{12}\) is loaded"
    _refused(run, tmp_path / "step", words)
    # Another name of the same weights is no obstacle.
    model.info = replace(model.info, digest="d" * 64)
    assert run.load(tmp_path / "step") == STATE


def test_one_with_other_heads_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    Run(model, seed=1, n_heads=1).save(tmp_path / "step")
    _refused(Run(model, seed=2, n_heads=2), tmp_path / "step", "has other heads than this run")


def test_one_of_another_version_is_refused(model: LoadedModel, tmp_path: Path) -> None:
    """The first format had one head, in a file of its own, and said neither of the two."""
    run = Run(model, seed=1)
    run.save(tmp_path / "step")
    with atomic_folder(tmp_path / "old") as old:
        for file in (tmp_path / "step").iterdir():
            if file.name not in (MANIFEST, "heads.safetensors"):
                (old / file.name).write_bytes(file.read_bytes())
        (old / "state.json").write_text(json.dumps({"update": 3}))
    _refused(run, tmp_path / "old", "written by another version")
