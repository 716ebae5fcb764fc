"""Answers to learn from, with their prompts: TRL's prompt-completion, dialogues, CSV.

Read: `prompt` and `completion` as text or as lists of messages, `messages` (or ShareGPT's
`conversations`) whose last turn is the assistant's, and tables with a prompt and an answer in each
row. See https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.data.formats.lines import (
    LineError,
    LineProblem,
    check_text,
    json_lines,
    read_text,
    to_messages,
)
from workbench.data.formats.prompts import PROMPT_KEYS, from_cells, to_prompt
from workbench.data.formats.tables import read_table
from workbench.data.records import NewPrompt
from workbench.errors import UserError

_ANSWER_KEYS = ("completion", "answer", "response", "output")
_DIALOGUE_KEYS = ("messages", "conversations")


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An answer to a prompt as it stands in a file."""

    prompt: NewPrompt
    answer: str


@dataclass(frozen=True, slots=True)
class DemonstrationPreview:
    """What an import would add, and what it would leave out."""

    rows: list[Demonstration]
    problems: list[LineProblem]


def read_demonstrations(path: Path) -> DemonstrationPreview:
    """Answers of a JSONL or CSV file, which may be gzipped.

    Raises:
        UserError: There is no such file, it is not text, or of another kind.
    """
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    if suffix not in (".jsonl", ".json", ".ndjson", ".csv", ".tsv"):
        raise UserError(
            f"{path.name} is of an unknown kind ({suffix or 'no suffix'}).",
            "Answers can be read from JSONL and CSV files.",
        )
    text = read_text(path)
    lines = _table(text, path.name) if suffix in (".csv", ".tsv") else json_lines(text)
    rows: list[Demonstration] = []
    problems: list[LineProblem] = []
    for number, value in lines:
        try:
            rows.append(_to_row(value, path.name.split(".")[0]))
        except LineError as error:
            problems.append(LineProblem(number, str(error)))
    return DemonstrationPreview(rows, problems)


def _table(text: str, name: str) -> Iterator[tuple[int, object]]:
    header, rows = read_table(text, (*PROMPT_KEYS, *_ANSWER_KEYS))
    if not set(header) & set(PROMPT_KEYS) or not set(header) & set(_ANSWER_KEYS):
        raise UserError(
            f"{name} has no columns prompt and answer; its columns are {', '.join(header)}.",
            "Name the columns prompt and answer in the first line.",
        )
    return ((n, from_cells(row) if isinstance(row, dict) else row) for n, row in rows)


def _to_row(value: Any, name: str) -> Demonstration:
    if isinstance(value, LineError):
        raise value
    if not isinstance(value, dict):
        raise LineError("A line must be an object with prompt and completion, or with messages.")
    if value.get("label") is False:
        raise LineError("This answer is labelled as a bad one.")
    key = next((k for k in _ANSWER_KEYS if k in value), None)
    if key is None:
        context, answer = _from_dialogue(value)
        prompt = to_prompt({**value, "prompt": context}, name)
    else:
        prompt, answer = to_prompt(value, name), _answer(value[key], key)
    # A template puts the answer into its turn: TRL's space before a completion is not part of it.
    if not (answer := check_text(answer).strip()):
        raise LineError("The answer is empty.")
    return Demonstration(prompt, answer)


def _answer(value: Any, key: str) -> str:
    if isinstance(value, str):
        return value
    messages = to_messages(value)
    if len(messages) != 1 or messages[0].role != "assistant":
        raise LineError(f"The {key} must be a text, or one message of the assistant.")
    return messages[0].content


def _from_dialogue(row: Mapping[str, Any]) -> tuple[list[dict[str, str]], str]:
    """The messages before the last one, and the text of the last one."""
    key = next((k for k in _DIALOGUE_KEYS if k in row), None)
    if key is None:
        raise LineError(f"There is no answer among its fields: {', '.join(map(str, row))}.")
    *context, last = to_messages(row[key])
    if last.role != "assistant":
        raise LineError("The last message of a dialogue must be the assistant's: it is the answer.")
    if not context:
        raise LineError("The dialogue has no message before its answer.")
    return [{"role": m.role, "content": m.content} for m in context], last.content
