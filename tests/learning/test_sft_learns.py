"""Fine-tuning learns a distribution of answers down to its entropy, which no model can go below."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.offline_runs import Run, settings, sure
from workbench.data.records import Answered
from workbench.models.loading import LoadedModel
from workbench.training import sft
from workbench.training.answers import Scored, forward

# Of eight answers to each prompt six are w7 and two w3: one uncertain token, one certain end.
ANSWERS = [
    Answered(prompt, "w7" if k < 6 else "w3") for prompt in tinymodels.prompts(12) for k in range(8)
]
ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / 2
SETTINGS: dict[str, Any] = {"epochs": 16, "batch_size": 16, "heldout_share": 0.3}


def _run(folder: Path, tmp_path: Path, seed: int) -> Run:
    how = settings("sft", **SETTINGS, seed=seed)
    return Run("sft", sure(folder), how, tmp_path, answers=ANSWERS)


@pytest.mark.parametrize("seed", range(5))
def test_the_loss_falls_to_the_entropy_of_the_answers(
    llama_folder: Path, tmp_path: Path, seed: int
) -> None:
    """Within 3 % on the prompts learned from in 64 updates, near it on others."""
    run = _run(llama_folder, tmp_path, seed)
    assert len(run.steps) == 64
    first, last = run.metrics[0]["loss/sft"], run.metrics[-4:]
    mean = sum(m["loss/sft"] for m in last) / len(last)
    assert first > 3 * ENTROPY
    assert ENTROPY - 1e-6 < mean < 1.03 * ENTROPY
    assert ENTROPY - 1e-6 < run.heldout[-1]["heldout/loss"] < 1.25 * ENTROPY


def test_with_a_turned_sign_it_rises(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(model: LoadedModel, answers: Any) -> Scored:
        scored = forward(model, answers)
        return scored._replace(logps=-scored.logps)

    monkeypatch.setattr(sft, "forward", turned)
    before, *_, after = _run(llama_folder, tmp_path, seed=0).heldout
    assert after["heldout/loss"] > before["heldout/loss"]
