"""What PPO can do besides its defaults, each against loops.

numerics.md items 18 (KL in the loss), 26 (dual clip, clip-higher) and 37 (own value network), and
rewards of single tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.close import EXACT, FORWARD, assert_close
from tests.invariants.twins import Rows, Twin, clipped_pull, differences, own, punished, whitened
from tests.tinymodels import TokenShare
from tests.training import TOKEN, Trained, on_policy_settings
from workbench.config import toml
from workbench.config.lora import LoraSettings
from workbench.config.ppo import PPOSettings
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.objectives.rollout import Rollout
from workbench.rewards.neural import RewardModel
from workbench.training import ppo
from workbench.training.learner import Learner
from workbench.training.policy_gradient import Penalty, rewards_of_tokens

LOW, BETA, PENALTY, LAMBDA = 0.05, 0.3, 0.7, 0.8
SETTINGS: dict[str, Any] = {
    "epochs": 3,
    "clip_range": LOW,
    "kl_coef": BETA,
    "missing_eos_penalty": PENALTY,
    "normalise_scores": False,
    "value_coef": 0.0,  # values stay 0, and their loss does not pull at the policy
    "gae_lambda": LAMBDA,
    "lr_schedule": "constant",
}


class Pull:
    """dL/dlogp of the clipped loss, with what a variant changes."""

    def __init__(
        self,
        *,
        high: float = LOW,
        dual: float = math.inf,
        in_loss: bool = False,
        token_scores: bool = False,
        end_score: bool = True,
    ) -> None:
        self.high, self.dual, self.in_loss = high, dual, in_loss
        self.token_scores, self.end_score = token_scores, end_score
        self.n_dual = self.n_high = 0

    def __call__(self, rollout: Rollout, logps: Rows) -> Rows:
        advantages = whitened([self._gae(r) for r in self._rewards(rollout)])
        n_tokens = sum(map(len, logps))
        ratios = differences(logps, own(rollout.old_logps, rollout))
        distances = differences(logps, own(rollout.ref_logps, rollout))
        pulls = []
        for advantage, ratio, distance in zip(advantages, ratios, distances, strict=True):
            row = []
            for a, log_ratio, d in zip(advantage, ratio, distance, strict=True):
                rho = math.exp(log_ratio)
                self.n_dual += a < 0 and rho > self.dual
                self.n_high += a > 0 and 1 + LOW < rho <= 1 + self.high
                pull = clipped_pull(a, rho, LOW, self.high, self.dual)
                row.append((pull + (BETA * rho * d if self.in_loss else 0.0)) / n_tokens)
            pulls.append(row)
        return pulls

    def _rewards(self, rollout: Rollout) -> Rows:
        kl = differences(own(rollout.old_logps, rollout), own(rollout.ref_logps, rollout))
        rewards = [[0.0 if self.in_loss else -BETA * d for d in row] for row in kl]
        scores = punished(rollout, PENALTY)
        gains = own(rollout.token_scores, rollout) if rollout.token_scores is not None else None
        for i, row in enumerate(rewards):
            if self.token_scores:
                assert gains is not None
                row[:] = [r + g for r, g in zip(row, gains[i], strict=True)]
                row[-1] -= 0.0 if self.end_score else sum(gains[i])
            row[-1] += scores[i]
        return rewards

    @staticmethod
    def _gae(rewards: Sequence[float]) -> list[float]:
        """V = 0 and γ = 1: A_t = Σ_{k≥t} λ^{k−t}·r_k."""
        n = len(rewards)
        return [sum(LAMBDA ** (k - t) * rewards[k] for k in range(t, n)) for t in range(n)]


def _run(model: LoadedModel, folder: Path, **changes: Any) -> Trained:
    reward = changes.pop("reward", None)
    settings = on_policy_settings("ppo", **{**SETTINGS, **changes})
    return Trained("ppo", model, settings, folder, reward=reward)


def test_every_step_is_that_of_the_twin(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin = Twin(monkeypatch, Pull())
    run = _run(llama, tmp_path)
    assert twin.n_steps == 9
    assert all(m["policy/clip_fraction"] > 0.1 for m in run.metrics)


def test_clip_higher_lets_rare_tokens_rise_further(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = Pull(high=0.4)
    twin = Twin(monkeypatch, pull)
    _run(llama, tmp_path, clip_range_high=0.4)
    assert twin.n_steps == 9
    assert pull.n_high > 20, "ratios between the two clips"


def test_a_dual_clip_lets_go_of_bad_tokens_that_became_likely(
    llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With c = 1.1, which is nearer than anyone would set it, so that it is met."""
    pull = Pull(dual=1.1)
    twin = Twin(monkeypatch, pull)
    _run(llama, tmp_path, dual_clip=1.1)
    assert twin.n_steps == 9
    assert pull.n_dual > 5


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_kl_in_the_loss_leaves_the_reward_alone(
    estimator: str, llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in both places by accident (OpenRLHF #768), and with the gradient of the KL (#4967)."""
    twin = Twin(monkeypatch, Pull(in_loss=True))
    run = _run(llama, tmp_path, kl_in="loss", kl_estimator=estimator)
    assert twin.n_steps == 9
    assert run.metrics[-1]["objective/kl"] > 0.01


def test_k1_in_the_loss_is_refused() -> None:
    with pytest.raises(toml.SettingsError, match="k2 or k3"):
        toml.validate(PPOSettings, {"kl_in": "loss", "kl_estimator": "k1"})


def test_kl_in_the_loss_holds_the_policy_too(folders: dict[str, Path], tmp_path: Path) -> None:
    kl = {}
    for beta in (0.0, 3.0):
        changes = {"kl_in": "loss", "kl_estimator": "k3", "kl_coef": beta, "updates": 8}
        model = tinymodels.load(folders["llama"])
        run = _run(model, tmp_path / str(beta), **changes, learning_rate=5e-3, clip_range=0.2)
        kl[beta] = sum(m["objective/kl"] for m in run.metrics[-3:]) / 3
    assert kl[0.0] > 0.3
    assert abs(kl[3.0]) < 0.3 * kl[0.0]


class PrefixShare(TokenShare):
    """The share of a token so far, of eight: a reward with something to say of each token."""

    def score_prefixes(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[list[float]]:
        return [
            [0.25 + sum(t == self.token for t in answer[:k]) / 8 for k in range(len(answer) + 1)]
            for answer in answers
        ]


@pytest.mark.parametrize(("where", "end_score"), [("token", False), ("both", True)])
def test_rewards_of_tokens_are_what_each_added(
    where: str,
    end_score: bool,
    llama: LoadedModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """token: r_t is the gain of token t, and the rest of the score is paid at the end."""
    twin = Twin(monkeypatch, Pull(token_scores=True, end_score=end_score))
    _run(llama, tmp_path, reward_at=where, reward=PrefixShare(TOKEN))
    assert twin.n_steps == 9


@pytest.mark.parametrize("where", ["end", "token", "both"])
def test_rewards_of_an_answer_add_up_to_its_score(
    where: str, llama: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Normalised, clipped, punished for no end: wherever it is paid, the optimum stays."""
    n_batches = 0

    def checked(learner: Learner[PPOSettings], rollout: Rollout, cost: Penalty) -> Tensor:
        nonlocal n_batches
        rewards = rewards_of_tokens(learner, rollout, cost)
        wanted = cost.scores - cost.in_reward * cost.kl.sum(1)
        if where == "both":
            assert rollout.token_scores is not None
            scale = learner.counters["score_scale"]
            wanted = wanted + rollout.token_scores.sum(1) / scale
        assert_close(rewards.sum(1), wanted, FORWARD)
        assert not rewards[~rollout.is_response].any()
        n_batches += 1
        return rewards

    monkeypatch.setattr(ppo, "rewards_of_tokens", checked)
    changes = {"reward_at": where, "normalise_scores": True, "score_clip": 1.0}
    _run(llama, tmp_path, **changes, reward=PrefixShare(TOKEN))
    assert n_batches == 3


def test_a_reward_for_whole_answers_only_says_so(llama: LoadedModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="token share can only score whole answers"):
        _run(llama, tmp_path, reward_at="token")


def test_a_reward_model_pays_token_by_token(
    causal_model: LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own beginnings of answers add up to its score."""
    model = causal_model
    reward = RewardModel.fresh(model, LoraSettings(r=2), seed=1)
    for parameter in reward.trainable:
        parameter.data += 0.1
    adapters.freeze(model, "reward")
    starts: dict[tuple[int, ...], list[float]] = {}

    def noting(rollout: Rollout, logps: Rows) -> Rows:
        assert rollout.token_scores is not None
        before = rollout.scores - rollout.token_scores.sum(1)
        for row, start in enumerate(before.tolist()):
            prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist()
            starts.setdefault(tuple(prompt), []).append(start)
        return Pull(token_scores=True, end_score=False)(rollout, logps)

    twin = Twin(monkeypatch, noting)
    _run(model, tmp_path, reward_at="token", reward=reward, updates=2, epochs=1)
    assert twin.n_steps == 2
    assert len(starts) == 6
    for values in starts.values():  # what an answer starts from is its prompt's alone
        assert_close(values, [values[0]] * len(values), FORWARD)


def test_an_own_value_network_does_not_pull_at_the_policy(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    """The weight of the value loss shows in the policy's adapter with shared states only.

    From the second step on: V = w·h with w = 0 passes no gradient to h.
    """
    changes = {"epochs": 2, "updates": 1, "max_grad_norm": 1000.0, "adam_eps": 1e-3}
    moved = {}
    for network in ("own", "shared"):
        runs = [
            _run(
                tinymodels.load(folders["llama"]),
                tmp_path / f"{network}-{weight}",
                **changes,
                value_network=network,
                value_coef=weight,
            )
            for weight in (0.1, 5.0)
        ]
        first, second = (run.lora_b() for run in runs)
        moved[network] = max(float((second[k] - first[k]).abs().max()) for k in first)
    assert moved["own"] == 0.0
    assert moved["shared"] > 1e-5


def test_an_own_value_network_learns_to_predict(llama: LoadedModel, tmp_path: Path) -> None:
    changes = {"value_network": "own", "value_coef": 1.0, "updates": 12, "clip_range": 0.2}
    run = _run(llama, tmp_path, **changes)
    explained = [m["value/explained_variance"] for m in run.metrics]
    assert abs(explained[0]) < 1e-6, "V = 0 at the start explains nothing"
    assert max(explained[-4:]) > 0.1
    assert all(m["value/grad_norm"] > 0.0 for m in run.metrics)
    kept = run.checkpoint()["heads.safetensors"]
    assert isinstance(kept, dict)
    assert {name.split(".")[0] for name in kept} == {"value_head", "value_adapter"}


def test_the_value_networks_adapter_is_not_part_of_the_policy(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """What is exported has the policy's own logits, whatever else sits on the base."""
    run = _run(llama, tmp_path, value_network="own", value_coef=1.0)
    assert all(".value." not in name for name in run.adapter())
    ids = torch.tensor([[3, 4, 5, 6]])
    with torch.no_grad():
        with adapters.active(llama, "policy"):
            policy = llama.model(input_ids=ids).logits
        with adapters.active(llama, "value"):
            other = llama.model(input_ids=ids).logits
        adapters.remove_all(llama)
        adapters.load(llama, "again", tmp_path / "adapter")
        with adapters.active(llama, "again"):
            again = llama.model(input_ids=ids).logits
    assert_close(again, policy, EXACT)
    assert (other - policy).abs().max() > 1e-3
