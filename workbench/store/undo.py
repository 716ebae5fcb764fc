"""Undo and redo of changes to user data, kept in the database, so that they outlive a restart.

Every change is a column of some rows going from one value to another: adding is `is_deleted`
from 1 to 0, deleting is 0 to 1, judging is `is_undone` from 1 to 0. Undo writes the value before,
redo the value after, so nothing is ever removed and both directions are exact.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby

from workbench.store.database import Database, now

_UNDOABLE = {
    "prompts": {"is_deleted", "split", "prompt_group"},
    "completions": {"is_deleted"},
    "comparisons": {"is_deleted"},
    "judgements": {"is_undone"},
    "rankings": {"is_undone"},
    "repeats": {"is_undone"},
    "remarks": {"is_undone"},
    "votes": {"is_undone"},
    "runs": {"is_deleted", "note", "tags"},
}
Value = int | str


@dataclass(slots=True)
class Group:
    """One operation that grows over several transactions: a long job is undone as a whole."""

    operation_id: int | None = None


class Operation:
    """The changes of one transaction, under the name that undo shows."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._changes: list[tuple[str, str, int, int, Value, Value]] = []

    def record(
        self, table: str, ids: Iterable[int], column: str, before: Value, after: Value
    ) -> None:
        """Note that `column` of these rows went from `before` to `after`."""
        if column not in _UNDOABLE[table]:
            raise ValueError(f"{table}.{column} cannot be undone")
        for first, last in _ranges(ids):
            self._changes.append((table, column, first, last, before, after))

    def added(self, table: str, ids: Iterable[int]) -> None:
        """Note that these rows are new."""
        column = "is_undone" if "is_undone" in _UNDOABLE[table] else "is_deleted"
        self.record(table, ids, column, 1, 0)

    @contextmanager
    def nested(self) -> Iterator[None]:
        """Forget what the body records when it raises: its savepoint is rolled back too."""
        n_before = len(self._changes)
        try:
            yield
        except BaseException:
            del self._changes[n_before:]
            raise

    def write(self, connection: sqlite3.Connection, group: Group | None) -> None:
        """Store the operation; one without changes leaves no trace."""
        if not self._changes:
            return
        operation_id = self._extend(connection, group)
        if operation_id is None:
            connection.execute("DELETE FROM operations WHERE is_undone = 1")
            operation_id = connection.execute(
                "INSERT INTO operations (name, created_at) VALUES (?, ?)", (self.name, now())
            ).lastrowid
        connection.executemany(
            "INSERT INTO changes (operation_id, table_name, column_name, first_id, last_id,"
            f" before, after) VALUES ({operation_id}, ?, ?, ?, ?, ?, ?)",
            self._changes,
        )
        if group is not None:
            group.operation_id = operation_id

    def _extend(self, connection: sqlite3.Connection, group: Group | None) -> int | None:
        if group is None or group.operation_id is None:
            return None
        found = connection.execute(
            "UPDATE operations SET name = ? WHERE id = ? AND is_undone = 0",
            (self.name, group.operation_id),
        )
        return group.operation_id if found.rowcount else None


class UndoJournal:
    """The stack of operations of one experiment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # Only read and written while the writer lock is held.
        self._active: Operation | None = None

    @contextmanager
    def operation(self, name: str, group: Group | None = None) -> Iterator[Operation]:
        """One named transaction; what repositories change inside it belongs to it.

        A new operation forgets what could have been redone.
        """
        with self._database.write() as connection:
            if self._active is not None:
                with self._active.nested():
                    yield self._active
                return
            self._active = Operation(name)
            try:
                yield self._active
                self._active.write(connection, group)
            finally:
                self._active = None

    def revert(self, group: Group) -> None:
        """Take back what a group has done so far, as if it had never begun; later changes stay."""
        if group.operation_id is None:
            return
        with self._database.write() as connection:
            if connection.execute(
                "SELECT 1 FROM operations WHERE id = ? AND is_undone = 0", (group.operation_id,)
            ).fetchone():
                _apply_all(connection, group.operation_id, is_undo=True)
            connection.execute("DELETE FROM operations WHERE id = ?", (group.operation_id,))
        group.operation_id = None

    def undo(self) -> str | None:
        """Take back the newest operation; its name, or None when there is none."""
        return self._step(
            "SELECT id, name FROM operations WHERE is_undone = 0 ORDER BY id DESC LIMIT 1", True
        )

    def redo(self) -> str | None:
        """Do the last undone operation again; its name, or None when there is none."""
        return self._step(
            "SELECT id, name FROM operations WHERE is_undone = 1 ORDER BY id LIMIT 1", False
        )

    def next_undo_name(self) -> str | None:
        """What `undo` would take back."""
        name: str | None = self._database.value(
            "SELECT name FROM operations WHERE is_undone = 0 ORDER BY id DESC LIMIT 1"
        )
        return name

    def next_redo_name(self) -> str | None:
        """What `redo` would do again."""
        name: str | None = self._database.value(
            "SELECT name FROM operations WHERE is_undone = 1 ORDER BY id LIMIT 1"
        )
        return name

    def next_size(self, *, is_undo: bool) -> int:
        """How many rows `undo` or `redo` would change."""
        choose = "max(id)" if is_undo else "min(id)"
        n = self._database.value(
            "SELECT sum(last_id - first_id + 1) FROM changes WHERE operation_id ="
            f" (SELECT {choose} FROM operations WHERE is_undone = ?)",
            (int(not is_undo),),
        )
        return int(n or 0)

    def _step(self, choose: str, is_undo: bool) -> str | None:
        with self._database.write() as connection:
            found = connection.execute(choose).fetchone()
            if found is None:
                return None
            _apply_all(connection, found["id"], is_undo)
            connection.execute(
                "UPDATE operations SET is_undone = ? WHERE id = ?", (int(is_undo), found["id"])
            )
            return str(found["name"])


def _apply_all(connection: sqlite3.Connection, operation_id: int, is_undo: bool) -> None:
    order = "DESC" if is_undo else "ASC"
    changes = connection.execute(
        f"SELECT * FROM changes WHERE operation_id = ? ORDER BY id {order}", (operation_id,)
    ).fetchall()
    for change in changes:
        _apply(connection, change, change["before"] if is_undo else change["after"])


def _apply(connection: sqlite3.Connection, change: sqlite3.Row, value: Value) -> None:
    table, column = change["table_name"], change["column_name"]
    # The names come from a file that somebody else may have made.
    if column not in _UNDOABLE.get(table, set()):
        raise sqlite3.IntegrityError(f"an undo entry names {table}.{column}")
    connection.execute(
        f"UPDATE {table} SET {column} = ? WHERE id BETWEEN ? AND ?",
        (value, change["first_id"], change["last_id"]),
    )


def _ranges(ids: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Runs of neighbouring ids as (first, last)."""
    for _, run in groupby(enumerate(sorted(set(ids))), key=lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]
