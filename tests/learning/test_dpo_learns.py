"""DPO reaches the margin that its loss asks for where labels contradict each other.

w7 is preferred to w3 in three of four pairs of each prompt. With p = 3/4 the losses are smallest
at these implicit reward margins (both answers have two tokens):

    sigmoid       log(p / (1 − p)) = log 3: the Bradley-Terry reward, for any β
    conservative  the same with p' = (1 − ε)p + ε(1 − p)
    ipo           Δ = (2p − 1)/2β per token, hence β·2·Δ = 2p − 1
    hinge         1, the kink
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.offline_runs import Run, settings, sure
from workbench.data.records import Preference
from workbench.objectives.preference import dpo_loss
from workbench.training import dpo

PAIRS = [
    Preference(8 * i + k, prompt, *(("w7", "w3") if k < 6 else ("w3", "w7")), "rule", "simulated")
    for i, prompt in enumerate(tinymodels.prompts(12))
    for k in range(8)
]
SETTINGS: dict[str, Any] = {"epochs": 24, "batch_size": 32, "heldout_share": 0.3, "beta": 0.3}
OPTIMUM = {"sigmoid": math.log(3), "conservative": math.log(0.7 / 0.3), "ipo": 0.5, "hinge": 1.0}


def _margins(kind: str, folder: Path, tmp_path: Path, seed: int) -> tuple[float, float]:
    """The margin of w7 over w3 after 48 updates, on prompts learned from and on others."""
    changes: dict[str, Any] = {"kind": kind}
    if kind == "conservative":
        changes = {"label_smoothing": 0.1}
    how = settings("dpo", **SETTINGS, **changes, seed=seed)
    run = Run("dpo", sure(folder), how, tmp_path, preferences=PAIRS)
    assert len(run.steps) == 48
    learned = sum(m["rewards/margins"] for m in run.metrics[-6:]) / 6
    # Three of four pairs have the sign of this margin, one has the other.
    return learned / 0.5, run.heldout[-1]["heldout/margins"] / 0.5


@pytest.mark.parametrize("seed", range(5))
def test_dpo_finds_the_reward_behind_the_labels(
    llama_folder: Path, tmp_path: Path, seed: int
) -> None:
    learned, heldout = _margins("sigmoid", llama_folder, tmp_path, seed)
    assert learned == pytest.approx(OPTIMUM["sigmoid"], rel=0.1)
    assert heldout > 0.4 * OPTIMUM["sigmoid"]


@pytest.mark.parametrize("kind", ["conservative", "ipo", "hinge"])
def test_each_kind_finds_its_own_optimum(kind: str, llama_folder: Path, tmp_path: Path) -> None:
    learned, _ = _margins(kind, llama_folder, tmp_path, seed=0)
    assert learned == pytest.approx(OPTIMUM[kind], rel=0.15)


def test_with_a_turned_sign_it_goes_the_other_way(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(
        policy_chosen: Any, policy_rejected: Any, ref_chosen: Any, ref_rejected: Any, *rest: Any
    ) -> Any:
        return dpo_loss(policy_rejected, policy_chosen, ref_rejected, ref_chosen, *rest)

    monkeypatch.setattr(dpo, "dpo_loss", turned)
    learned, heldout = _margins("sigmoid", llama_folder, tmp_path, seed=0)
    assert learned < -0.5
    assert heldout < 0
