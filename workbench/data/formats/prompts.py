"""Prompts from JSONL, CSV and TXT files: the good lines, and why the others were left out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.data.formats.lines import (
    LineError,
    LineProblem,
    check_text,
    guess_language,
    json_lines,
    prompt_messages,
    read_text,
    text_lines,
)
from workbench.data.formats.tables import read_table
from workbench.data.records import Message, NewPrompt, Split
from workbench.errors import UserError

PROMPT_KEYS = ("prompt", "messages", "text", "question", "instruction")
_GROUP_KEYS = ("group", "task", "category")
_LANGUAGE_KEYS = ("language", "lang")


@dataclass(frozen=True, slots=True)
class PromptPreview:
    """What an import would add, and what it would leave out."""

    rows: list[NewPrompt]
    problems: list[LineProblem]


def read_prompts(path: Path) -> PromptPreview:
    """Prompts of a file; the end of its name (before .gz) says what it is.

    Raises:
        UserError: There is no such file, it is not text, or of another kind.
    """
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    text = read_text(path)
    group = path.name.split(".")[0]
    if suffix in (".jsonl", ".json", ".ndjson"):
        return _collect(json_lines(text), group)
    if suffix in (".csv", ".tsv"):
        return _collect(_table(text, path.name), group)
    if suffix in (".txt", ".md", ""):
        return _collect(text_lines(text), group)
    raise UserError(
        f"{path.name} is of an unknown kind ({suffix}).",
        "Prompts can be read from JSONL, CSV and TXT files.",
    )


def parse_prompts(text: str, group: str = "") -> PromptPreview:
    """Prompts from typed or pasted text: JSON lines, or one prompt per line."""
    is_json = text.lstrip()[:1] in ("{", "[")
    return _collect(json_lines(text) if is_json else text_lines(text), group)


def _table(text: str, name: str) -> Iterator[tuple[int, object]]:
    header, rows = read_table(text, (*PROMPT_KEYS, *_GROUP_KEYS, *_LANGUAGE_KEYS, "split"))
    if set(header) & set(PROMPT_KEYS):
        return ((n, from_cells(row) if isinstance(row, dict) else row) for n, row in rows)
    raise UserError(
        f"{name} has no column named prompt; its columns are {', '.join(header)}.",
        "Name the column with the prompts “prompt” in the first line.",
    )


def from_cells(row: Mapping[str, str]) -> dict[str, object]:
    """A row of a table, in which messages are JSON text and missing fields are empty."""
    cells: dict[str, object] = {key: value for key, value in row.items() if value}
    for key in ("prompt", "messages"):
        if str(cells.get(key, "")).startswith("[{"):
            cells[key] = messages_or_text(str(cells[key]))
    return cells


def messages_or_text(text: str) -> object:
    """The list of messages that a text is the JSON of, or the text itself."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        return text
    is_messages = isinstance(value, list) and all(
        isinstance(m, dict) and set(m) == {"role", "content"} for m in value
    )
    return value if is_messages else text


def _collect(lines: Iterator[tuple[int, object]], group: str) -> PromptPreview:
    rows: list[NewPrompt] = []
    problems: list[LineProblem] = []
    seen: dict[tuple[Message, ...], int] = {}
    for number, value in lines:
        try:
            prompt = to_prompt(value, group)
        except LineError as error:
            problems.append(LineProblem(number, str(error)))
            continue
        if prompt.messages in seen:
            first = seen[prompt.messages]
            problems.append(LineProblem(number, f"This is the same prompt as in line {first}."))
            continue
        seen[prompt.messages] = number
        rows.append(prompt)
    return PromptPreview(rows, problems)


def to_prompt(value: Any, group: str) -> NewPrompt:
    """The prompt that a line holds, as text or as an object.

    Args:
        value: The line's value.
        group: For a prompt that names no task.

    Raises:
        LineError: It holds none.
    """
    if isinstance(value, LineError):
        raise value
    row = value if isinstance(value, dict) else {"prompt": value}
    messages = prompt_messages(_prompt_of(row))
    system = row.get("system")
    if isinstance(system, str) and system.strip() and messages[0].role != "system":
        messages = (Message("system", check_text(system)), *messages)
    return NewPrompt(
        messages,
        group=field(row, _GROUP_KEYS) or group,
        language=field(row, _LANGUAGE_KEYS) or guess_language(messages[-1].content),
        split=to_split(row.get("split")),
    )


def _prompt_of(row: Mapping[str, object]) -> object:
    key = next((k for k in PROMPT_KEYS if row.get(k)), None)
    if key is None:
        present = next((k for k in PROMPT_KEYS if k in row), None)
        if present:
            raise LineError("The prompt is empty.")
        raise LineError(f"There is no prompt among its fields: {', '.join(map(str, row))}.")
    value = row[key]
    more = row.get("input") if key == "instruction" else None
    return (
        f"{value}\n\n{more}" if isinstance(value, str) and isinstance(more, str) and more else value
    )


def field(row: Mapping[str, object], keys: tuple[str, ...]) -> str:
    """The first of these fields that holds text, or an empty text."""
    return next((check_text(v) for key in keys if isinstance(v := row.get(key), str) and v), "")


def to_split(value: object) -> Split:
    """The split that a field names; everything but a training split is held out.

    Raises:
        LineError: It names none.
    """
    if value in (None, "", "train"):
        return "train"
    if value in ("heldout", "held-out", "test", "validation", "eval"):
        return "heldout"
    raise LineError(f"The split is {value!r}: it must be train or heldout.")
