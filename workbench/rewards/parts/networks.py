"""Parts that are networks: reward runs, and the likelihood under the reference."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch

from workbench.config.reward_parts.kinds import RewardModelPart
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel
from workbench.rewards.base import InPieces, PrefixReward, Read, Scorer, SpreadReward
from workbench.rewards.parts.answers import Answers

_TOKENS_AT_ONCE = 4096


class NetworkPart:
    """A reward that was read from its folder, as a part of another."""

    def __init__(self, part: RewardModelPart, scorer: Scorer) -> None:
        self._minus_std = part.minus_std
        self.scorer = scorer

    @property
    def tokens_at_once(self) -> int:
        """Tokens that it computes at once."""
        return self.scorer.tokens_at_once if isinstance(self.scorer, InPieces) else _TOKENS_AT_ONCE

    @tokens_at_once.setter
    def tokens_at_once(self, n: int) -> None:
        if isinstance(self.scorer, InPieces):
            self.scorer.tokens_at_once = n

    def read(self, read: Read) -> Sequence[float] | None:
        """Its values from states that are there already; None when it has to compute them."""
        return None if self._minus_std else read(self.scorer)

    def values(self, answers: Answers) -> Sequence[float]:
        """The scores; of an ensemble less k times its members' standard deviation.

        Raises:
            UserError: A spread is wanted of a reward that has none.
        """
        if not self._minus_std:
            return self.scorer.score(answers.prompts, answers.ids)
        if not isinstance(self.scorer, SpreadReward):
            raise UserError(
                "it is no ensemble, so its members have no spread.",
                "Set Minus spread to 0, or train an ensemble.",
            )
        scores, spreads = self.scorer.score_with_spread(answers.prompts, answers.ids)
        pairs = zip(scores, spreads, strict=True)
        return [score - self._minus_std * spread for score, spread in pairs]

    def prefixes(self, answers: Answers) -> Sequence[Sequence[float]] | None:
        """Scores of beginnings, where the reward has them; spreads are known at the end only."""
        if isinstance(self.scorer, PrefixReward) and not self._minus_std:
            return self.scorer.score_prefixes(answers.prompts, answers.ids)
        return None

    def close(self) -> None:
        """Close the reward."""
        self.scorer.close()


class Likelihood:
    """Mean log-probability of an answer's tokens under the base without any adapter.

    Of a beginning: the mean over the tokens so far, 0 before the first.
    """

    def __init__(self, base: LoadedModel) -> None:
        self._base = base
        self.tokens_at_once = _TOKENS_AT_ONCE

    def values(self, answers: Answers) -> list[float]:
        """The means over whole answers."""
        return [means[-1] for means in self.prefixes(answers)]

    def prefixes(self, answers: Answers) -> list[list[float]]:
        """The means over beginnings."""
        prompts = [self._base.encode_prompt(prompt) for prompt in answers.prompts]
        order = sorted(range(len(answers)), key=lambda i: -len(prompts[i]) - len(answers.ids[i]))
        means: list[list[float]] = [[] for _ in order]
        start = 0
        while start < len(order):
            longest = max(1, len(prompts[order[start]]) + len(answers.ids[order[start]]))
            rows = order[start : start + max(1, self.tokens_at_once // longest)]
            batch = [prompts[i] for i in rows], [answers.ids[i] for i in rows]
            logps = token_logps(self._base, None, *batch)
            for i, row in zip(rows, logps, strict=True):
                sums = accumulate(row, initial=0.0)
                means[i] = [total / max(n, 1) for n, total in enumerate(sums)]
            start += len(rows)
        return means

    def close(self) -> None:
        """Nothing is held: the model is its owner's."""


@torch.no_grad()
def token_logps(
    base: LoadedModel,
    adapter: str | None,
    prompts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    temperature: float = 1.0,
) -> list[list[float]]:
    """Log-probability of each token of each answer, under an adapter or the plain base."""
    if not any(answers):
        return [[] for _ in answers]
    prompt_ids, prompt_mask = pad_prompts(base, prompts)
    ids, is_answer = pad_answers(base, answers)
    with adapters.active(base, adapter):
        states = base.response_states(prompt_ids, prompt_mask, ids, is_answer)
    logps, _ = base.logps(states, ids, is_answer, temperature)
    return [row[: len(ids)].tolist() for row, ids in zip(logps, answers, strict=True)]
