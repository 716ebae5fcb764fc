"""What a part of a reward is given, and what it gives."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from workbench.config.reward_parts.kinds import Unit
from workbench.data.chat_template import decode_answer
from workbench.data.records import Message
from workbench.models.loading import LoadedModel

_UNSPACED = (
    r"\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003ffff"
)
LETTER = rf"[^\W_{_UNSPACED}]"
"""A letter or digit of a script that writes spaces between words."""
_WORD = re.compile(rf"[{_UNSPACED}]|{LETTER}+(?:['’]{LETTER}+)*")


class Said(NamedTuple):
    """An answer, or the beginning of one, as rules see it."""

    prompt: Sequence[Message]
    text: str
    n_tokens: int  # the stop token does not count
    is_ended: bool


@dataclass(frozen=True, slots=True)
class Answers:
    """A batch of answers.

    Attributes:
        prompts: What they answer.
        texts: Their words.
        ids: Their tokens, as the policy's model reads them; the stop token is among them where
            the answer ended by itself.
    """

    prompts: Sequence[Sequence[Message]]
    texts: Sequence[str]
    ids: Sequence[Sequence[int]]

    def __len__(self) -> int:
        return len(self.prompts)


class PartScorer(Protocol):
    """Gives one part of a reward its values."""

    def values(self, answers: Answers) -> Sequence[float]:
        """One value per answer, without shift, scale and weight."""
        ...

    def prefixes(self, answers: Answers) -> Sequence[Sequence[float]] | None:
        """Values after 0, 1, … all tokens of each answer; the last equals that of `values`.

        None where only whole answers have a value.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


Rule = Callable[[Said], float]


class RulePart:
    """A part that is a function of what was said."""

    def __init__(self, rule: Rule, base: LoadedModel) -> None:
        self._rule = rule
        self._base = base

    def values(self, answers: Answers) -> list[float]:
        """The rule, answer by answer."""
        return [self._rule(said) for said in _whole(answers, self._base)]

    def prefixes(self, answers: Answers) -> list[list[float]]:
        """The rule at every beginning; the end is read as it stands in `values`."""
        return [
            [
                *(self._rule(said) for said in _beginnings(self._base, prompt, ids)),
                self._rule(whole),
            ]
            for prompt, ids, whole in zip(
                answers.prompts, answers.ids, _whole(answers, self._base), strict=True
            )
        ]

    def close(self) -> None:
        """It holds nothing."""


def _whole(answers: Answers, base: LoadedModel) -> Iterator[Said]:
    for prompt, text, ids in zip(answers.prompts, answers.texts, answers.ids, strict=True):
        is_ended = bool(ids) and ids[-1] in base.stop_ids
        yield Said(prompt, text, len(ids) - is_ended, is_ended)


def _beginnings(base: LoadedModel, prompt: Sequence[Message], ids: Sequence[int]) -> Iterator[Said]:
    for n in range(len(ids)):
        yield Said(prompt, decode_answer(base.tokenizer, ids[:n]), n, False)


def words(text: str) -> list[str]:
    """Words as they are counted: runs of letters and digits; each Chinese character is one."""
    return _WORD.findall(text)


def length(said: Said, unit: Unit) -> int:
    """How long an answer is in a unit."""
    if unit == "tokens":
        return said.n_tokens
    return len(words(said.text)) if unit == "words" else len(said.text)
