"""Schema changes in order: one numbered SQL file each, applied once, never edited afterwards."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench.errors import EnvironmentProblem

log = logging.getLogger(__name__)

APPLICATION_ID = 0x524C4857  # "RLHW": tells an experiment from any other SQLite file


@dataclass(frozen=True, slots=True)
class Migration:
    """The statements that lead from the version before to `version`."""

    version: int
    name: str
    statements: tuple[str, ...]


def known() -> tuple[Migration, ...]:
    """All migrations that this program has, in order."""
    files = sorted(Path(__file__).parent.glob("[0-9]*.sql"))
    return tuple(
        Migration(
            int(file.stem.split("_")[0]), file.stem, tuple(_statements(file.read_text("utf-8")))
        )
        for file in files
    )


def version_of(connection: sqlite3.Connection) -> int:
    """The schema version of a database; 0 for a new one."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Raise when the database is not an experiment, or is one of a newer program."""
    version, newest = version_of(connection), known()[-1].version
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    n_tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if n_tables and application != APPLICATION_ID:
        raise EnvironmentProblem(
            f"{path} is a database, but not one of RLHF Workbench.",
            "It was not changed. Choose the folder of an experiment.",
        )
    if version > newest:
        raise EnvironmentProblem(
            f"{path.parent.name} was last opened by a newer version of RLHF Workbench "
            f"(its format is {version}, this program knows {newest}).",
            "It was not changed. Update this program to open it.",
        )


def refuse_older(connection: sqlite3.Connection, path: Path) -> None:
    """Raise when the database would have to be migrated, which read-only it cannot be."""
    if version_of(connection) < known()[-1].version:
        raise EnvironmentProblem(
            f"{path.parent.name} is in an older format, and read-only it stays in it.",
            "Open it once without read-only; a copy of it is kept.",
        )


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    backups: Path,
    migrations: tuple[Migration, ...] | None = None,
) -> list[Path]:
    """Bring the database to the newest version, with a copy of it before each step.

    Each step is one transaction: when a statement fails, schema and version stay as before.

    Returns:
        The copies that were made.

    Raises:
        EnvironmentProblem: A step failed; it says where the copy lies.
    """
    made, is_new = [], version_of(connection) == 0
    for migration in known() if migrations is None else migrations:
        if migration.version <= version_of(connection):
            continue
        if not is_new:
            made.append(_copy(connection, backups, migration.version))
        _apply(connection, path, migration)
    return made


def _copy(connection: sqlite3.Connection, backups: Path, version: int) -> Path:
    backups.mkdir(parents=True, exist_ok=True)
    target = backups / f"before-format-{version}.db"
    # A copy left by an attempt that failed shows the same state; VACUUM INTO will not overwrite.
    target.unlink(missing_ok=True)
    connection.execute("VACUUM INTO ?", (str(target),))
    return target


def _apply(connection: sqlite3.Connection, path: Path, migration: Migration) -> None:
    log.info("bringing %s to format %d", path, migration.version)
    # A table that is written anew is gone for a moment, which foreign keys must not see; inside a
    # transaction they cannot be switched.
    connection.execute("PRAGMA foreign_keys = OFF")
    connection.execute("BEGIN EXCLUSIVE")
    try:
        for statement in migration.statements:
            connection.execute(statement)
        if connection.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise sqlite3.IntegrityError("rows would point to nothing")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {migration.version}")
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise EnvironmentProblem(
            f"{path.parent.name} could not be brought to format {migration.version}: {error}.",
            "It is as it was before. Make sure that the disk has space and can be written, and "
            "open it again; the version of the program that made it still opens it too.",
        ) from error
    finally:
        connection.execute("PRAGMA foreign_keys = ON")


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement.strip()
            statement = ""
