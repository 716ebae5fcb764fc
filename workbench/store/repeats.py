"""Pairs that an annotator was shown once more, to see how far the first judgement holds."""

from __future__ import annotations

import sqlite3

from workbench.data.records import AnnotatorKind, Repeat, Strength, Verdict
from workbench.store.database import Database, now
from workbench.store.undo import UndoJournal


class RepeatRepository:
    """The repeats of an experiment. They never change what the first judgement says."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add(
        self,
        comparison_id: int,
        verdict: Verdict,
        annotator: str,
        annotator_kind: AnnotatorKind,
        seconds: float,
        *,
        is_swapped: bool,
        strength: Strength = 0,
    ) -> Repeat:
        """Append a repeat; one undoable operation, on the disk when this returns.

        Args:
            comparison_id: The pair.
            verdict: In the comparison's own order.
            annotator: Who judged.
            annotator_kind: What they are.
            seconds: How long it took.
            is_swapped: Whether the second answer stood first on the screen.
            strength: How much better the better one is.
        """
        created_at = now()
        with (
            self._database.write() as connection,
            self._undo.operation("judged a pair once more") as operation,
        ):
            repeat_id = connection.execute(
                "INSERT INTO repeats (comparison_id, verdict, strength, is_swapped, annotator,"
                " annotator_kind, seconds, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    comparison_id,
                    verdict,
                    strength,
                    int(is_swapped),
                    annotator,
                    annotator_kind,
                    seconds,
                    created_at,
                ),
            ).lastrowid
            operation.added("repeats", [int(repeat_id or 0)])
        return Repeat(
            int(repeat_id or 0),
            comparison_id,
            verdict,
            strength,
            is_swapped,
            annotator,
            annotator_kind,
            seconds,
            created_at,
        )

    def list(self, annotator: str | None = None) -> list[Repeat]:
        """All standing repeats, oldest first; of everybody or of one annotator."""
        who, names = ("1", ()) if annotator is None else ("annotator = ?", (annotator,))
        rows = self._database.rows(
            f"SELECT * FROM repeats WHERE is_undone = 0 AND {who} ORDER BY id", names
        )
        return [_to_repeat(row) for row in rows]

    def count(self, annotator: str) -> int:
        """How many repeats of this annotator stand."""
        return int(
            self._database.value(
                "SELECT count(*) FROM repeats WHERE is_undone = 0 AND annotator = ?", (annotator,)
            )
        )


def _to_repeat(row: sqlite3.Row) -> Repeat:
    return Repeat(
        id=row["id"],
        comparison_id=row["comparison_id"],
        verdict=row["verdict"],
        strength=row["strength"],
        is_swapped=bool(row["is_swapped"]),
        annotator=row["annotator"],
        annotator_kind=row["annotator_kind"],
        seconds=row["seconds"],
        created_at=row["created_at"],
    )
