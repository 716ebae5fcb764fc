"""Labels may count less than others, as an AI judge's do: only the ratio of weights matters."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.offline_runs import Run, feedback, one_batch, preferences, trained
from workbench.data.records import Preference
from workbench.rewards.neural import RewardModel

NAMES = ("reward", "dpo", "kto")


def _weighed(weight: Callable[[int], float]) -> dict[str, Any]:
    return {
        "preferences": [replace(p, weight=weight(i)) for i, p in enumerate(preferences())],
        "feedback": [replace(f, weight=weight(i // 2)) for i, f in enumerate(feedback())],
    }


def _run(name: str, folder: Path, data: dict[str, Any], to: Path) -> Run:
    return Run(name, tinymodels.load(folder), one_batch(name), to, **data)


@pytest.mark.parametrize("name", NAMES)
def test_equal_weights_change_nothing(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    plain = _run(name, folders["llama"], {}, tmp_path / "plain")
    halved = _run(name, folders["llama"], _weighed(lambda _: 0.3), tmp_path / "halved")
    assert halved.metrics == plain.metrics
    assert halved.everything() == plain.everything()


@pytest.mark.parametrize("name", NAMES)
def test_unequal_weights_change_what_is_learned(
    name: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    plain = _run(name, folders["llama"], {}, tmp_path / "plain")
    uneven = _run(name, folders["llama"], _weighed(lambda i: 1 / (1 + i % 3)), tmp_path / "uneven")
    assert uneven.everything() != plain.everything()


def test_the_first_loss_is_the_weighted_mean(folders: dict[str, Path], tmp_path: Path) -> None:
    settings = one_batch("reward", centering=0.0)
    data: list[Preference] = _weighed(lambda i: 1.0 if i % 4 else 0.25)["preferences"]
    run = Run("reward", tinymodels.load(folders["llama"]), settings, tmp_path, preferences=data)
    reward = RewardModel.fresh(tinymodels.load(folders["llama"]), settings.lora, settings.seed)
    mean = math.fsum(p.weight for p in data) / len(data)
    learned = trained(data, settings)
    losses = []
    for pair in learned:
        chosen, rejected = reward.score_texts(
            [pair.prompt.messages] * 2, [pair.chosen, pair.rejected]
        )
        losses.append(pair.weight / mean * math.log1p(math.exp(rejected - chosen)))
    first = run.metrics[0]["reward/loss"]
    assert_close(first, math.fsum(losses) / len(losses), FORWARD)
    unweighted = _run("reward", folders["llama"], {}, tmp_path / "plain")
    assert abs(unweighted.metrics[0]["reward/loss"] - first) > 1e-4
