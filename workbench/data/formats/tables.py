"""CSV as people have it: any of three separators, quotes, line breaks inside fields."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from workbench.data.formats.lines import LineError

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

SEPARATORS = ",;\t"
_LONGEST_FIELD = 1 << 27


def read_table(text: str, columns: Sequence[str]) -> tuple[list[str], Iterator[tuple[int, object]]]:
    """The header of a CSV text and its rows.

    Args:
        text: The file.
        columns: Names of columns that are looked for; the separator is the one with which the
            header names most of them.

    Returns:
        The header in lower case, and pairs of line number and either a dict or a `LineError`.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    separator = max(SEPARATORS, key=lambda s: len(set(_header(text, s)) & set(columns)))
    return _header(text, separator), _rows(text, separator)


def write_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """CSV text in which every field is quoted; `read_table` gives the same rows back."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def _header(text: str, separator: str) -> list[str]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        return [name.strip().lower() for name in next(reader, [])]
    except csv.Error:
        return []


def _rows(text: str, separator: str) -> Iterator[tuple[int, object]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    return table_rows(reader, _header(text, separator))


def table_rows(reader: CsvReader, header: Sequence[str]) -> Iterator[tuple[int, object]]:
    """Pairs of line number and either a dict by the names of the header or a `LineError`.

    Args:
        reader: At the beginning of the file.
        header: The names that its first line holds.
    """
    next(reader, None)
    while True:
        number = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield number, LineError(f"This row cannot be read: {error}.")
            continue
        if not any(field.strip() for field in row):
            continue
        if len(row) > len(header):
            yield (
                number,
                LineError(
                    f"This row has {len(row)} fields, the header has {len(header)}. "
                    "A field that contains the separator must stand in quotes."
                ),
            )
        else:
            yield number, dict(zip(header, row, strict=False))
