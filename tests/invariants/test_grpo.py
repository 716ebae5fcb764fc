"""GRPO and its heirs: the whole update against loops."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.invariants.twins import Rows, Twin, clipped_pull, differences, own, punished
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings
from workbench.models.loading import LoadedModel
from workbench.objectives.rollout import Rollout

LOW, HIGH, BETA, PENALTY, GROUP, LONGEST = 0.1, 0.15, 0.3, 0.0, 4, 8
SETTINGS: dict[str, Any] = {
    "group_size": GROUP,
    "epochs": 2,
    "clip_range": LOW,
    "clip_range_high": HIGH,
    "kl_coef": BETA,
    "missing_eos_penalty": PENALTY,
    "max_new_tokens": LONGEST,
    "normalise_scores": False,
    "lr_schedule": "constant",
}


class Pull:
    """dL/dlogp of every token, with the settings that a variant changes."""

    def __init__(
        self, how: str = "answer", *, scaled: bool = True, skips: bool = False, beta: float = BETA
    ) -> None:
        self.how, self.scaled, self.skips, self.beta = how, scaled, skips, beta
        self.n_skipped = 0

    def __call__(self, rollout: Rollout, logps: Rows) -> Rows:
        advantages = self._advantages(punished(rollout, PENALTY))
        kept = [a is not None for a in advantages]
        self.n_skipped += kept.count(False)
        ratios = differences(logps, own(rollout.old_logps, rollout))
        distances = differences(logps, own(rollout.ref_logps, rollout))
        n_answers = sum(kept)
        n_tokens = sum(len(row) for row, keep in zip(logps, kept, strict=True) if keep)
        pulls = []
        for advantage, ratio, distance in zip(advantages, ratios, distances, strict=True):
            weight = {
                "answer": 1 / (n_answers * len(ratio)),
                "token": 1 / n_tokens,
                "fixed_length": 1 / (n_answers * LONGEST),
            }[self.how]
            pulls.append(
                [
                    0.0
                    if advantage is None
                    else weight
                    * (
                        clipped_pull(advantage, math.exp(r), LOW, HIGH)
                        + self.beta * math.exp(r) * d
                    )
                    for r, d in zip(ratio, distance, strict=True)
                ]
            )
        return pulls

    def _advantages(self, rewards: Sequence[float]) -> list[float | None]:
        found: list[float | None] = []
        for start in range(0, len(rewards), GROUP):
            group = rewards[start : start + GROUP]
            mean = statistics.fmean(group)
            spread = statistics.stdev(group) + 1e-4 if self.scaled else 1.0
            if self.skips and max(group) == min(group):
                found += [None] * GROUP
            else:
                found += [(r - mean) / spread for r in group]
        return found


@pytest.mark.parametrize(
    ("how", "scaled", "beta"),
    [("answer", True, BETA), ("token", True, BETA), ("fixed_length", False, 0.0)],
    ids=["grpo", "token", "dr grpo"],
)
def test_every_step_is_that_of_the_twin(
    how: str,
    scaled: bool,
    beta: float,
    llama: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    twin = Twin(monkeypatch, Pull(how, scaled=scaled, beta=beta))
    changes = {"aggregation": how, "scale_by_std": scaled, "kl_coef": beta}
    settings = on_policy_settings("grpo", **{**SETTINGS, **changes})
    run = Trained("grpo", llama, settings, tmp_path)
    assert twin.n_steps == 6
    assert all(m["policy/clip_fraction"] > 0.02 for m in run.metrics)


class Rare(TokenShare):
    """Right or wrong: whether the token is there at all. Many groups have no right answer."""

    def score(self, *args: Any) -> list[float]:
        return [float(share > 0) for share in super().score(*args)]


def test_groups_without_a_spread_leave_the_batch(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is divided by what is left, not by the batch (DAPO)."""
    pull = Pull("token", skips=True, beta=0.0)
    twin = Twin(monkeypatch, pull)
    changes = {"aggregation": "token", "kl_coef": 0.0, "skip_equal_groups": True, "updates": 4}
    settings = on_policy_settings("grpo", **{**SETTINGS, **changes, "learning_rate": 1e-3})
    run = Trained("grpo", llama, settings, tmp_path, reward=Rare(TOKEN))
    shares = [m["groups/equal_share"] for m in run.metrics]
    assert twin.n_steps == 2 * sum(share < 1.0 for share in shares) > 0
    assert pull.n_skipped == 2 * 16 * sum(share for share in shares if share < 1.0) > 0


def test_a_minibatch_that_skipped_groups_left_empty_is_no_step(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """One group of four is left of four, in eight minibatches: four have an answer."""

    class OneGroup(TokenShare):
        def score(self, prompts: Any, answers: Any) -> list[float]:  # noqa: ARG002
            return [1.0, 0.0, 0.0, 0.0] + [0.0] * (len(answers) - 4)

    changes = {"skip_equal_groups": True, "minibatches": 8, "epochs": 1, "updates": 1}
    settings = on_policy_settings("grpo", **{**SETTINGS, **changes})
    run = Trained("grpo", llama, settings, tmp_path, reward=OneGroup(TOKEN))
    assert run.metrics[0]["optim/steps"] == 4.0
    assert run.metrics[0]["groups/equal_share"] == 0.75
