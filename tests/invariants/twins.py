"""The gradient of every optimiser step, computed another way.

A twin says in plain loops how hard a step pulls at each token, dL/dlogp. Its gradient then comes
from forward passes of the transformers model alone: answer by answer, no padding, no masks, no
micro-batches, log-softmax over the whole vocabulary.

B answers, T response tokens; lists of lists hold an answer's own tokens only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.close import Level, assert_close
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.learner import Learner

Rows = list[list[float]]
# Of a batch and the log-probabilities now: dL/dlogp of each token.
Pull = Callable[[Rollout, Rows], Rows]
RELATIVE = 2e-4  # float32 sums in another order, relative to the largest entry


class Twin:
    """Compares the gradient of each step of a run with that of a twin."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, pull: Pull) -> None:
        self.n_steps = 0
        self.pulls: list[Rows] = []
        self._rollout: Rollout | None = None
        roll_out, step = on_policy.roll_out, Learner.step

        def noting(*args: Any, **kwargs: Any) -> Generator[Any, None, Rollout]:
            self._rollout = yield from roll_out(*args, **kwargs)
            return self._rollout

        def compared(learner: Learner[Any], totals: Any) -> None:
            self._compare(learner, pull)
            step(learner, totals)

        monkeypatch.setattr(on_policy, "roll_out", noting)
        monkeypatch.setattr(Learner, "step", compared)

    def _compare(self, learner: Learner[Any], pull: Pull) -> None:
        rollout = self._rollout
        assert rollout is not None
        logps = _plain_logps(learner, rollout)
        pulls = pull(rollout, [row.tolist() for row in logps])
        loss = torch.stack(
            [(torch.tensor(p) * row).sum() for p, row in zip(pulls, logps, strict=True)]
        ).sum()
        wanted = torch.autograd.grad(loss, learner.parameters, allow_unused=True)
        for parameter, gradient in zip(learner.parameters, wanted, strict=True):
            assert gradient is not None
            assert parameter.grad is not None
            size = max(float(gradient.abs().max()), 1e-7)
            assert_close(parameter.grad, gradient, Level(RELATIVE * size, 0.0))
        self.n_steps += 1
        self.pulls.append(pulls)


def _plain_logps(learner: Learner[Any], rollout: Rollout) -> list[Tensor]:
    found = []
    for row in range(len(rollout.scores)):
        prompt = rollout.prompt_ids[row][rollout.prompt_mask[row]]
        answer = rollout.response_ids[row][rollout.is_response[row]]
        logits = learner.model.model(input_ids=torch.cat([prompt, answer])[None]).logits[0]
        logps = (logits[len(prompt) - 1 : -1] / learner.settings.temperature).log_softmax(-1)
        found.append(logps[torch.arange(len(answer)), answer])
    return found


def own(field: Tensor, rollout: Rollout) -> Rows:
    """A (B, T) field as lists of each answer's own tokens."""
    return [values[keep].tolist() for values, keep in zip(field, rollout.is_response, strict=True)]


def differences(first: Rows, second: Rows) -> Rows:
    return [[a - b for a, b in zip(x, y, strict=True)] for x, y in zip(first, second, strict=True)]


def punished(rollout: Rollout, penalty: float) -> list[float]:
    """Scores less the penalty of answers that were cut."""
    return [
        score - (0.0 if ended else penalty)
        for score, ended in zip(rollout.scores.tolist(), rollout.ended.tolist(), strict=True)
    ]


def clipped_pull(
    advantage: float, ratio: float, low: float, high: float, dual: float = math.inf
) -> float:
    """d/dlogp of −min(ρA, clip(ρ)A), and of at most −cA where A < 0."""
    if advantage > 0:
        return 0.0 if ratio > 1 + high else -advantage * ratio
    return 0.0 if ratio < 1 - low or ratio > dual else -advantage * ratio


def whitened(rows: Rows) -> Rows:
    """Mean 0, variance 1 with N − 1, over all tokens."""
    flat = [x for row in rows for x in row]
    mean = sum(flat) / len(flat)
    spread = math.sqrt(sum((x - mean) ** 2 for x in flat) / (len(flat) - 1) + 1e-8)
    return [[(x - mean) / spread for x in row] for row in rows]
