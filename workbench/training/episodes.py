"""Answers as episodes of reinforcement learning: texts with scores, and batches of them.

A state is a prompt with the answer so far, an action the next token; the transition appends it,
and the stop token ends the episode. The reward is the score of the whole answer, paid at its last
token (or spread, `reward_at`). An answer whose generation was cut is read like any other, as a
text that ends where it ends.

B answers, P prompt tokens, T response tokens.
"""

from __future__ import annotations

import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.q_learning import QLearningSettings
from workbench.data.records import Prompt
from workbench.errors import UserError
from workbench.events import Event, Progress, Warned
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.advantages import place_rewards, shaping
from workbench.rewards.base import PartedReward, PrefixReward, RewardFunction
from workbench.rewards.neural import Encoded
from workbench.training.answers import encode, left_out, longest
from workbench.training.batches import is_out_of_memory, release, too_little
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner
from workbench.training.loop import require_finite

_FEWEST_PROMPTS = 2
_SCORED_AT_ONCE = 64

S = TypeVar("S", bound=QLearningSettings)


@dataclass(frozen=True, slots=True)
class Episode:
    """An answer as states, actions and rewards.

    Attributes:
        prompt_id: The prompt that it answers.
        text: Prompt and answer.
        score: Paid at the last token.
        gains: Paid at each token.
    """

    prompt_id: int
    text: Encoded
    score: float
    gains: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.text)

    @property
    def n_actions(self) -> int:
        """Tokens of the answer, the stop token included."""
        return len(self.text.answer)


class Batch(NamedTuple):
    """Episodes side by side."""

    prompt_ids: Tensor  # (B, P) left-padded
    prompt_mask: Tensor  # (B, P) bool
    response_ids: Tensor  # (B, T) right-padded
    is_response: Tensor  # (B, T) bool
    rewards: Tensor  # (B, T), 0 outside


def scored(
    learner: Learner[S], inputs: Inputs, cancel: CancelToken
) -> Generator[Event, None, list[Episode]]:
    """The answers that can be learned from, with their scores; those that are too long are told.

    Raises:
        UserError: Too few answers, no reward, or a score that is not a number.
        Cancelled: On a stop as well: nothing was learned yet.
    """
    model, reward, items = learner.model, inputs.need_reward(), inputs.answers
    encoded = yield from encode(model, [(i.prompt, i.answer) for i in items], cancel)
    limit = longest(model, learner.settings)
    found = [(i.prompt, text) for i, text in zip(items, encoded, strict=True) if len(text) <= limit]
    if n_long := len(items) - len(found):
        yield left_out(n_long, "answer", limit)
    n_prompts = len({prompt.id for prompt, _ in found})
    if n_prompts < _FEWEST_PROMPTS:
        raise UserError(
            f"There are {len(found)} usable answers on {n_prompts} prompts; training needs at "
            f"least {_FEWEST_PROMPTS} prompts, one of them to measure on.",
            "Generate or import more answers.",
        )
    episodes: list[Episode] = []
    with model.checking(cancel.raise_if_stopping):
        for start in range(0, len(found), _SCORED_AT_ONCE):
            cancel.raise_if_stopping()
            yield Progress(start, len(found), "Scoring the answers")
            part = found[start : start + _SCORED_AT_ONCE]
            mine = yield from _fitting(learner, part[learner.ranks.share(len(part))], reward)
            episodes += [episode for share in learner.ranks.gathered(mine) for episode in share]
    require_finite([e.score for e in episodes], f"The score of {reward.name}")
    return episodes


def _fitting(
    learner: Learner[S], answers: Sequence[tuple[Prompt, Encoded]], reward: RewardFunction
) -> Generator[Warned, None, list[Episode]]:
    """As `_score`, half as many at once where memory runs out.

    Raises:
        EnvironmentProblem: A single answer does not fit into memory.
    """
    try:
        return _score(learner.settings, answers, reward)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    if len(answers) == 1:
        raise too_little()
    release(learner)
    half = len(answers) // 2
    yield Warned(
        f"Memory ran out with {len(answers)} answers at once; they are scored again, {half} at "
        "once.",
        "Nothing is lost.",
    )
    first = yield from _fitting(learner, answers[:half], reward)
    return first + (yield from _fitting(learner, answers[half:], reward))


def _score(
    settings: QLearningSettings, answers: Sequence[tuple[Prompt, Encoded]], reward: RewardFunction
) -> list[Episode]:
    messages = [prompt.messages for prompt, _ in answers]
    ids = [text.answer for _, text in answers]
    potentials: list[list[float]] = []
    if settings.reward_at != "end":
        if not isinstance(reward, PrefixReward):
            raise UserError(
                f"{reward.name} can only score whole answers.",
                "Set Reward at to end, or choose a reward model.",
            )
        potentials = reward.score_prefixes(messages, ids)
        scores = [potential[-1] for potential in potentials]
    elif isinstance(reward, PartedReward):
        by_token = reward.pays_tokens
        scores, potentials = reward.pay(messages, ids, _unread, with_potentials=by_token)
    else:
        scores = reward.score(messages, ids)
    if potentials:
        gains = [tuple(b - a for a, b in pairwise(potential)) for potential in potentials]
    else:
        gains = [(0.0,) * len(answer) for answer in ids]
    return [
        Episode(prompt.id, text, score, gain)
        for (prompt, text), score, gain in zip(answers, scores, gains, strict=True)
    ]


def _unread(_reward: RewardFunction) -> None:
    """There is no rollout whose states a reward could go on from."""


def shaped(
    episodes: Sequence[Episode], known: Sequence[int], settings: QLearningSettings
) -> list[Episode]:
    """Scores normalised by those of `known`, and what the tokens get of them before the end."""
    shift, scale = 0.0, 1.0
    if settings.normalise_scores:
        scores = [episodes[i].score for i in known]
        shift, scale = statistics.fmean(scores), max(statistics.pstdev(scores), 1e-6)
    shaped = []
    for episode in episodes:
        gains = tuple(gain / scale for gain in episode.gains)
        if settings.reward_at != "both":
            gains = _shaping(gains, settings.gamma)
        score = (episode.score - shift) / scale
        shaped.append(replace(episode, score=score, gains=gains))
    return shaped


def _shaping(gains: Sequence[float], gamma: float) -> tuple[float, ...]:
    """What is paid earlier and taken back at the end, so that the return stays the score's."""
    rises = torch.tensor([gains], dtype=torch.float64)
    paid: list[float] = shaping(rises, torch.ones_like(rises, dtype=torch.bool), gamma)[0].tolist()
    return tuple(paid)


def batched(model: LoadedModel, episodes: Sequence[Episode]) -> Batch:
    """Episodes as tensors."""
    prompt_ids, prompt_mask = pad_prompts(model, [e.text.prompt for e in episodes])
    response_ids, is_response = pad_answers(model, [e.text.answer for e in episodes])
    gains = torch.tensor([gain for e in episodes for gain in e.gains], device=model.device)
    blank = torch.zeros(is_response.shape, device=model.device)
    rewards = place_rewards(
        torch.tensor([e.score for e in episodes], device=model.device),
        blank,
        is_response,
        0.0,
        token_rewards=blank.masked_scatter(is_response, gains),
    )
    return Batch(prompt_ids, prompt_mask, response_ids, is_response, rewards)
