"""What an AI judge is asked and what follows from its answers. No torch, no network."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol

from workbench.config.judge import JudgeSettings
from workbench.data.records import Message, Verdict

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Question:
    """Two answers to one prompt, in the order in which they are shown."""

    messages: Sequence[Message]
    first: str
    second: str

    def swapped(self) -> Question:
        """The same with the sides exchanged."""
        return Question(self.messages, self.second, self.first)

    def text(self, settings: JudgeSettings) -> str:
        """What the judge reads."""
        return settings.question(prompt_text(self.messages), self.first, self.second)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a judge said.

    `p_shown_first` is the probability that the answer shown first is better; None when it named
    neither. `n_tokens` counts question and answer.
    """

    p_shown_first: float | None
    text: str
    seconds: float
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Note:
    """Why a judge keeps its asker waiting."""

    text: str


Asking = Generator[tuple[int, Answer] | Note, None, None]
"""The numbers of questions with their answers, as they come, and why there is a wait."""


class Judge(Protocol):
    """Answers questions one after the other, in any order."""

    def ask(self, questions: Sequence[Question]) -> Asking:
        """The number of a question with its answer, as they come.

        On a stop it ends early, with what was answered so far.

        Raises:
            UserError: It cannot be asked so.
            EnvironmentProblem: It does not answer.
            Cancelled: The token was cancelled.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


def win_probabilities(
    judge: Judge,
    prompts: Sequence[Sequence[Message]],
    answers: Sequence[str],
    references: Sequence[str],
) -> list[float | None]:
    """How likely each answer is better than its reference, as a mean of both orders.

    None where the judge named neither, or was stopped before.
    """
    straight = [Question(*row) for row in zip(prompts, answers, references, strict=True)]
    found: dict[int, float | None] = {}
    for told in judge.ask([q for pair in straight for q in (pair, pair.swapped())]):
        if not isinstance(told, Note):
            number, answer = told
            p = answer.p_shown_first
            found[number] = None if p is None else 1.0 - p if number % 2 else p
    means: list[float | None] = []
    for i in range(0, 2 * len(straight), 2):
        a, b = found.get(i), found.get(i + 1)
        means.append(None if a is None or b is None else (a + b) / 2)
    return means


def prompt_text(messages: Sequence[Message]) -> str:
    """A prompt in words: a lone message as it stands, a dialogue with its roles."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{m.role.capitalize()}: {m.content}" for m in messages)


def decide(straight: float | None, swapped: float | None, tie_margin: float) -> Verdict | None:
    """The verdict that follows from both orders; None when one of them is not known.

    A judge that prefers another answer when the sides are exchanged has a taste for sides, not for
    answers: that is a tie (Zheng et al. 2023, arXiv:2306.05685, section 3.4).

    Args:
        straight: Probability that the pair's first answer is better, as the pair stands.
        swapped: The same when its second answer was shown first.
        tie_margin: A mean that is nearer to one half is a tie.
    """
    if straight is None or swapped is None:
        return None
    mean = (straight + swapped) / 2
    if is_contradiction(straight, swapped) or mean == 0.5 or abs(mean - 0.5) < tie_margin:
        return "tie"
    return "first" if mean > 0.5 else "second"


def is_contradiction(straight: float, swapped: float) -> bool:
    """Whether the two orders prefer different answers."""
    return (straight - 0.5) * (swapped - 0.5) < 0


def read_choice(text: str, first: str, second: str) -> float | None:
    """1 when a text chooses the first label, 0 for the second, None when it is not clear.

    A text that is a label, or begins with one and a full stop or the like, says it; so does one
    in which only one of the two occurs. What a model thought before does not count.
    """
    said = _THOUGHT.sub("", text).strip().strip("*_`\"'([").strip()
    for label, value in ((first, 1.0), (second, 0.0)):
        if re.match(rf"{re.escape(label)}\s*([.:,;)\]*`\"'\n]|$)", said):
            return value
    has_first, has_second = (
        re.search(rf"(?<!\w){re.escape(label)}(?!\w)", said) for label in (first, second)
    )
    if bool(has_first) == bool(has_second):
        return None
    return 1.0 if has_first else 0.0
