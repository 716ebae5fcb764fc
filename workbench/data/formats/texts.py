"""Held-out text from a file: paragraphs of a TXT file, or the field `text` of JSON lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from workbench.data.formats.lines import LineError, LineProblem, check_text, json_lines, read_text
from workbench.errors import UserError


def read_texts(path: Path) -> tuple[list[str], list[LineProblem]]:
    """The texts of a file, and the lines that were left out.

    A TXT or Markdown file is parted at empty lines, or at line ends where it has none of these.

    Raises:
        UserError: There is no such file, it is not text, of another kind, or empty.
    """
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    if suffix in (".jsonl", ".json", ".ndjson"):
        entries = _of_json(read_text(path))
    elif suffix in (".txt", ".md", ""):
        entries = _of_text(read_text(path))
    else:
        raise UserError(
            f"{path.name} is of an unknown kind ({suffix}).",
            "Held-out text can be read from TXT and JSONL files.",
        )
    texts: list[str] = []
    problems: list[LineProblem] = []
    for number, value in entries:
        if isinstance(value, LineError):
            problems.append(LineProblem(number, str(value)))
        else:
            texts.append(value)
    if not texts:
        why = f" Line {problems[0].line}: {problems[0].message}" if problems else ""
        raise UserError(f"{path.name} holds no text.{why}", "Choose a file with held-out text.")
    return texts, problems


def _of_text(text: str) -> Iterator[tuple[int, str | LineError]]:
    is_parted = re.search(r"\n[ \t\r]*\n", text) is not None
    number = 1
    for part in re.split(r"\n(?:[ \t\r]*\n)+" if is_parted else "\n", text):
        if part.strip():
            yield number, _checked(part.strip())
        number += 1


def _of_json(text: str) -> Iterator[tuple[int, str | LineError]]:
    for number, value in json_lines(text):
        if isinstance(value, LineError):
            yield number, value
        elif isinstance(value, dict) and isinstance(value.get("text"), str):
            if value["text"].strip():
                yield number, _checked(value["text"].strip())
        else:
            yield number, LineError("A line must be an object with a text.")


def _checked(text: str) -> str | LineError:
    try:
        return check_text(text)
    except LineError as error:
        return error
