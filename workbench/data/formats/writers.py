"""Files that grow row by row, so that a large export needs no more memory than a small one."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

Line = Mapping[str, object]


class Writer(Protocol):
    """A file that takes rows until it is closed."""

    def write(self, row: Line) -> None:
        """Add a row."""

    def close(self) -> None:
        """Write the end of the file."""


class LinesWriter:
    """JSONL: one object a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")

    def write(self, row: Line) -> None:
        """Add a line."""
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ListWriter:
    """One JSON list of objects, one a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._before = "[\n"

    def write(self, row: Line) -> None:
        """Add an item."""
        self._file.write(self._before + json.dumps(row, ensure_ascii=False))
        self._before = ",\n"

    def close(self) -> None:
        """End the list."""
        self._file.write("[]\n" if self._before == "[\n" else "\n]\n")
        self._file.close()


class TableWriter:
    """CSV in which every field is quoted, so that `read_table` gives the same rows back."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.DictWriter(
            self._file, columns, quoting=csv.QUOTE_ALL, lineterminator="\n", extrasaction="ignore"
        )
        self._writer.writeheader()

    def write(self, row: Line) -> None:
        """Add a row."""
        self._writer.writerow(row)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
