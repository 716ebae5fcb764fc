"""Soft Q-learning finds the policy that its objective has as the only optimum, in closed form.

Of all policies the one with the largest reward − β·KL is ref·exp(r/β), normalised, over whole
answers; the value of the first state is β times the logarithm of what it is divided by. Nearness
is the total variation between distributions: half the sum of what they differ by, at most 1.

Bandit: answers of one token, three of which have rewards. Chain: answers of two tokens, of which
only both together are worth something, so that the first must learn of it through the value
between them. All answers are enumerated. β is such that the logits of the tiny model, which are
bounded, can say the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.training import Trained, on_policy_settings
from workbench.data.records import Message, Prompt
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.q_learning import path_consistency_loss
from workbench.training import soft_q

UPDATES = 40
SETTINGS: dict[str, Any] = {
    "updates": UPDATES,
    "batch_size": 64,
    "micro_batch_tokens": 4096,
    "epochs": 2,
    "missing_eos_penalty": 0.0,
    "normalise_scores": False,
    "n_samples": 0,
    "temperature": 1.0,
}
OTHERS = [token for token in range(len(tinymodels.VOCABULARY)) if token != tinymodels.EOS]


class Task(NamedTuple):
    """All answers, what each earns, and the settings that the task needs."""

    answers: list[tuple[int, ...]]
    reward: Callable[[Sequence[int]], float]
    settings: dict[str, Any]


BANDIT = Task(
    [(token,) for token in range(len(tinymodels.VOCABULARY))],
    lambda answer: {7: 1.0, 3: 0.5, 12: -1.0}.get(answer[0], 0.0),
    {"max_new_tokens": 1, "kl_coef": 0.3, "lora": {"r": 8, "alpha": 16}},
)
CHAIN = Task(
    [(tinymodels.EOS,), *((a, b) for a in OTHERS for b in range(len(tinymodels.VOCABULARY)))],
    lambda answer: float(len(answer) == 2 and all(token % 2 and token > 2 for token in answer)),
    {"max_new_tokens": 2, "kl_coef": 0.5, "lora": {"r": 8, "alpha": 32}},
)


class Table:
    """A task's rewards, or their opposite."""

    name = "table"

    def __init__(self, task: Task, sign: float) -> None:
        self.task, self.sign = task, sign

    def score(
        self,
        prompts: Sequence[Sequence[Message]],  # noqa: ARG002
        answers: Sequence[Sequence[int]],
    ) -> list[float]:
        return [self.sign * self.task.reward(answer) for answer in answers]


def _distribution(
    model: LoadedModel, prompt: Prompt, answers: Sequence[tuple[int, ...]], adapter: str | None
) -> Tensor:
    """Probabilities of whole answers."""
    encoded = model.encode_prompt(prompt.messages)
    prompt_ids, prompt_mask = pad_prompts(model, [encoded] * len(answers))
    ids, is_answer = pad_answers(model, answers)
    with torch.no_grad(), adapters.active(model, adapter):
        states = model.response_states(prompt_ids, prompt_mask, ids, is_answer)
        logps, _ = model.logps(states, ids, is_answer, 1.0)
    return logps.sum(1).exp()


class Learned:
    """A run on a task: the optimum, and how near reference and policy are to it."""

    def __init__(
        self, task: Task, folder: Path, run_dir: Path, *, sign: float = 1.0, **changes: Any
    ) -> None:
        settings = on_policy_settings("soft-q", **{**SETTINGS, **task.settings, **changes})
        model, (prompt, *_) = tinymodels.load(folder), tinymodels.prompts(1)
        beta = task.settings["kl_coef"]
        rewards = torch.tensor([task.reward(answer) for answer in task.answers])
        reference = _distribution(model, prompt, task.answers, None)
        assert float(reference.sum()) == pytest.approx(1.0, abs=1e-4)
        weights = reference * torch.exp(rewards / beta)
        optimum = weights / weights.sum()
        self.optimal_value = float(beta * weights.sum().log())

        run = Trained(
            "soft-q", model, settings, run_dir, reward=Table(task, sign), prompts=[prompt]
        )
        policy = _distribution(model, prompt, task.answers, "policy")
        self.values = [m["values/v"] for m in run.metrics]
        self.before = float((reference - optimum).abs().sum() / 2)
        self.after = float((policy - optimum).abs().sum() / 2)
        self.gain = float((policy - reference) @ rewards) / float((optimum - reference) @ rewards)


@pytest.mark.parametrize("seed", range(5))
def test_the_policy_becomes_the_closed_form(seed: int, llama_folder: Path, tmp_path: Path) -> None:
    """40 updates: at least 90 % of the way to the optimum, whose value is known."""
    learned = Learned(BANDIT, llama_folder, tmp_path, seed=seed)
    assert learned.before > 0.4
    assert learned.after < 0.1 * learned.before
    assert sum(learned.values[-5:]) / 5 == pytest.approx(learned.optimal_value, abs=0.03)


@pytest.mark.parametrize("consistency", ["token", "answer", "both"])
def test_a_reward_at_the_end_reaches_the_first_token(
    consistency: str, llama_folder: Path, tmp_path: Path
) -> None:
    """40 updates: at least 80 % of the reward that the optimum gains on the reference."""
    learned = Learned(CHAIN, llama_folder, tmp_path, consistency=consistency)
    assert learned.before > 0.4
    assert learned.after < 0.5 * learned.before
    assert 0.8 < learned.gain < 1.1


@pytest.mark.parametrize("task", [BANDIT, CHAIN], ids=["bandit", "chain"])
def test_a_reward_turned_round_leads_away(task: Task, llama_folder: Path, tmp_path: Path) -> None:
    learned = Learned(task, llama_folder, tmp_path, sign=-1.0)
    assert learned.after > learned.before + 0.05
    assert learned.gain < -0.2


def test_a_turned_sign_in_the_loss_leads_away(
    llama_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def turned(
        logps: Tensor, ref_logps: Tensor, values: Tensor, rewards: Tensor, *rest: Any
    ) -> Tensor:
        return path_consistency_loss(ref_logps, logps, values, rewards, *rest)

    monkeypatch.setitem(soft_q._CONSISTENCY, "token", (turned,))
    learned = Learned(BANDIT, llama_folder, tmp_path, consistency="token")
    assert learned.after > learned.before + 0.05
    assert learned.gain < -0.2
