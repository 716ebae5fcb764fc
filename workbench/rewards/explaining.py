"""What a score owes to the tokens of an answer, where a reward can say it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from workbench.data.records import Message


class Owed(NamedTuple):
    """What a score owes to each token of an answer.

    Attributes:
        tokens: What each token adds to the text, the stop token at the end.
        values: A number for each.
    """

    tokens: list[str]
    values: list[float]


@runtime_checkable
class GradientReward(Protocol):
    """A reward that can be differentiated with respect to what it reads."""

    def gradient_times_input(self, prompt: Sequence[Message], text: str) -> Owed:
        """Gradient × input for each token of an answer; see `models.attribution`."""
        ...
