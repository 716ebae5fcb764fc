"""The entries of a JSONL, JSON, CSV or Parquet file one after the other, whatever its size.

Nothing but the entry at hand is in memory, so that a file of a gigabyte takes no more than one of
a kilobyte, and what is wrong with an entry costs that entry only.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from workbench.data.formats import parquet
from workbench.data.formats.lines import LineError, check_text
from workbench.data.formats.tables import SEPARATORS, table_rows
from workbench.errors import UserError

LONGEST = 16 << 20  # characters of an entry; the longest context of a model is a tenth of that
_CHUNK = 1 << 20
_JSON = (".jsonl", ".json", ".ndjson")
_TABLES = (".csv", ".tsv")
_DAMAGED = "The packed file is damaged from here on. Download or copy it again."
# Only line feeds part lines of JSON; the csv module wants to see them all.
_FOR_CSV = ""
Entry = tuple[int, Any]


class EntryFile:
    """A file of entries, read as it is drawn.

    Attributes:
        path: The file.
        kind: json, table or parquet.
        known: Column names by which the separator of a table is chosen.
    """

    def __init__(self, path: Path, known: Sequence[str] = ()) -> None:
        self.path = path
        self.known = known
        with _telling(path):
            self._size = max(path.stat().st_size, 1)
            with path.open("rb") as file:
                start = file.read(4)
        self.kind = _kind(path, start)
        self._share = 0.0
        self._file: IO[bytes] | None = None

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        if self._file is None or self._file.closed:
            return self._share
        return min(self._file.tell() / self._size, 1.0)

    def columns(self) -> tuple[str, ...]:
        """The names of the fields: of the header, or of the first entry that has any."""
        if self.kind == "parquet":
            return parquet.columns(self.path)
        if self.kind == "table":
            with _text(self.path, _FOR_CSV) as file:
                return tuple(_header(file, self.known)[0])
        first = next((e for _, e in self.entries() if isinstance(e, dict)), {})
        return tuple(map(str, first))

    def entries(self) -> Iterator[Entry]:
        """Pairs of line number (from 1) and either a value or a `LineError`."""
        if self.kind == "parquet":
            for number, entry, share in parquet.entries(self.path):
                self._share = share
                yield number, entry
            return
        with _text(self.path, _FOR_CSV if self.kind == "table" else "\n") as file:
            self._file = file.raw_file
            number = 0
            try:
                lines = _rows(file, self.known) if self.kind == "table" else _json(file)
                for number, entry in lines:
                    yield number, entry
            except (EOFError, zlib.error, gzip.BadGzipFile):
                yield number + 1, LineError(_DAMAGED)
            self._share = 1.0


class _Text(io.TextIOWrapper):
    raw_file: IO[bytes]


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read a file into a sentence."""
    try:
        yield
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(
            f"{path.name} is a damaged gzip file.", "Download or copy it again."
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} could not be read: {error.strerror or error}.", "Choose a file."
        ) from None


def _kind(path: Path, start: bytes) -> str:
    """By its beginning and its name, of which .gz is taken off."""
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    if start == b"PAR1" or suffix == ".parquet":
        return "parquet"
    if suffix in _TABLES:
        return "table"
    if suffix in _JSON or start.lstrip()[:1] in (b"{", b"["):
        return "json"
    raise UserError(
        f"{path.name} is of an unknown kind ({suffix or 'no suffix'}).",
        "Preferences can be read from JSONL, JSON, CSV and Parquet files.",
    )


@contextmanager
def _text(path: Path, newline: str) -> Iterator[_Text]:
    """The file as text, unpacked; bytes that are not UTF-8 become lone surrogates."""
    with ExitStack() as stack:
        with _telling(path):
            raw = stack.enter_context(path.open("rb"))
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            file: Any = stack.enter_context(gzip.GzipFile(fileobj=raw)) if packed else raw
            start = file.read(8192)
            file.seek(0)
        is_wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
        if not is_wide and b"\0" in start:
            raise UserError(
                f"{path.name} is not a text file.", "Choose a JSONL, JSON or CSV file, as UTF-8."
            )
        text = _Text(
            file,
            encoding="utf-16" if is_wide else "utf-8-sig",
            errors="replace" if is_wide else "surrogateescape",
            newline=newline,
        )
        text.raw_file = raw
        yield stack.enter_context(text)


def _json(file: IO[str]) -> Iterator[Entry]:
    """The values of lines, or of one list."""
    start = file.read(_CHUNK)
    if start.lstrip()[:1] == "[" and not _is_line(start):
        return _list_items(file, start[start.index("[") + 1 :])
    return _json_lines(file, start)


def _is_line(start: str) -> bool:
    """Whether a list ends with its line and more follows: then the lines are the entries."""
    line, _, more = start.lstrip().partition("\n")
    return bool(more.strip()) and not isinstance(_value(line), LineError)


def _json_lines(file: IO[str], start: str) -> Iterator[Entry]:
    for number, line in enumerate(_lines(file, start), 1):
        if len(line) > LONGEST:
            yield number, _too_long("line")
        elif line.strip():
            yield number, _value(line)


def _lines(file: IO[str], start: str) -> Iterator[str]:
    """The lines of `start` and of what follows; of one that is too long only the beginning."""
    *whole, rest = start.split("\n")
    yield from whole
    line = rest + file.readline(LONGEST + 1)
    while line:
        if len(line) > LONGEST:
            yield line
            while line and not line.endswith("\n"):
                line = file.readline(_CHUNK)
        else:
            yield line
        line = file.readline(LONGEST + 1)


def _list_items(file: IO[str], buffer: str) -> Iterator[Entry]:
    """The items of a JSON list, each read as soon as it is whole."""
    decoder = json.JSONDecoder()
    number, is_end = 1, False
    while True:
        buffer = buffer.lstrip(" \t\r\n,")
        if buffer[:1] == "]":
            return
        end, item, problem = _item(decoder, buffer)
        # A number could go on behind the end of the buffer.
        if (problem or end == len(buffer)) and not is_end and len(buffer) <= LONGEST:
            more = file.read(max(_CHUNK, len(buffer)))
            buffer, is_end = buffer + more, not more
            continue
        if problem or not buffer:
            text = "the file ends in the middle of it" if is_end else str(problem)
            yield (
                number,
                _too_long("entry")
                if len(buffer) > LONGEST
                else LineError(
                    f"This entry is not JSON ({text}); what comes behind it was not read."
                ),
            )
            return
        yield number, item
        number, buffer = number + 1, buffer[end:]


def _item(decoder: json.JSONDecoder, buffer: str) -> tuple[int, Any, str]:
    """Where the value at the beginning ends, the value, and why there is none."""
    try:
        value, end = decoder.raw_decode(buffer)
    except json.JSONDecodeError as error:
        return 0, None, error.msg
    except RecursionError:
        return 0, None, "it is nested too deeply"
    return end, value, ""


def _value(line: str) -> Any:
    try:
        return json.loads(check_text(line))
    except json.JSONDecodeError as error:
        return LineError(f"This is not JSON: {error.msg} at character {error.pos + 1}.")
    except RecursionError:
        return LineError("This is nested too deeply.")
    except LineError as error:
        return error


def _too_long(what: str) -> LineError:
    return LineError(f"This {what} is longer than {LONGEST >> 20} million characters.")


def _header(file: IO[str], known: Sequence[str]) -> tuple[list[str], str]:
    """The names of the columns in lower case, and the separator that parts them best."""
    position = file.tell()
    found = []
    for separator in SEPARATORS:
        file.seek(position)
        try:
            names = next(csv.reader(file, delimiter=separator), [])
        except csv.Error:
            names = []
        names = [name.strip().lower() for name in names]
        found.append((len(set(names) & set(known)), len(names), names, separator))
    file.seek(position)
    *_, names, separator = max(found, key=lambda f: f[:2])
    return names, separator


def _rows(file: IO[str], known: Sequence[str]) -> Iterator[Entry]:
    csv.field_size_limit(LONGEST)
    header, separator = _header(file, known)
    yield from table_rows(csv.reader(file, delimiter=separator), header)
