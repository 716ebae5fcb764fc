"""REINFORCE: the whole update against loops for every baseline, and what it is equal to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.close import EXACT, Level, assert_close
from tests.invariants.twins import Rows, Twin, differences, own, punished, whitened
from tests.training import Trained, on_policy_settings
from workbench.models.loading import LoadedModel
from workbench.objectives.rollout import Rollout

BETA, PENALTY, GAMMA, DECAY = 0.2, 0.7, 0.9, 0.5
SETTINGS: dict[str, Any] = {
    "kl_coef": BETA,
    "missing_eos_penalty": PENALTY,
    "normalise_scores": False,
    "gamma": GAMMA,
    "lr_schedule": "constant",
}


class Pull:
    """dL/dlogp = −(G_t − b) / N, with the returns of all batches so far in mind."""

    def __init__(self, baseline: str, *, whitens: bool = False) -> None:
        self.baseline, self.whitens = baseline, whitens
        self.means: list[float] = []

    def __call__(self, rollout: Rollout, logps: Rows) -> Rows:
        kl = differences(own(rollout.old_logps, rollout), own(rollout.ref_logps, rollout))
        returns = []
        for score, distances in zip(punished(rollout, PENALTY), kl, strict=True):
            rewards = [-BETA * d for d in distances]
            rewards[-1] += score
            n = len(rewards)
            returns.append(
                [sum(GAMMA ** (k - t) * rewards[k] for k in range(t, n)) for t in range(n)]
            )
        n_tokens = sum(map(len, returns))
        mean = sum(map(sum, returns)) / n_tokens
        taken = {"batch_mean": mean, "none": 0.0, "moving_average": self._past()}[self.baseline]
        self.means.append(mean)
        advantages = [[g - taken for g in row] for row in returns]
        if self.whitens:
            advantages = whitened(advantages)
        assert list(map(len, advantages)) == list(map(len, logps))
        return [[-a / n_tokens for a in row] for row in advantages]

    def _past(self) -> float:
        """The mean of the first two batches, then half old and half new; 0 before them."""
        past = 0.0
        for n, mean in enumerate(self.means, start=1):
            weight = max(1 - DECAY, 1 / n)
            past = (1 - weight) * past + weight * mean
        return past


@pytest.mark.parametrize(
    ("baseline", "whitens"),
    [("batch_mean", False), ("moving_average", False), ("none", False), ("none", True)],
    ids=["batch mean", "moving average", "none", "reinforce++"],
)
def test_every_step_is_that_of_the_twin(
    baseline: str,
    whitens: bool,
    llama: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    changes = {"baseline": baseline, "whiten_advantages": whitens, "baseline_decay": DECAY}
    twin = Twin(monkeypatch, Pull(baseline, whitens=whitens))
    settings = on_policy_settings("reinforce", **SETTINGS, **changes, updates=4)
    run = Trained("reinforce", llama, settings, tmp_path)
    assert twin.n_steps == 4
    assert all(m["policy/first_ratio_error"] < 1e-4 for m in run.metrics)
    assert all("loss/value" not in m for m in run.metrics)


@pytest.mark.parametrize("network", ["shared", "own"])
def test_a_learned_baseline_is_a2c_with_lambda_1(
    network: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    """A_t = G_t − V_t and R_t = G_t either way, summed in another order."""
    common = {**SETTINGS, "value_network": network, "value_coef": 0.5, "adam_eps": 1e-3}
    runs = []
    for algorithm, own_settings in (
        ("reinforce", {"baseline": "learned"}),
        ("a2c", {"gae_lambda": 1.0, "whiten_advantages": False}),
    ):
        model = tinymodels.load(folders["llama"])
        settings = on_policy_settings(algorithm, **common, **own_settings)
        runs.append(Trained(algorithm, model, settings, tmp_path / algorithm))
    reinforce, a2c = runs
    assert max(float(v.abs().max()) for v in a2c.lora_b().values()) > 1e-3
    for key, weight in a2c.adapter().items():
        assert_close(reinforce.adapter()[key], weight, Level(1e-5, 0.0))
    for ours, theirs in zip(reinforce.metrics, a2c.metrics, strict=True):
        assert ours.keys() == theirs.keys()
        assert_close(ours["loss/value"], theirs["loss/value"], Level(1e-5, 1e-4))


def test_without_a_learned_baseline_nothing_but_the_policy_learns(
    llama: LoadedModel, tmp_path: Path
) -> None:
    run = Trained("reinforce", llama, on_policy_settings("reinforce"), tmp_path)
    assert run.checkpoint()["heads.safetensors"] == {}
    assert all(m["value/grad_norm"] == 0.0 for m in run.metrics)


def test_the_batch_mean_does_not_see_a_shift_of_all_scores(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """γ = 1 and the reward at the end: every return is shifted alike."""

    class Shifted(tinymodels.TokenShare):
        def score(self, *args: Any) -> list[float]:
            return [s + 8.0 for s in super().score(*args)]

    steps = {}
    for baseline in ("batch_mean", "none"):
        for name, kind in (("plain", tinymodels.TokenShare), ("shifted", Shifted)):
            settings = on_policy_settings(
                "reinforce", baseline=baseline, normalise_scores=False, updates=1, adam_eps=1e-3
            )
            run = Trained(
                "reinforce",
                tinymodels.load(folders["llama"]),
                settings,
                tmp_path / baseline / name,
                reward=kind(7),
            )
            steps[baseline, name] = run.lora_b()
    for key, weight in steps["batch_mean", "plain"].items():
        assert_close(steps["batch_mean", "shifted"][key], weight, Level(1e-5, 1e-3))
    moved = [
        float((steps["none", "shifted"][k] - v).abs().max())
        for k, v in steps["none", "plain"].items()
    ]
    assert max(moved) > 1e-3, "without a baseline it does"


def test_before_the_first_batch_the_moving_average_is_0(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    runs = []
    for baseline in ("moving_average", "none"):
        settings = on_policy_settings("reinforce", baseline=baseline, updates=2)
        model = tinymodels.load(folders["llama"])
        runs.append(Trained("reinforce", model, settings, tmp_path / baseline))
    moving, none = (run.metrics for run in runs)
    assert_close(moving[0]["loss/policy"], none[0]["loss/policy"], EXACT)
    assert moving[1]["loss/policy"] != none[1]["loss/policy"]
