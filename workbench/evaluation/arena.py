"""Before and after: same prompts, same luck, base and trained side by side.

Base and trained model draw from the same uniform numbers, so that an answer that training did
not touch comes out the same on both sides and counts as a tie.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from workbench.cancel import CancelToken
from workbench.config.evaluation import EvaluationSettings
from workbench.data.chat_template import decode_answer
from workbench.data.records import Message, Prompt
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Progress
from workbench.models import adapters, policy
from workbench.models.decoding import sample, seeds
from workbench.models.loading import LoadedModel
from workbench.models.policy import Policy
from workbench.objectives.intervals import cluster_bootstrap_mean, wilson
from workbench.rewards.annotator import SimulatedAnnotator
from workbench.rewards.base import RewardFunction

ADAPTER = "policy"
_ANSWER = 4  # what a key of `seeds` is for

Winner = Literal["base", "trained", "tie"]


@dataclass(frozen=True, slots=True)
class Answered:
    """One answer with what was measured of it.

    `reward` is None when no reward model scored; `kl` is in nats per answer, 0 for the base.
    """

    text: str
    token_ids: tuple[int, ...]
    n_tokens: int
    is_finished: bool
    reward: float | None
    kl: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Both answers to one prompt drawn with one seed, and who wins; None where nobody judged."""

    prompt_id: int
    seed: int
    base: Answered
    trained: Answered
    reward_winner: Winner | None
    annotator_winner: Winner | None

    def to_dict(self) -> dict[str, object]:
        """For storing as JSON."""
        return asdict(self)


def compare(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    adapter_dir: Path,
    reward: RewardFunction | None,
    annotator: SimulatedAnnotator | None,
    settings: EvaluationSettings,
    cancel: CancelToken,
) -> Generator[Event, None, tuple[list[Pair], Mapping[str, float]]]:
    """Answer each prompt with base and trained model and judge the pairs.

    Yields Progress and one Evaluated with the same metrics that are returned beside the pairs:
    win rates (ties count half) with Wilson intervals over prompts, means with intervals that
    resample whole prompts.

    Raises:
        UserError: There are no prompts, or the adapter does not fit the model.
        Cancelled: The token was cancelled.
    """
    chosen = list(prompts[: settings.n_prompts or None])
    if not chosen:
        raise UserError(
            "There are no held-out prompts to compare on.",
            "Put some prompts into the held-out split.",
        )
    after = policy.load(model, ADAPTER, adapter_dir)
    tasks = [
        (prompt, seeds(settings.seed, _ANSWER, prompt.id, n=settings.answers_per_prompt)[k])
        for prompt in chosen
        for k in range(settings.answers_per_prompt)
    ]
    total = 2 * len(tasks)
    base = yield from answers(model, None, tasks, settings, cancel, 0, total)
    trained = yield from answers(model, after, tasks, settings, cancel, len(tasks), total)
    pairs = []
    for start in range(0, len(tasks), settings.batch_size):
        yield Progress(start, len(tasks), "Scoring both sides")
        part = slice(start, start + settings.batch_size)
        pairs += _judged(model, tasks[part], base[part], trained[part], reward, annotator, cancel)
    metrics = summary(pairs)
    yield Evaluated(0, metrics)
    return pairs, metrics


Drawn = tuple[list[int], bool, float]
"""Ids of an answer, whether a stop token came, and its KL to the reference in nats."""


def answers(
    model: LoadedModel,
    trained: Policy | None,
    tasks: Sequence[tuple[Prompt, int]],
    settings: EvaluationSettings,
    cancel: CancelToken,
    done: int,
    total: int,
) -> Generator[Event, None, list[Drawn]]:
    """Answer each prompt with its seed: by the base, or by a policy that is loaded.

    Args:
        model: The base with its adapters.
        trained: None for the base alone.
        tasks: Prompts and seeds.
        settings: How answers are drawn.
        cancel: Notice a cancel in every layer.
        done: Answers made before, for the progress that is told.
        total: All answers that are going to be made.
    """
    side, adapter, guidance = "base", None, None
    if trained is not None:
        side, adapter, guidance = "trained", trained.adapter, trained.guidance
    drawn: list[Drawn] = []
    for start in range(0, len(tasks), settings.batch_size):
        part = tasks[start : start + settings.batch_size]
        with adapters.active(model, adapter):
            sampling = sample(
                model,
                [model.encode_prompt(prompt.messages) for prompt, _ in part],
                [seed for _, seed in part],
                max_new_tokens=settings.max_new_tokens,
                temperature=settings.temperature,
                steer=guidance,
                check=cancel.raise_if_cancelled,
            )
            while True:
                try:
                    next(sampling)
                except StopIteration as end:
                    samples = end.value
                    break
                done += 1
                yield Progress(done, total, f"Answering with the {side} model")
        kls = [0.0] * len(part)
        if adapter is not None:
            with torch.no_grad(), model.checking(cancel.raise_if_cancelled):
                states = model.response_states(*samples[:4])
                reference, _ = model.logps(
                    states,
                    samples.response_ids,
                    samples.is_response,
                    settings.temperature or 1.0,
                )
            kls = (samples.logps - reference).sum(1).tolist()
        for row in range(len(part)):
            ids = samples.response_ids[row][samples.is_response[row]].tolist()
            drawn.append((ids, bool(samples.ended[row]), kls[row]))
    return drawn


def _judged(
    model: LoadedModel,
    tasks: Sequence[tuple[Prompt, int]],
    base: Sequence[Drawn],
    trained: Sequence[Drawn],
    reward: RewardFunction | None,
    annotator: SimulatedAnnotator | None,
    cancel: CancelToken,
) -> list[Pair]:
    messages = [prompt.messages for prompt, _ in tasks]
    with model.checking(cancel.raise_if_cancelled):
        sides = [
            [
                Answered(
                    decode_answer(model.tokenizer, ids), tuple(ids), len(ids), ended, score, kl
                )
                for (ids, ended, kl), score in zip(
                    drawn, _scores(reward, messages, drawn), strict=True
                )
            ]
            for drawn in (base, trained)
        ]
    pairs = []
    for (prompt, seed), before, after in zip(tasks, *sides, strict=True):
        by_reward = by_annotator = None
        if before.reward is not None and after.reward is not None:
            by_reward = _winner(before.reward, after.reward)
        if annotator is not None:
            # Asked without its noise: its rule is the truth.
            by_annotator = _winner(annotator.utility(before.text), annotator.utility(after.text))
        pairs.append(Pair(prompt.id, seed, before, after, by_reward, by_annotator))
    return pairs


def _scores(
    reward: RewardFunction | None, messages: Sequence[Sequence[Message]], drawn: Sequence[Drawn]
) -> Sequence[float | None]:
    return [None] * len(drawn) if reward is None else reward.score(messages, [d[0] for d in drawn])


def _winner(before: float, after: float) -> Winner:
    """The side of higher value."""
    difference = after - before
    if difference == 0:
        return "tie"
    return "trained" if difference > 0 else "base"


def summary(pairs: Sequence[Pair]) -> dict[str, float]:
    """Win rates and means with 95 % intervals; of a judge that was not there, nothing.

    A win rate's interval is Wilson's over prompts, each prompt counting once with its mean
    result: answers to one prompt are not independent, and this never makes the interval too
    narrow.
    """
    prompts = [p.prompt_id for p in pairs]
    metrics = {"n_pairs": float(len(pairs)), "n_prompts": float(len(set(prompts)))}
    for name, winners in (
        ("win_rate_reward", [p.reward_winner for p in pairs]),
        ("win_rate", [p.annotator_winner for p in pairs]),
    ):
        if None in winners:
            continue
        by_prompt: dict[int, list[float]] = {}
        for prompt, winner in zip(prompts, winners, strict=True):
            point = {"trained": 1.0, "tie": 0.5, "base": 0.0}[str(winner)]
            by_prompt.setdefault(prompt, []).append(point)
        means = [sum(points) / len(points) for points in by_prompt.values()]
        low, high = wilson(sum(means), len(means))
        metrics |= {name: sum(means) / len(means), f"{name}_low": low, f"{name}_high": high}
    rewards = {
        "reward_before": [p.base.reward for p in pairs if p.base.reward is not None],
        "reward_after": [p.trained.reward for p in pairs if p.trained.reward is not None],
    }
    for name, values in {
        **{name: scores for name, scores in rewards.items() if scores},
        "kl": [p.trained.kl for p in pairs],
        "length_before": [float(p.base.n_tokens) for p in pairs],
        "length_after": [float(p.trained.n_tokens) for p in pairs],
    }.items():
        low, high = cluster_bootstrap_mean(values, prompts)
        metrics |= {name: sum(values) / len(values), f"{name}_low": low, f"{name}_high": high}
    return metrics
