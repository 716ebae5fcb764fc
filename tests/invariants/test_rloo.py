"""RLOO: the whole update against loops, and what it is equal to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.invariants.twins import Rows, Twin, clipped_pull, differences, own, punished
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings
from workbench.models.loading import LoadedModel
from workbench.objectives.rollout import Rollout

LOW, HIGH, BETA, PENALTY, GROUP = 0.1, 0.15, 0.2, 0.7, 4
SETTINGS: dict[str, Any] = {
    "epochs": 2,
    "clip_range": LOW,
    "clip_range_high": HIGH,
    "kl_coef": BETA,
    "missing_eos_penalty": PENALTY,
    "normalise_scores": False,
    "lr_schedule": "constant",
}


def _advantages(rollout: Rollout, beta: float) -> list[float]:
    kl = differences(own(rollout.old_logps, rollout), own(rollout.ref_logps, rollout))
    rewards = [s - beta * sum(k) for s, k in zip(punished(rollout, PENALTY), kl, strict=True)]
    advantages = []
    for i, reward in enumerate(rewards):
        start = i // GROUP * GROUP
        others = [rewards[j] for j in range(start, start + GROUP) if j != i]
        advantages.append(reward - sum(others) / len(others))
    return advantages


def _pull(rollout: Rollout, logps: Rows) -> Rows:
    """An answer is one action: all of its tokens are pulled alike."""
    pulls = []
    old = own(rollout.old_logps, rollout)
    for advantage, now, before in zip(_advantages(rollout, BETA), logps, old, strict=True):
        ratio = math.exp(sum(now) - sum(before))
        pulls.append([clipped_pull(advantage, ratio, LOW, HIGH) / len(logps)] * len(now))
    return pulls


def test_every_step_is_that_of_the_twin(
    causal_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(monkeypatch, _pull)
    run = Trained("rloo", causal_model, on_policy_settings("rloo", **SETTINGS), tmp_path)
    assert twin.n_steps == 6
    assert all(m["policy/clip_fraction"] > 0.1 for m in run.metrics)


def test_kl_in_the_loss_pulls_at_each_token_by_itself(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pull(rollout: Rollout, logps: Rows) -> Rows:
        pulls = []
        distances = differences(logps, own(rollout.ref_logps, rollout))
        ratios = differences(logps, own(rollout.old_logps, rollout))
        for advantage, d, r in zip(_advantages(rollout, 0.0), distances, ratios, strict=True):
            whole = clipped_pull(advantage, math.exp(sum(r)), LOW, HIGH)
            tokens = [whole + BETA * math.exp(rt) * dt for rt, dt in zip(r, d, strict=True)]
            pulls.append([p / len(logps) for p in tokens])
        return pulls

    twin = Twin(monkeypatch, pull)
    settings = on_policy_settings("rloo", **SETTINGS, kl_in="loss", kl_estimator="k3")
    Trained("rloo", llama, settings, tmp_path)
    assert twin.n_steps == 6


def test_the_baseline_of_an_answer_does_not_know_it(llama: LoadedModel, tmp_path: Path) -> None:
    """A shift of all scores, of whatever size, changes nothing."""

    class Shifted(TokenShare):
        def score(self, *args: Any) -> list[float]:
            return [s + 8.0 for s in super().score(*args)]

    settings = on_policy_settings("rloo", normalise_scores=False, adam_eps=1e-3)
    plain = Trained("rloo", llama, settings, tmp_path / "plain")
    other = tinymodels.load(llama.info.path)
    shifted = Trained("rloo", other, settings, tmp_path / "shifted", reward=Shifted(TOKEN))
    for key, weight in plain.adapter().items():
        assert_close(shifted.adapter()[key], weight, FORWARD)
