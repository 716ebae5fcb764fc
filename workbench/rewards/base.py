"""What a reward is to everything that uses one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

from workbench.data.records import Message
from workbench.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from workbench.models.loading import LoadedModel, Trunk


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


@runtime_checkable
class TrunkReward(Protocol):
    """A reward that can go on from the lower states which a rollout has computed already."""

    def can_read(self, model: LoadedModel, trunk: Trunk) -> bool:
        """Whether stored lower states of a model are this reward's own too."""
        ...

    def score_rollout(
        self,
        prompt_ids: Tensor,  # (B, P) left-padded
        prompt_mask: Tensor,  # (B, P) bool
        answer_ids: Tensor,  # (B, R) closed
        is_answer: Tensor,  # (B, R) bool
        trunk: Trunk,  # (B, P + R, H)
    ) -> Tensor:  # (B,)
        """Scores of answers whose lower states are there already."""
        ...


@runtime_checkable
class InPieces(Protocol):
    """A reward that computes so many tokens at once."""

    tokens_at_once: int


Read = Callable[[RewardFunction], Sequence[float] | None]
"""Scores of the answers at hand by a reward that reads the rollout's states; None if it cannot."""


class Paid(NamedTuple):
    """What answers earn.

    `potentials` holds, for what is paid token by token, its value after 0, 1, … all tokens.
    """

    scores: list[float]
    potentials: list[list[float]]


@runtime_checkable
class PartedReward(Protocol):
    """A reward of several parts, some of which may be paid token by token."""

    pays_tokens: bool

    def pay(
        self,
        prompts: Sequence[Sequence[Message]],
        answers: Sequence[Sequence[int]],
        read: Read,
        *,
        with_potentials: bool,
    ) -> Paid:
        """As `score`, with the potentials of the parts that are paid token by token."""
        ...


@runtime_checkable
class SpreadReward(Protocol):
    """A reward that knows how sure it is: an ensemble, when it has more than one member."""

    n_members: int

    def score_with_spread(
        self, prompts: Sequence[Sequence[Message]], answers: Sequence[Sequence[int]]
    ) -> tuple[list[float], list[float]]:
        """Scores as `score` gives them, and the standard deviation over the members of each.

        Raises:
            UserError: It has one member, whose doubt is not known.
        """
        ...

    def score_texts_with_spread(
        self, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
    ) -> tuple[list[float], list[float]]:
        """As `score_with_spread`, for answers given as text."""
        ...


def require_numbers(scores: list[float], name: str) -> list[float]:
    """The scores, when all of them are numbers.

    Raises:
        UserError: One is not, or is infinite; the reward is named.
    """
    if not all(map(math.isfinite, scores)):
        raise UserError(
            f"A score of the {name} is not a number any more.",
            "Train it again with a lower learning rate, or choose another.",
        )
    return scores
