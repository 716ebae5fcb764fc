"""What a reward is to everything that uses one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from workbench.data.records import Message


class RewardFunction(Protocol):
    """Scores answers to prompts; higher is better."""

    name: str

    def score(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[float]:
        """One score per answer, given as token ids of the policy (stop token included or not)."""
        ...


class Scorer(RewardFunction, Protocol):
    """A reward that was read from a folder: it scores texts too, and is closed after use."""

    def score_texts(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> list[float]:
        """One score per answer given as text."""
        ...

    def close(self) -> None:
        """Take off the base, and out of memory, what was loaded for it."""
        ...


@runtime_checkable
class PrefixReward(Protocol):
    """A reward that can also score the beginnings of an answer, for rewards token by token."""

    def score_prefixes(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Scores of each answer after 0, 1, … all of its tokens; the last equals `score`."""
        ...
