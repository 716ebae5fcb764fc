"""Online DPO: the whole update against loops, and who is chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests import tinymodels
from tests.close import EXACT, FORWARD, assert_close
from tests.invariants.twins import Rows, Twin, own, punished
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings
from workbench.events import Event, Step
from workbench.models.loading import LoadedModel
from workbench.objectives.rollout import Rollout
from workbench.training.loop import LiveSettings
from workbench.training.online_dpo import ranked

BETA, PENALTY = 0.4, 0.7


class Pull:
    """dL/dlogp of both answers of each pair that has a winner."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.n_tied = 0

    def __call__(self, rollout: Rollout, logps: Rows) -> Rows:
        scores, ref = punished(rollout, PENALTY), own(rollout.ref_logps, rollout)
        pulls = [[0.0] * len(row) for row in logps]
        pairs = []
        for first in range(0, len(scores), 2):
            if scores[first] == scores[first + 1]:
                self.n_tied += 1
            else:
                better = first if scores[first] > scores[first + 1] else first + 1
                pairs.append((better, 2 * first + 1 - better))
        for chosen, rejected in pairs:
            parts = {}
            for row in (chosen, rejected):
                share = 1 / len(logps[row]) if self.kind == "ipo" else 1.0
                parts[row] = (share * (sum(logps[row]) - sum(ref[row])), share)
            margin = parts[chosen][0] - parts[rejected][0]
            slope = self._slope(margin) / len(pairs)
            pulls[chosen] = [slope * parts[chosen][1]] * len(logps[chosen])
            pulls[rejected] = [-slope * parts[rejected][1]] * len(logps[rejected])
        return pulls

    def _slope(self, margin: float) -> float:
        if self.kind == "sigmoid":
            return -BETA / (1 + math.exp(BETA * margin))
        if self.kind == "ipo":
            return 2 * (margin - 1 / (2 * BETA))
        return -BETA if BETA * margin < 1 else 0.0


@pytest.mark.parametrize("kind", ["sigmoid", "ipo", "hinge"])
def test_every_step_is_that_of_the_twin(
    kind: str, llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = Pull(kind)
    twin = Twin(monkeypatch, pull)
    settings = on_policy_settings(
        "online-dpo",
        kind=kind,
        beta=BETA,
        missing_eos_penalty=PENALTY,
        normalise_scores=False,
        updates=4,
        lr_schedule="constant",
    )
    run = Trained("online-dpo", llama, settings, tmp_path)
    assert twin.n_steps == 4
    tied = sum(8 * m["rewards/tied"] for m in run.metrics)
    assert pull.n_tied == round(tied) > 0


def test_the_higher_score_is_chosen_and_equal_ones_are_left_out() -> None:
    scores = torch.tensor([0.0, 1.0, 3.0, 2.0, 0.5, 0.5, -1.0, -2.0])
    assert ranked(scores) == [(1, 0), (2, 3), (6, 7)]


def test_only_the_order_of_scores_counts(folders: dict[str, Path], tmp_path: Path) -> None:
    """A reward of another size, shift or shape that ranks alike trains the same bits."""

    class Bent(TokenShare):
        def score(self, *args: Any) -> list[float]:
            return [math.exp(5.0 * s) - 3.0 for s in super().score(*args)]

    runs = []
    for reward in (TokenShare(TOKEN), Bent(TOKEN)):
        model = tinymodels.load(folders["llama"])
        settings = on_policy_settings("online-dpo", missing_eos_penalty=0.0)
        runs.append(
            Trained("online-dpo", model, settings, tmp_path / type(reward).__name__, reward=reward)
        )
    for key, weight in runs[0].adapter().items():
        assert_close(runs[1].adapter()[key], weight, EXACT)


def test_at_the_start_no_answer_is_preferred_and_later_the_better_one_is(
    llama: LoadedModel, tmp_path: Path
) -> None:
    settings = on_policy_settings("online-dpo", updates=12, lr_schedule="constant")
    metrics = Trained("online-dpo", llama, settings, tmp_path).metrics
    assert metrics[0]["rewards/accuracies"] == 0.5
    assert metrics[0]["rewards/margins"] == 0.0
    assert_close(metrics[0]["loss/policy"], math.log(2), FORWARD)
    assert sum(m["rewards/accuracies"] for m in metrics[-4:]) / 4 > 0.6
    assert sum(m["rewards/margins"] for m in metrics[-4:]) / 4 > 0.0


def test_beta_may_change_while_the_run_goes_on(folders: dict[str, Path], tmp_path: Path) -> None:
    """At once, and it stays so when the run is resumed."""
    settings = on_policy_settings("online-dpo", checkpoint_every=1, updates=3)

    def losses(folder: Path, **kwargs: Any) -> list[float]:
        model = tinymodels.load(folders["llama"])
        run = Trained("online-dpo", model, settings, folder, **kwargs)
        return [m["loss/policy"] for m in run.metrics]

    live = LiveSettings()

    def change(event: Event) -> None:
        if isinstance(event, Step) and event.step == 1:
            live.set("beta", 2.0)

    plain = losses(tmp_path / "plain")
    changed = losses(tmp_path / "changed", live=live, on_event=change)
    assert changed[0] == plain[0]
    assert changed[1] != plain[1]
    checkpoint = tmp_path / "changed" / "checkpoints" / "step-000002"
    assert losses(tmp_path / "resumed", resume_from=checkpoint) == changed[2:]
