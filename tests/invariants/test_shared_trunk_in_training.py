"""Sharing the frozen lower layers changes time and memory, and nothing that is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.invariants.test_ppo import Finished, _settings
from workbench.config.lora import LoraSettings
from workbench.models import adapters
from workbench.models.loading import LoadedModel, Trunk
from workbench.rewards.neural import RewardModel

LORA = LoraSettings(r=4, alpha=8, last_layers=1)


def _run(model: LoadedModel, folder: Path) -> Finished:
    reward = RewardModel.fresh(model, LORA, seed=1)
    for parameter in reward.trainable:
        parameter.data += 0.1
    adapters.freeze(model, "reward")
    return Finished(model, _settings(lora=LORA, updates=4), folder, reward=reward)


def test_ppo_learns_the_same_with_and_without_a_shared_trunk(
    causal_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = causal_model
    assert adapters.first_layer(model, LORA) == 1
    shared = _run(model, tmp_path / "shared")
    monkeypatch.setattr(adapters, "first_layer", lambda *_: 0)
    apart = _run(tinymodels.load(model.info.path), tmp_path / "apart")
    for ours, theirs in zip(shared.metrics, apart.metrics, strict=True):
        assert ours.keys() == theirs.keys()
        assert_close(ours["objective/scores"], theirs["objective/scores"], FORWARD)
        assert_close(ours["objective/kl"], theirs["objective/kl"], FORWARD)
    for key, weight in shared.adapter().items():
        assert_close(weight, apart.adapter()[key], FORWARD)
    assert shared.metrics[-1]["objective/kl"] > 0.01, "it does learn"


def test_the_trunk_is_computed_once_per_rollout(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    trunk = llama.trunk

    def counting(ids: Tensor, mask: Tensor, n_layers: int) -> Trunk:
        rows.append(len(ids))
        return trunk(ids, mask, n_layers)

    monkeypatch.setattr(llama, "trunk", counting)
    settings = _settings(lora=LORA, updates=2, epochs=3, micro_batch_tokens=4096)
    run = Finished(llama, settings, tmp_path)
    assert len(run.steps) == 2
    # The others try with one row whether this architecture splits.
    assert rows.count(16) == 2
