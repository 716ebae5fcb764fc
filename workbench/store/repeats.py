"""Pairs that an annotator was shown once more, to see how far the first judgement holds."""

from __future__ import annotations

import sqlite3

from workbench.data.records import AnnotatorKind, Comparison, Repeat, Strength, Verdict
from workbench.store.comparisons import to_comparison
from workbench.store.database import Database, now
from workbench.store.undo import UndoJournal

_STANDING = "FROM judgements AS j WHERE j.is_undone = 0"
_ANSWERS = (
    "JOIN comparisons AS c ON c.id = j.comparison_id JOIN prompts AS p ON p.id = c.prompt_id"
    " JOIN completions AS a ON a.id = c.first_id JOIN completions AS b ON b.id = c.second_id"
)


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

    def n_judged(self, annotator: str) -> int:
        """How many judgements of this annotator stand: what the methods below count along."""
        return int(
            self._database.value(f"SELECT count(*) {_STANDING} AND j.annotator = ?", (annotator,))
        )

    def is_due(self, annotator: str, n_since: int) -> bool:
        """Whether nothing was repeated after the judgement that `n_since` others followed."""
        judged_at = self._database.value(
            f"SELECT created_at {_STANDING} AND j.annotator = ? ORDER BY id DESC LIMIT 1 OFFSET ?",
            (annotator, n_since),
        )
        last = self._database.value(
            # The last row of the table is found at once; + keeps SQLite from the index by name.
            "SELECT created_at FROM repeats WHERE is_undone = 0 AND +annotator = ?"
            " ORDER BY id DESC LIMIT 1",
            (annotator,),
        )
        return judged_at is not None and (last is None or last < judged_at)

    def candidate(self, annotator: str, start: int, end: int, n_judged: int) -> Comparison | None:
        """A pair that can be shown again: the first from standing judgement `start` on.

        It must have been decided by itself and not said anew since, not have been repeated yet,
        and hold two different answers, none of them written by a person.

        Args:
            annotator: Whose.
            start: Number of the judgement, oldest first, to look from.
            end: Only judgements before this number.
            n_judged: How many there are.
        """
        last_id = self._id_of(annotator, end - 1, n_judged)
        found = self._first_candidate(annotator, self._id_of(annotator, start, n_judged), last_id)
        return found or self._first_candidate(annotator, 0, last_id)

    def said_before(self, repeat: Repeat) -> Verdict | None:
        """What the annotator had said of the pair when it was shown again, as far as it stands."""
        verdict: Verdict | None = self._database.value(
            f"SELECT verdict {_STANDING} AND j.comparison_id = ? AND j.annotator = ?"
            " AND j.created_at <= ? ORDER BY id DESC LIMIT 1",
            (repeat.comparison_id, repeat.annotator, repeat.created_at),
        )
        return verdict

    def _id_of(self, annotator: str, number: int, n_judged: int) -> int:
        """Id of a standing judgement, counted from the nearer end: SQLite steps over the others."""
        order, steps = "ASC", number
        if 2 * number > n_judged:
            order, steps = "DESC", n_judged - 1 - number
        sql = f"SELECT id {_STANDING} AND j.annotator = ? ORDER BY id {order} LIMIT 1 OFFSET ?"
        return int(self._database.value(sql, (annotator, steps)) or 0)

    def _first_candidate(self, annotator: str, first_id: int, last_id: int) -> Comparison | None:
        row = self._database.row(
            f"SELECT c.* FROM judgements AS j {_ANSWERS} WHERE j.is_undone = 0"
            " AND j.annotator = ?1 AND j.id BETWEEN ?2 AND ?3"
            " AND j.verdict <> 'skip' AND j.ranking_id IS NULL"
            " AND c.is_deleted = 0 AND p.is_deleted = 0"
            " AND a.author = '' AND b.author = '' AND trim(a.text) <> trim(b.text)"
            " AND NOT EXISTS (SELECT 1 FROM judgements AS later WHERE later.is_undone = 0"
            "  AND later.comparison_id = c.id AND later.annotator = ?1 AND later.id > j.id)"
            " AND NOT EXISTS (SELECT 1 FROM repeats AS r WHERE r.is_undone = 0"
            "  AND r.comparison_id = c.id AND r.annotator = ?1)"
            " ORDER BY j.id LIMIT 1",
            (annotator, first_id, last_id),
        )
        return to_comparison(row) if row else None


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
