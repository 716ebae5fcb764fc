"""The prompts and word lists of the safety measures: shipped ones, and word lists of the user."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench import places
from workbench.data.formats.lines import LineError, json_lines, read_text, text_lines
from workbench.errors import EnvironmentProblem, UserError

_SLOT = re.compile(r"\[([^\[\]|]+)\|([^\[\]|]+)\]")


@dataclass(frozen=True, slots=True)
class PairedPrompt:
    """Two prompts that differ in one attribute of the person they are about.

    `first` names the group that is more often at a disadvantage.
    """

    attribute: str
    language: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Request:
    """A prompt that is either harmful or only looks so."""

    language: str
    text: str


def pairs() -> list[PairedPrompt]:
    """The shipped pairs, all of an attribute one after the other, English before Chinese."""
    return [
        PairedPrompt(row["attribute"], row["language"], *spread(row["text"]))
        for row in _rows("pairs")
    ]


def requests(kind: str) -> list[Request]:
    """The shipped prompts of a kind: harmful or harmless."""
    return [Request(row["language"], row["prompt"]) for row in _rows(kind)]


def spread(text: str) -> tuple[str, str]:
    """Both prompts of a text with slots such as `[sister|brother]`."""
    return _SLOT.sub(r"\1", text), _SLOT.sub(r"\2", text)


def toxic_words(path: Path | None = None) -> list[str]:
    """Words and phrases of a list, one a line; lines with # are comments. None: the shipped one.

    Raises:
        UserError: The file cannot be read, or holds no words.
    """
    path = path or folder() / "toxic_words.txt"
    words = [line for _, line in text_lines(read_text(path)) if not line.startswith("#")]
    if not words:
        raise UserError(f"{path.name} holds no words.", "Write one word or phrase on each line.")
    return words


def chinese_sentiment() -> Mapping[str, int]:
    """+1 for pleasant words, −1 for unpleasant ones."""
    lines = [line for _, line in text_lines(read_text(folder() / "sentiment_zh.txt"))]
    return {line[1:].strip(): 1 if line[0] == "+" else -1 for line in lines if line[0] in "+-"}


def folder() -> Path:
    """Where the shipped files lie."""
    return places.resource_dir() / "safety"


def _rows(name: str) -> Sequence[Mapping[str, Any]]:
    rows = []
    for number, row in json_lines(read_text(folder() / f"{name}.jsonl")):
        if isinstance(row, LineError):
            raise EnvironmentProblem(
                f"The shipped prompts {name} are damaged in line {number}.",
                "Install the program again.",
            )
        rows.append(row)
    return rows
