"""Whole answers as token ids and their log-probabilities: for algorithms that learn from texts.

B answers, T answer tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.training import OfflineSettings, TrainingSettings
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message, Prompt
from workbench.events import Event, Progress, Warned
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.preference import sequence_logps
from workbench.rewards.neural import Encoded
from workbench.training.batches import FORWARD_FACTOR, is_out_of_memory, release, too_little
from workbench.training.learner import Learner

_TOLD_EVERY = 256

R = TypeVar("R")


def encode(
    model: LoadedModel, answers: Sequence[tuple[Prompt, str]], cancel: CancelToken
) -> Generator[Progress, None, list[Encoded]]:
    """Token ids of answers after their prompts, each closed with a stop token.

    Raises:
        Cancelled: On a stop as well: nothing was learned yet.
    """
    prompts: dict[tuple[Message, ...], tuple[int, ...]] = {}
    encoded = []
    for done, (prompt, text) in enumerate(answers):
        if done % _TOLD_EVERY == 0:
            cancel.raise_if_stopping()
            yield Progress(done, len(answers), "Reading the answers")
        if prompt.messages not in prompts:
            prompts[prompt.messages] = tuple(model.encode_prompt(prompt.messages))
        answer = encode_answer(model.tokenizer, text, model.stop_id)
        encoded.append(Encoded(prompts[prompt.messages], tuple(answer)))
    return encoded


def longest(model: LoadedModel, settings: OfflineSettings) -> int:
    """How many tokens prompt and answer may have together."""
    return min(settings.max_length, model.context_length)


def left_out(n: int, what: str, n_tokens: int) -> Warned:
    """What to tell of texts that are too long; `what` is one of them."""
    counted = f"1 {what} is" if n == 1 else f"{n} {what}s are"
    return Warned(
        f"{counted} longer than {n_tokens} tokens and left out.",
        "Raise Longest text if the model's context allows it.",
    )


class Scored(NamedTuple):
    """Log-probabilities of a batch of answers under one adapter, at temperature 1."""

    logps: Tensor  # (B, T), 0 on padding
    entropies: Tensor  # (B, T), 0 on padding
    is_answer: Tensor  # (B, T) bool, True up to and including the stop token

    def sums(self) -> Tensor:  # (B,)
        """Of whole answers."""
        return sequence_logps(self.logps, self.is_answer)


def forward(model: LoadedModel, answers: Sequence[Encoded]) -> Scored:
    """The active adapter's view of some answers, all in one batch; gradients as the caller set."""
    prompt_ids, prompt_mask = pad_prompts(model, [a.prompt for a in answers])
    answer_ids, is_answer = pad_answers(model, [a.answer for a in answers])
    states = model.response_states(prompt_ids, prompt_mask, answer_ids, is_answer)
    logps, entropies = model.logps(states, answer_ids, is_answer, temperature=1.0)
    return Scored(logps, entropies, is_answer)


@torch.no_grad()
def log_probabilities(
    learner: Learner[TrainingSettings], adapter: str | None, answers: Sequence[Encoded]
) -> Generator[Event, None, list[float]]:
    """Log-probability of each whole answer under an adapter (None: the base), no gradients.

    How many go through at once comes from the settings and not from what the steps had memory
    for, so that a resumed run gets the bits of the one that it goes on with.

    Raises:
        EnvironmentProblem: A single answer does not fit into memory.
    """
    model, mine = learner.model, answers[learner.ranks.share(len(answers))]
    longest_first = sorted(range(len(mine)), key=lambda row: -len(mine[row]))
    budget = learner.settings.micro_batch_tokens * FORWARD_FACTOR
    found = [0.0] * len(mine)
    done = 0
    while done < len(mine):
        yield Progress(done, len(mine), "Scoring the answers")
        n = max(1, budget // len(mine[longest_first[done]]))
        rows = longest_first[done : done + n]
        with adapters.active(model, adapter):
            sums = _sums(model, [mine[i] for i in rows])
        if sums is None:
            if len(rows) == 1:
                raise too_little()
            release(learner)
            budget = len(rows) // 2 * len(mine[rows[0]])
            yield Warned(
                f"Memory ran out with {len(rows)} answers at once; they are scored again, "
                f"{len(rows) // 2} at once.",
                "Nothing is lost. Lower Micro-batch in the next run.",
            )
            continue
        for row, value in zip(rows, sums, strict=True):
            found[row] = value
        done += len(rows)
    return [value for part in learner.ranks.gathered(found) for value in part]


def _sums(model: LoadedModel, answers: Sequence[Encoded]) -> list[float] | None:
    """Log-probabilities of whole answers; None when memory runs out."""
    try:
        sums: list[float] = forward(model, answers).sums().tolist()
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            return None
        raise
    return sums


def reference(
    learner: Learner[TrainingSettings], answers: Sequence[Encoded], cancel: CancelToken
) -> Generator[Event, None, dict[Encoded, float]]:
    """Log-probability of each whole answer under the reference, once for the whole run.

    Raises:
        Cancelled: On a stop as well: nothing was learned yet.
    """
    with learner.model.checking(cancel.raise_if_stopping):
        values = yield from log_probabilities(learner, learner.reference, answers)
    return dict(zip(answers, values, strict=True))


def reference_of(
    learner: Learner[TrainingSettings],
    ref: Mapping[Encoded, float],
    answers: Sequence[Encoded],
    policy: Tensor,  # (B,) log-probabilities of the answers under the policy as it is now
) -> Tensor:  # (B,)
    """Log-probabilities under the reference; before the first step they are the policy's own.

    So they are also where another batch rounds otherwise, in bfloat16 by tenths of a nat.
    """
    if learner.update == 0:
        return policy.detach()
    return torch.tensor([ref[a] for a in answers], device=policy.device)


def finished(steps: Generator[object, None, R]) -> R:
    """The result of steps that nobody watches."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: R = end.value
            return result
