"""What is said of single answers and prompts: ratings, comments, tags."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from workbench.data.records import AnnotatorKind, Remark, RemarkKind
from workbench.store.database import Database, now
from workbench.store.undo import UndoJournal

_DONE = {"rating": "rated {value}", "comment": "commented", "tag": "tagged {value}"}
_TAKEN = {"rating": "took back a rating", "comment": "took back a comment", "tag": "untagged"}


class RemarkRepository:
    """The remarks of an experiment. Of ratings and comments an annotator's last one counts."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add(
        self,
        kind: RemarkKind,
        prompt_id: int,
        completion_id: int | None,
        value: str,
        annotator: str,
        annotator_kind: AnnotatorKind,
        seconds: float = 0.0,
    ) -> Remark:
        """Append a remark; one undoable operation, on the disk when this returns.

        A rating or a comment takes the place of this annotator's one before, and a tag that is
        there already is not added again.
        """
        created_at = now()
        before = self._standing(kind, prompt_id, completion_id, annotator)
        if kind == "tag":
            before = [remark for remark in before if remark.value == value]
            if before:
                return before[0]
        name = _DONE[kind].format(value=value)
        with self._database.write() as connection, self._undo.operation(name) as operation:
            if before:
                self._mark(connection, [remark.id for remark in before])
                operation.record("remarks", [r.id for r in before], "is_undone", 0, 1)
            remark_id = connection.execute(
                "INSERT INTO remarks (kind, prompt_id, completion_id, value, annotator,"
                " annotator_kind, seconds, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    kind,
                    prompt_id,
                    completion_id,
                    value.encode("utf-8", "replace").decode(),
                    annotator,
                    annotator_kind,
                    seconds,
                    created_at,
                ),
            ).lastrowid
            operation.added("remarks", [int(remark_id or 0)])
        return Remark(
            int(remark_id or 0),
            kind,
            prompt_id,
            completion_id,
            value,
            annotator,
            annotator_kind,
            created_at,
        )

    def take_back(self, remark: Remark) -> None:
        """Mark a remark as not standing any more; one undoable operation."""
        with (
            self._database.write() as connection,
            self._undo.operation(_TAKEN[remark.kind]) as operation,
        ):
            self._mark(connection, [remark.id])
            operation.record("remarks", [remark.id], "is_undone", 0, 1)

    def of_prompt(self, prompt_id: int, annotator: str | None = None) -> list[Remark]:
        """The standing remarks on a prompt and its answers, oldest first."""
        who, names = ("1", ()) if annotator is None else ("annotator = ?", (annotator,))
        rows = self._database.rows(
            f"SELECT * FROM remarks WHERE is_undone = 0 AND prompt_id = ? AND {who} ORDER BY id",
            (prompt_id, *names),
        )
        return [to_remark(row) for row in rows]

    def list(self, kind: RemarkKind) -> list[Remark]:
        """All standing remarks of a kind on what is not deleted, oldest first."""
        rows = self._database.rows(
            "SELECT r.* FROM remarks AS r JOIN prompts AS p ON p.id = r.prompt_id"
            " WHERE r.is_undone = 0 AND p.is_deleted = 0 AND r.kind = ? ORDER BY r.id",
            (kind,),
        )
        return [to_remark(row) for row in rows]

    def vocabulary(self) -> dict[str, int]:
        """Every tag in use with how often it is, the most frequent first."""
        rows = self._database.rows(
            "SELECT value, count(*) AS n FROM remarks WHERE kind = 'tag' AND is_undone = 0"
            " GROUP BY value ORDER BY n DESC, value"
        )
        return {row["value"]: row["n"] for row in rows}

    def _standing(
        self, kind: RemarkKind, prompt_id: int, completion_id: int | None, annotator: str
    ) -> Sequence[Remark]:
        rows = self._database.rows(
            "SELECT * FROM remarks WHERE is_undone = 0 AND kind = ? AND prompt_id = ?"
            " AND completion_id IS ? AND annotator = ? ORDER BY id",
            (kind, prompt_id, completion_id, annotator),
        )
        return [to_remark(row) for row in rows]

    def _mark(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        connection.execute(
            "UPDATE remarks SET is_undone = 1 WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(ids)),),
        )


def to_remark(row: sqlite3.Row) -> Remark:
    """The record of a row of `remarks`."""
    return Remark(
        id=row["id"],
        kind=row["kind"],
        prompt_id=row["prompt_id"],
        completion_id=row["completion_id"],
        value=row["value"],
        annotator=row["annotator"],
        annotator_kind=row["annotator_kind"],
        created_at=row["created_at"],
    )
