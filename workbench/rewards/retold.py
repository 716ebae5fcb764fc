"""A reward on another base than the policy's: answers are decoded and told to it as text."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.data.chat_template import decode_answer
from workbench.data.records import Message
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import Encoded, RewardModel


class Retold:
    """Scores what the policy wrote with a reward model that has another tokenizer and template.

    Attributes:
        reward: The reward model, on its own base.
    """

    def __init__(self, reward: RewardModel, policy: LoadedModel) -> None:
        self.reward = reward
        self.name = reward.name
        self._policy = policy

    @property
    def n_members(self) -> int:
        """How many heads vote."""
        return self.reward.n_members

    @property
    def tokens_at_once(self) -> int:
        """Tokens of one forward pass."""
        return self.reward.tokens_at_once

    @tokens_at_once.setter
    def tokens_at_once(self, n: int) -> None:
        self.reward.tokens_at_once = n

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer given as token ids of the policy."""
        return self.score_texts(prompts, self._texts(answers))

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text."""
        return self.reward.score_sequences(self._rows(prompts, texts))

    def score_with_spread(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> tuple[list[float], list[float]]:
        """Scores, and how far the members of an ensemble differ."""
        return self.score_texts_with_spread(prompts, self._texts(answers))

    def score_texts_with_spread(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> tuple[list[float], list[float]]:
        """As `score_with_spread`, of answers given as text."""
        return self.reward.score_sequences_with_spread(self._rows(prompts, texts))

    def score_prefixes(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Scores of each answer after 0, 1, … all of the policy's tokens; the last is `score`.

        A token of the policy need not end where one of the base does, so every beginning is read
        by itself: an answer of n tokens costs n + 1 readings.
        """
        rows: list[Encoded] = []
        for prompt, answer in zip(prompts, answers, strict=True):
            begun = [self._text(answer[:n]) for n in range(len(answer))]
            rows += [self._fitted(self.reward.encode_beginning(prompt, text)) for text in begun]
            rows += self._rows([prompt], [self._text(answer)])
        scores = iter(self.reward.score_sequences(rows))
        return [[next(scores) for _ in range(len(answer) + 1)] for answer in answers]

    def close(self) -> None:
        """Take the adapter off its base; the base goes when nobody else uses it."""
        self.reward.close()

    def _texts(self, answers: Sequence[Sequence[int]]) -> list[str]:
        return [self._text(answer) for answer in answers]

    def _text(self, answer: Sequence[int]) -> str:
        return decode_answer(self._policy.tokenizer, answer)

    def _rows(self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]) -> list[Encoded]:
        encode = self.reward.encode_text
        return [self._fitted(encode(p, t)) for p, t in zip(prompts, texts, strict=True)]

    def _fitted(self, row: Encoded) -> Encoded:
        """What fits the context of the base, which may be shorter than the policy's.

        The prompt's beginning goes first, then the middle of the answer: its end is where the
        score is read.
        """
        limit = self.reward.base.context_length
        answer = row.answer
        if len(answer) >= limit:
            answer = (*answer[: limit - 2], answer[-1])
        n_over = len(row.prompt) + len(answer) - limit
        return Encoded(row.prompt[max(0, n_over) :], answer)
