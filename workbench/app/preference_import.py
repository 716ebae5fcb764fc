"""Preferences from files of other programs: looked at first, then added as one undoable step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.data.formats import preferences as preference_files
from workbench.data.formats.exports import PREFERENCES, UNDECIDED
from workbench.data.formats.lines import LineProblem
from workbench.data.formats.preferences import (
    MAX_PROBLEMS,
    FileFacts,
    PreferencePreview,
    PreferenceReader,
)
from workbench.data.formats.rows import PreferenceRow
from workbench.errors import UserError
from workbench.events import Progress
from workbench.store.undo import Group

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace
    from workbench.cancel import CancelToken
    from workbench.jobs.runner import Job, Working

# A verdict that a person gives meanwhile waits for a batch at the most.
_BATCH = 250


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What an import did.

    Attributes:
        n: Judgements, or answers, that are new.
        n_known: Lines that say what is here already, or what an earlier line said.
        problems: Sentences on lines that were left out, the first `MAX_PROBLEMS`.
        n_problems: How many lines were left out.
        notes: Sentences on what else was left out.
    """

    n: int
    n_known: int
    problems: list[LineProblem]
    n_problems: int = 0
    notes: tuple[str, ...] = ()


def inspect_preferences(
    path: Path, columns: Mapping[str, str] | None = None, form: str | None = None
) -> FileFacts:
    """Form and columns of a file, before it is read; `form` None asks for its columns.

    Raises:
        UserError: There is no such file, it is of no kind that can be read, or names are wrong.
    """
    return preference_files.inspect(_files(path)[0], columns, form)


def column_names(path: Path) -> tuple[str, ...]:
    """The names of a file's fields, whatever they hold.

    Raises:
        UserError: There is no such file, or it is of no kind that can be read.
    """
    return preference_files.inspect(_files(path)[0]).columns


def preview_preferences(
    path: Path,
    columns: Mapping[str, str] | None = None,
    form: str | None = None,
    limit: int | None = None,
) -> PreferencePreview:
    """What importing a file, or the folder of an export, would add.

    Args:
        path: A file, or a folder: of an export the ties and skips are read too, of a data set all
            Parquet files.
        columns: Names of our columns to those of the file; None guesses where no form fits.
        form: A name of `FORMS`; None detects it.
        limit: Lines to read of each file; None reads all.

    Raises:
        UserError: There is nothing that can be read, or names are wrong.
    """
    return preference_files.joined(
        [
            preference_files.read_preferences(file, columns, form, limit)
            if n == 0
            else preference_files.read_preferences(file, limit=limit)
            for n, file in enumerate(_files(path))
        ]
    )


def import_preferences(
    ws: Workspace,
    path: Path,
    columns: Mapping[str, str] | None = None,
    form: str | None = None,
) -> Job:
    """Add prompts, answers, comparisons and judgements of a file in one undoable step.

    Which answer is shown first is drawn anew, so that the chosen one is not always A. Rows that
    are here already, by the same annotator, are counted and not repeated. Cancelled, it leaves
    nothing behind. The job's result is told by `result_of`.

    Raises:
        UserError: The file is missing or of another kind, or its columns have to be named.
    """
    readers = [
        PreferenceReader(file, columns, form) if n == 0 else PreferenceReader(file)
        for n, file in enumerate(_files(path))
    ]

    def work(cancel: CancelToken) -> Working:
        group = Group()
        told = _Told()
        try:
            for reader in readers:
                rows = told.good(reader.rows())
                while batch := list(islice(rows, _BATCH)):
                    cancel.raise_if_stopping()
                    told.n += ws.experiment.exchange.add_judged(batch, group, told.n)
                    told.n_rows += len(batch)
                    # Reading runs ahead of storing, so the last percent is that of the end.
                    yield Progress(int(99 * reader.share), 100, f"Importing {path.name}")
            told.refuse_nothing(path.name)
            yield Progress(100, 100, f"Imported {path.name}")
        except BaseException:
            ws.experiment.undo.revert(group)
            raise
        return asdict(told.result(readers))

    return ws.submit(f"Import {path.name}", "import", work, unit="pairs")


def result_of(values: Mapping[str, Any]) -> ImportResult:
    """What an import did, out of the result of its job."""
    problems = [LineProblem(**problem) for problem in values["problems"]]
    return ImportResult(**{**values, "problems": problems, "notes": tuple(values["notes"])})


class _Told:
    """What an import has found so far."""

    def __init__(self) -> None:
        self.n = self.n_rows = self.n_problems = 0
        self._problems: list[LineProblem] = []

    def good(self, found: Iterator[PreferenceRow | LineProblem]) -> Iterator[PreferenceRow]:
        """The rows; what stands between them is noted."""
        for row in found:
            if isinstance(row, PreferenceRow):
                yield row
                continue
            self.n_problems += 1
            if len(self._problems) < MAX_PROBLEMS:
                self._problems.append(row)

    def refuse_nothing(self, name: str) -> None:
        if not self.n_rows:
            first = next(iter(self._problems), None)
            why = f" Line {first.line}: {first.message}" if first else ""
            raise UserError(f"{name} holds no preference that can be used.{why}")

    def result(self, readers: Sequence[PreferenceReader]) -> ImportResult:
        return ImportResult(
            self.n,
            self.n_rows - self.n + sum(reader.n_duplicates for reader in readers),
            self._problems,
            self.n_problems,
            tuple(note for reader in readers for note in reader.notes()),
        )


def _files(path: Path) -> list[Path]:
    """The files of a folder that hold judgements; a file itself."""
    if not path.is_dir():
        return [path]
    if (path / PREFERENCES).is_file():
        return [p for name in (PREFERENCES, UNDECIDED) if (p := path / name).is_file()]
    if files := sorted([*path.glob("*.parquet"), *path.glob("data/*.parquet")]):
        return files
    raise UserError(
        f"There is no {PREFERENCES} in {path}, and no Parquet file.",
        "Choose a JSONL, JSON, CSV or Parquet file.",
    )
