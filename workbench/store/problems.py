"""Sentences for what SQLite refuses because of the machine; anything else is a bug."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from workbench.errors import EnvironmentProblem

_SAFE = "Everything saved before is safe."


def database_problem(error: sqlite3.Error, path: Path) -> EnvironmentProblem | None:
    """The sentence for an SQLite error about the database at `path`; None when it is a bug."""
    kind = (getattr(error, "sqlite_errorname", "") or "").removeprefix("SQLITE_").split("_")[0]
    if kind == "CORRUPT":
        return damaged(path, str(error))
    texts = _sentences(path, str(error)).get(kind)
    return EnvironmentProblem(*texts) if texts else None


def damaged(path: Path, detail: str) -> EnvironmentProblem:
    """The sentence for a database whose pages do not fit together."""
    copies = sorted((path.parent / "backups").glob("experiment-*.db"))
    newest = f"the copy {copies[-1].name} in {copies[-1].parent}" if copies else "a copy of yours"
    return EnvironmentProblem(
        f"The database {path} is damaged ({detail}).",
        f"It was not changed. Keep it aside under another name and put {newest} in its place.",
    )


def _sentences(path: Path, detail: str) -> dict[str, tuple[str, str]]:
    """Message and hint for each family of SQLite result codes that the machine causes."""
    folder = path.parent
    in_use = (
        f"Another program is using {path.name} in {folder.name}, so the change was not saved.",
        f"{_SAFE} Close the other program and try again.",
    )
    unreachable = (
        f"{path} could not be read or written: {detail}.",
        f"{_SAFE} Make sure that the disk is there, has space, and can be written.",
    )
    return {
        "FULL": (
            f"The disk is full: the last change to {folder.name} could not be saved.",
            f"{_SAFE} Free some space and try again.",
        ),
        "READONLY": (
            f"{folder} is read-only, so the change could not be saved.",
            f"{_SAFE} Allow writing to the folder, or copy the experiment to another place.",
        ),
        "BUSY": in_use,
        "LOCKED": in_use,
        "NOTADB": (
            f"{path} is not a database.",
            f"It was not changed. Choose another folder, or put a copy from {folder / 'backups'} "
            "in its place.",
        ),
        "IOERR": unreachable,
        "CANTOPEN": unreachable,
    }
