"""What is asked about a run's own answers while it goes on: a held-back judge, and people."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from workbench.cancel import CancelToken
from workbench.config.training import OnPolicySettings
from workbench.data.chat_template import decode_answer
from workbench.data.records import Prompt
from workbench.events import Asked, OwnAnswer
from workbench.models import adapters
from workbench.models.decoding import sample, seeds
from workbench.objectives.rollout import Rollout
from workbench.rewards.second_opinion import Opinion
from workbench.training.answers import finished
from workbench.training.learner import Learner
from workbench.training.rollouts import SAMPLE

_SECOND_ANSWER = 7  # what a key of `seeds` is for

S = TypeVar("S", bound=OnPolicySettings)


def judged(
    learner: Learner[S],
    judge: Opinion | None,
    batch: Sequence[Prompt],
    rollout: Rollout,
    cancel: CancelToken,
) -> dict[str, float]:
    """The held-back judge's mean opinion of some answers of the batch, when it is its turn.

    A judge that compares gets the reference's answers to the same prompts, drawn with the same
    luck. An answer that it has no opinion of does not count.
    """
    settings = learner.settings
    is_due = learner.update == 1 or learner.update % settings.judge_every == 0
    if judge is None or not is_due or not learner.ranks.is_main:
        return {}
    rows = _rows(len(batch), settings.judge_answers, settings.answers_per_prompt)
    texts = [answer.text for answer in _of_batch(learner, rollout, rows)]
    references: list[str] = []
    if judge.is_relative:
        drawn = _drawn(learner, rollout, rows, learner.reference, SAMPLE, cancel)
        references = [answer.text for answer in drawn]
    with learner.model.checking(cancel.raise_if_cancelled):
        said = judge.of([batch[row].messages for row in rows], texts, references)
    known = [value for value in said if value is not None and math.isfinite(value)]
    return {"judge/score": math.fsum(known) / len(known)} if known else {}


def asked(
    learner: Learner[S], batch: Sequence[Prompt], rollout: Rollout, cancel: CancelToken
) -> Asked:
    """Answers of the batch, each with another one of the policy as it is now, to be compared."""
    settings = learner.settings
    rows = _rows(len(batch), settings.labels_wanted, settings.answers_per_prompt)
    pairs = zip(
        [batch[row].id for row in rows],
        _of_batch(learner, rollout, rows),
        _drawn(learner, rollout, rows, learner.adapter, _SECOND_ANSWER, cancel),
        strict=True,
    )
    return Asked(learner.update, tuple(pairs))


def _rows(n: int, wanted: int, per_prompt: int) -> list[int]:
    """Rows of different prompts; further answers to one prompt only when those are too few."""
    by_turn = [row for turn in range(per_prompt) for row in range(turn, n, per_prompt)]
    return sorted(by_turn[:wanted])


def _of_batch(learner: Learner[S], rollout: Rollout, rows: Sequence[int]) -> list[OwnAnswer]:
    ids = [rollout.response_ids[row][rollout.is_response[row]].tolist() for row in rows]
    ended = rollout.ended[list(rows)].tolist()
    return _answers(learner, ids, ended, _seeds(learner, SAMPLE, rows))


def _drawn(
    learner: Learner[S],
    rollout: Rollout,
    rows: Sequence[int],
    adapter: str | None,
    purpose: int,
    cancel: CancelToken,
) -> list[OwnAnswer]:
    """New answers of an adapter to the prompts of these rows."""
    settings, own_seeds = learner.settings, _seeds(learner, purpose, rows)
    prompts = [rollout.prompt_ids[row][rollout.prompt_mask[row]].tolist() for row in rows]
    with adapters.active(learner.model, adapter):
        samples = finished(
            sample(
                learner.model,
                prompts,
                own_seeds,
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                check=cancel.raise_if_cancelled,
            )
        )
    rows_of = zip(samples.response_ids, samples.is_response, strict=True)
    ids = [answer[is_response].tolist() for answer, is_response in rows_of]
    return _answers(learner, ids, samples.ended.tolist(), own_seeds)


def _seeds(learner: Learner[S], purpose: int, rows: Sequence[int]) -> list[int]:
    """Those of the batch, which was drawn in the update before the counter moved."""
    settings = learner.settings
    every = seeds(settings.seed, purpose, learner.update - 1, n=settings.batch_size)
    return [every[row] for row in rows]


def _answers(
    learner: Learner[S],
    answers: Sequence[Sequence[int]],
    ended: Sequence[bool],
    drawn_with: Sequence[int],
) -> list[OwnAnswer]:
    return [
        OwnAnswer(decode_answer(learner.model.tokenizer, list(ids)), tuple(ids), is_whole, seed)
        for ids, is_whole, seed in zip(answers, ended, drawn_with, strict=True)
    ]
