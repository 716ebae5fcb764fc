"""Parquet through pyarrow, which the extra `parquet` brings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from workbench.data.formats.lines import LineError
from workbench.errors import EnvironmentProblem, UserError

_BATCH = 256
_ROW_GROUP = 4096


def columns(path: Path) -> tuple[str, ...]:
    """The names of the columns.

    Raises:
        UserError: It is no Parquet file.
    """
    with _opened(path) as file:
        return tuple(file.schema_arrow.names)


def entries(path: Path) -> Iterator[tuple[int, Any, float]]:
    """Row number (from 1), row as a dict, and the share of the rows that has been read.

    Raises:
        UserError: It is no Parquet file.
    """
    with _opened(path) as file:
        n_rows, number = file.metadata.num_rows, 0
        try:
            for batch in file.iter_batches(batch_size=_BATCH):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row, number / n_rows
        except (OSError, _arrow().ArrowException) as error:
            yield number + 1, LineError(f"The file is damaged from here on: {error}."), 1.0


class ParquetWriter:
    """Writes rows with text columns and lists of messages, a few thousand at a time.

    Args:
        path: The file to make.
        columns: Name to kind: text, messages or number.
    """

    def __init__(self, path: Path, columns: Mapping[str, str]) -> None:
        arrow = _arrow()
        message = arrow.struct([("role", arrow.string()), ("content", arrow.string())])
        kinds = {
            "text": arrow.string(),
            "messages": arrow.list_(message),
            "number": arrow.int64(),
        }
        self._schema = arrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._writer = _parquet().ParquetWriter(path, self._schema, compression="zstd")
        self._waiting: list[Mapping[str, object]] = []

    def write(self, row: Mapping[str, object]) -> None:
        """Add a row."""
        self._waiting.append(row)
        if len(self._waiting) >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what waits, and the file's end."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._waiting:
            self._writer.write_table(_arrow().Table.from_pylist(self._waiting, self._schema))
            self._waiting = []


def require() -> None:
    """Check that pyarrow is there.

    Raises:
        EnvironmentProblem: It is not.
    """
    _arrow()


def _opened(path: Path) -> Any:
    arrow = _arrow()
    try:
        return _parquet().ParquetFile(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise UserError(
            f"{path.name} cannot be read as Parquet: {error}.", "Download or copy it again."
        ) from None


def _arrow() -> Any:
    try:
        import pyarrow
    except ImportError:
        raise EnvironmentProblem(
            "Parquet needs the library pyarrow, which is not installed.",
            'Install it with pip install "rlhf-workbench[parquet]", or use JSONL.',
        ) from None
    return pyarrow


def _parquet() -> Any:
    import pyarrow.parquet

    return pyarrow.parquet
