"""One SQLite file: one writer connection, read-only connections per thread, full durability.

A commit is on the disk when it returns (WAL with synchronous=FULL: one fsync, about 2 ms).
There is exactly one writer connection because SQLite before 3.51.3 can corrupt a WAL file when
two connections write or checkpoint at the same moment; the readers never checkpoint.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from workbench.errors import EnvironmentProblem
from workbench.store import migrations
from workbench.store.problems import damaged, database_problem

log = logging.getLogger(__name__)

_BUSY_MS = 5000
_NETWORK_TYPES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p", "afs", "davfs"}
Parameters = Sequence[Any] | Mapping[str, Any]


class Database:
    """The connections to one database file. Safe to use from any thread."""

    def __init__(self, path: Path, writer: sqlite3.Connection | None, uri: str) -> None:
        self.path = path
        self._writer = writer
        self._uri = uri
        self._write_lock = threading.RLock()
        self._write_depth = 0
        self._writing_thread = 0
        self._readers: dict[threading.Thread, sqlite3.Connection] = {}
        self._readers_lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, *, is_read_only: bool = False) -> Database:
        """Open (or make) the database, bring it to the newest format and check its pages.

        Raises:
            EnvironmentProblem: Not a database, damaged, of a newer program, or not writable.
        """
        with telling_database_problems(path):
            database = cls._open_reader(path) if is_read_only else cls._open_writer(path)
        try:
            with telling_database_problems(path):
                database._check_pages()
        except BaseException:
            database.close()
            raise
        return database

    @classmethod
    def _open_writer(cls, path: Path) -> Database:
        connection = _connect(f"{path.absolute().as_uri()}?mode=rwc")
        try:
            migrations.refuse_foreign(connection, path)
            _make_durable(connection, path)
            migrations.migrate(connection, path, path.parent / "backups")
        except BaseException:
            connection.close()
            raise
        return cls(path, connection, f"{path.absolute().as_uri()}?mode=ro")

    @classmethod
    def _open_reader(cls, path: Path) -> Database:
        uri = f"{path.absolute().as_uri()}?mode=ro"
        if not os.access(path.parent, os.W_OK) and not _has_content(_wal(path)):
            # WAL needs to make a -shm file, which a read-only folder refuses.
            uri += "&immutable=1"
        database = cls(path, None, uri)
        try:
            migrations.refuse_foreign(database.read(), path)
            migrations.refuse_older(database.read(), path)
        except BaseException:
            database.close()
            raise
        return database

    @property
    def is_read_only(self) -> bool:
        """Whether every write is refused."""
        return self._writer is None

    @property
    def n_changes(self) -> int:
        """Rows written since this database was opened."""
        return self._writer.total_changes if self._writer else 0

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """The writer connection inside a transaction: committed at a clean exit, else undone.

        Nested calls in one thread join the outer transaction, each with its own savepoint.

        Raises:
            EnvironmentProblem: The experiment is read-only, the disk is full or the like.
        """
        if self._writer is None:
            raise EnvironmentProblem(
                f"{self.path.parent.name} is open read-only, so nothing can be changed.",
                "Close the other program that holds it and open it again.",
            )
        connection = self._writer
        with self._write_lock, telling_database_problems(self.path):
            level = self._write_depth
            connection.execute(f"SAVEPOINT level_{level}" if level else "BEGIN IMMEDIATE")
            self._write_depth += 1
            self._writing_thread = threading.get_ident()
            try:
                yield connection
                connection.execute(f"RELEASE level_{level}" if level else "COMMIT")
            except BaseException:
                # A full disk can already have ended the transaction.
                if connection.in_transaction:
                    self._roll_back(connection, level)
                raise
            finally:
                self._write_depth -= 1
                if not self._write_depth:
                    self._writing_thread = 0

    def read(self) -> sqlite3.Connection:
        """This thread's read-only connection (inside `write`, the writer: it sees its changes)."""
        if self._writer is not None and self._writing_thread == threading.get_ident():
            return self._writer
        thread = threading.current_thread()
        connection = self._readers.get(thread)
        if connection is None:
            connection = _connect(self._uri)
            connection.execute("PRAGMA query_only = 1")
            with self._readers_lock:
                for gone in [t for t in self._readers if not t.is_alive() and t is not thread]:
                    self._readers.pop(gone).close()
                self._readers[thread] = connection
        return connection

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with telling_database_problems(self.path):
            return self.read().execute(sql, parameters).fetchall()

    def row(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """The first row of a query."""
        with telling_database_problems(self.path):
            found: sqlite3.Row | None = self.read().execute(sql, parameters).fetchone()
            return found

    def value(self, sql: str, parameters: Parameters = ()) -> Any:
        """The first value of the first row; None when there is no row."""
        found = self.row(sql, parameters)
        return found[0] if found else None

    def close(self) -> None:
        """Close all connections; the write-ahead log is folded into the file."""
        with self._readers_lock:
            for connection in self._readers.values():
                connection.close()
            self._readers.clear()
        if self._writer is not None:
            with self._write_lock:
                self._writer.close()

    def _check_pages(self) -> None:
        found = self.value("PRAGMA quick_check(1)")
        if found != "ok":
            raise damaged(self.path, str(found).splitlines()[0])

    @staticmethod
    def _roll_back(connection: sqlite3.Connection, level: int) -> None:
        if level:
            connection.execute(f"ROLLBACK TO level_{level}")
            connection.execute(f"RELEASE level_{level}")
        else:
            connection.execute("ROLLBACK")


@contextmanager
def telling_database_problems(path: Path) -> Iterator[None]:
    """Turn SQLite errors that the machine causes into sentences; others pass as bugs."""
    try:
        yield
    except sqlite3.Error as error:
        problem = database_problem(error, path)
        if problem is None:
            raise
        raise problem from error


def now() -> str:
    """The present moment as stored: UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000
    )
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = 1")
    return connection


def _make_durable(connection: sqlite3.Connection, path: Path) -> None:
    wanted = "DELETE" if _is_on_network(path) else "WAL"
    mode = connection.execute(f"PRAGMA journal_mode = {wanted}").fetchone()[0]
    if mode != wanted.lower():
        log.warning("no write-ahead log at %s (%s): using a rollback journal", path, mode)
        connection.execute("PRAGMA journal_mode = DELETE")
    connection.execute("PRAGMA synchronous = FULL")
    if sys.platform == "darwin":
        connection.execute("PRAGMA fullfsync = 1")
        connection.execute("PRAGMA checkpoint_fullfsync = 1")


def _is_on_network(path: Path) -> bool:
    """Whether the file lies on a network file system, where WAL's shared memory fails."""
    try:
        mounts = Path("/proc/mounts").read_text("utf-8").splitlines()
    except OSError:
        return False
    folder = path.absolute().parent
    fields = [line.split() for line in mounts]
    over = [f for f in fields if len(f) > 2 and folder.is_relative_to(f[1])]
    return bool(over) and max(over, key=lambda f: len(f[1]))[2] in _NETWORK_TYPES


def _wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0
