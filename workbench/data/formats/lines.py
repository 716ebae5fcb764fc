"""Reading a user's text file: what it holds, and in which lines something is wrong."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.data.records import Message, Role
from workbench.errors import UserError

MAX_BYTES = 1 << 30
_SURROGATE = re.compile("[\ud800-\udfff]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
}


@dataclass(frozen=True, slots=True)
class LineProblem:
    """Why a line was left out; `line` counts from 1."""

    line: int
    message: str


class LineError(ValueError):
    """A line cannot be used; the text says why, as a sentence."""


def read_text(path: Path) -> str:
    """The text of a file, which may be gzipped, with or without BOM, in UTF-8 or UTF-16.

    Bytes that are not UTF-8 become lone surrogates, so that only their lines are lost:
    `check_text` finds them.

    Raises:
        UserError: There is no such file, or it is not text.
    """
    try:
        content = _read_bytes(path)
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UserError(
            f"{path.name} is a damaged gzip file.", "Download or copy it again."
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} could not be read: {error.strerror or error}.", "Choose a file."
        ) from None
    return decode(content, path.name)


def _read_bytes(path: Path) -> bytes:
    """The unpacked content, at most `MAX_BYTES` of it: a small gzip file can hold terabytes."""
    with path.open("rb") as file:
        is_packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        unpacked = gzip.GzipFile(fileobj=file) if is_packed else file
        content = unpacked.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UserError(f"{path.name} is larger than 1 GB.", "Split it into smaller files.")
    return content


def decode(content: bytes, name: str) -> str:
    """Bytes as text; see `read_text`."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    if b"\0" in content[:8192]:
        raise UserError(
            f"{name} is not a text file.", "Choose a JSONL, CSV or TXT file, as UTF-8 text."
        )
    return content.decode("utf-8-sig", "surrogateescape")


def text_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1.

    Only line feeds part lines: `str.splitlines` would also cut at characters that JSON allows
    inside a string.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


def json_lines(text: str) -> Iterator[tuple[int, Any]]:
    """JSON values with their line numbers; a `LineError` in place of a line that is not JSON.

    A file that is one JSON array is taken too; its items count as lines.
    """
    if text.lstrip()[:1] == "[":
        try:
            items = json.loads(text)
        except json.JSONDecodeError:
            pass
        else:
            yield from enumerate(items, 1)
            return
    for number, line in text_lines(text):
        try:
            check_text(line)
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            yield number, LineError(f"This is not JSON: {error.msg} at character {error.pos + 1}.")
        except RecursionError:
            yield number, LineError("This is nested too deeply.")
        except LineError as error:
            yield number, error


def check_text(text: str) -> str:
    """The same text, when all of it is Unicode.

    Raises:
        LineError: Some bytes were not UTF-8; it says which encoding it may be.
    """
    if not (found := _SURROGATE.search(text)):
        return text
    if not "\udc80" <= found[0] <= "\udcff":
        raise LineError("This holds half of a character (a lone surrogate).")
    try:
        text.encode("utf-8", "surrogateescape").decode("gb18030")
        guess = "It looks like GB18030."
    except UnicodeError:
        guess = "It may be Windows-1252 or Latin-1."
    raise LineError(f"This is not UTF-8 text. {guess} Save the file as UTF-8.")


def to_messages(value: Any) -> tuple[Message, ...]:
    """Messages from a list of objects with role and content (or from and value).

    Raises:
        LineError: It is none.
    """
    if not isinstance(value, list) or not value:
        raise LineError("The messages must be a list of objects with role and content.")
    return tuple(_to_message(entry) for entry in value)


def _to_message(entry: Any) -> Message:
    if not isinstance(entry, dict):
        raise LineError("Each message must be an object with role and content.")
    role = entry.get("role", entry.get("from"))
    content = entry.get("content", entry.get("value"))
    if role not in _ROLES:
        raise LineError(f"The role of a message is {role!r}: it must be system, user or assistant.")
    if not isinstance(content, str):
        raise LineError("The content of a message must be text.")
    return Message(_ROLES[role], check_text(content))


def prompt_messages(value: Any) -> tuple[Message, ...]:
    """The messages of a prompt, which is a text or a list of messages that ends with a user's.

    Raises:
        LineError: It is neither, or it is empty.
    """
    messages = (
        (Message("user", check_text(value)),) if isinstance(value, str) else to_messages(value)
    )
    if messages[-1].role != "user":
        raise LineError("The last message of a prompt must be the user's.")
    if not messages[-1].content.strip():
        raise LineError("The prompt is empty.")
    return messages


def guess_language(text: str) -> str:
    """`zh` when a fifth of the letters are Chinese characters, `en` for other letters, or empty."""
    n_letters = sum(c.isalpha() for c in text)
    if not n_letters:
        return ""
    return "zh" if len(_HAN.findall(text)) * 5 >= n_letters else "en"
