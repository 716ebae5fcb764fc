"""Best of n: what a reward can do without any training, as the mark to beat.

Draw n answers of the base and give the one with the highest score. What that earns is told for
n = 1, 2, 4 … N from N + 1 answers to each prompt, as the mean over all ways to choose n of them
(`expected_best_of_n`), so that no n needs answers of its own. Beside the score that chooses, which
always rises, stands what did not choose: how often the best of n beats a plain answer in the eyes
of the annotator, and how much the annotator likes it. Where that turns down, the reward is
over-optimised (Gao et al. 2023, arXiv:2210.10760).

The distance from the base is known without measuring: at most log n − (n − 1)/n nats an answer,
while n times the sampling has to be paid for each answer, for ever. Teaching the policy the best
answers instead (rejection sampling, Touvron et al. 2023, arXiv:2307.09288, section 3.2.3) is what
keeping them is for.

P prompts, M = N + 1 answers to each.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.best_of_n import BestOfNSettings
from workbench.data.chat_template import decode_answer
from workbench.data.records import Prompt
from workbench.errors import Cancelled, UserError
from workbench.events import Evaluated, Event, Progress, Sample
from workbench.models import adapters
from workbench.models.decoding import sample, seeds
from workbench.models.loading import LoadedModel
from workbench.objectives.best_of_n import best_of_n_kl, expected_best_of_n, win_shares
from workbench.objectives.intervals import bootstrap_mean, wilson
from workbench.rewards.annotator import SimulatedAnnotator
from workbench.rewards.base import RewardFunction

_ANSWER = 7  # what a key of `seeds` is for


class Drawn(NamedTuple):
    """One answer: its ids, whether a stop token came, and the seed that it came from."""

    ids: list[int]
    is_finished: bool
    seed: int


@dataclass(frozen=True, slots=True)
class Best:
    """The best of N answers to a prompt."""

    prompt: Prompt
    text: str
    answer: Drawn
    score: float


def best_of_n(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    reward: RewardFunction,
    annotator: SimulatedAnnotator | None,
    settings: BestOfNSettings,
    cancel: CancelToken,
) -> Generator[Event, None, list[Best]]:
    """Answer each prompt N + 1 times with the base, choose by the reward, and tell the curve.

    Yields Progress, a Sample with the best of N for each prompt, and an Evaluated for each n,
    whose step is n. A stop tells what the prompts answered so far say.

    Args:
        model: The base answers, whatever adapters sit on it.
        prompts: What to answer.
        reward: Chooses.
        annotator: Gives a second opinion on what was chosen; None for the reward only.
        settings: How many answers, and how they are drawn.
        cancel: Stop and cancel.

    Returns:
        The best of the first N answers to each prompt.

    Raises:
        UserError: There are no prompts.
        Cancelled: The token was cancelled, or stopped before the first prompt was done.
    """
    chosen = prompts[: settings.n_prompts or None]
    if not chosen:
        raise UserError("There are no prompts to answer.", "Add some on the Prompts page.")
    drawn = yield from _draw(model, chosen, settings, cancel)
    chosen = chosen[: len(drawn)]
    scores, texts = [], []
    for i, (prompt, answers) in enumerate(zip(chosen, drawn, strict=True)):
        yield Progress(i, len(chosen), "Scoring")
        with model.checking(cancel.raise_if_cancelled):
            ids = [answer.ids for answer in answers]
            scores.append(reward.score([prompt.messages] * len(answers), ids))
        texts.append([decode_answer(model.tokenizer, answer.ids) for answer in answers])
    best = []
    for prompt, answers, row, words in zip(chosen, drawn, scores, texts, strict=True):
        k = max(range(settings.n), key=row.__getitem__)
        best.append(Best(prompt, words[k], answers[k], row[k]))
        # Drawn from the base itself: its log ratio to the reference is 0.
        n_tokens, is_finished = len(answers[k].ids), answers[k].is_finished
        yield Sample(settings.n, prompt.id, words[k], row[k], 0.0, n_tokens, is_finished)
    utilities = None
    if annotator is not None:
        utilities = _table([[annotator.utility(text) for text in row] for row in texts])
    lengths = _table([[len(answer.ids) for answer in answers] for answers in drawn])
    for n in settings.sizes:
        yield Evaluated(n, _point(n, _table(scores), utilities, lengths))
    return best


def _draw(
    model: LoadedModel, prompts: Sequence[Prompt], settings: BestOfNSettings, cancel: CancelToken
) -> Generator[Event, None, list[list[Drawn]]]:
    """N + 1 answers to each prompt, or to those that were done when a stop came."""
    n_each = settings.n + 1
    tasks = [
        (model.encode_prompt(prompt.messages), seed)
        for prompt in prompts
        for seed in seeds(settings.seed, _ANSWER, prompt.id, n=n_each)
    ]
    drawn: list[Drawn] = []
    for start in range(0, len(tasks), settings.batch_size):
        part = tasks[start : start + settings.batch_size]
        batch: list[Drawn | None] = [None] * len(part)
        try:
            with adapters.active(model, None):
                for row, ids, ended in sample(
                    model,
                    [ids for ids, _ in part],
                    [seed for _, seed in part],
                    max_new_tokens=settings.max_new_tokens,
                    temperature=settings.temperature,
                    wants_logps=False,
                    check=cancel.raise_if_stopping,
                ):
                    batch[row] = Drawn(ids, ended, part[row][1])
                    done = start + sum(answer is not None for answer in batch)
                    yield Progress(done, len(tasks), "Answering with the base model")
        except Cancelled:
            if cancel.is_cancelled or len(drawn) < n_each:
                raise
            break
        drawn += [answer for answer in batch if answer is not None]
    return [drawn[i : i + n_each] for i in range(0, len(drawn) - n_each + 1, n_each)]


def _table(rows: Sequence[Sequence[float]]) -> Tensor:  # (P, M)
    return torch.tensor(rows, dtype=torch.float64)


def _point(
    n: int,
    scores: Tensor,  # (P, M)
    utilities: Tensor | None,  # (P, M), of the annotator
    lengths: Tensor,  # (P, M)
) -> dict[str, float]:
    """What the best of n is worth, with 95 % intervals over prompts."""
    ordered, order = scores.sort(dim=1, stable=True)
    figures = {"best_of_n/kl_bound": best_of_n_kl(n)}
    measured = {"score": ordered, "length": lengths.gather(1, order)}
    if utilities is not None:
        measured["utility"] = utilities.gather(1, order)
        wins = win_shares(scores, utilities, n).tolist()
        low, high = wilson(sum(wins), len(wins))
        figures |= _with_interval("win_rate", sum(wins) / len(wins), low, high)
    for name, values in measured.items():
        by_prompt = expected_best_of_n(values, n).tolist()
        low, high = bootstrap_mean(by_prompt)
        figures |= _with_interval(name, sum(by_prompt) / len(by_prompt), low, high)
    return figures


def _with_interval(name: str, mean: float, low: float, high: float) -> dict[str, float]:
    name = f"best_of_n/{name}"
    return {name: mean, f"{name}_low": low, f"{name}_high": high}
