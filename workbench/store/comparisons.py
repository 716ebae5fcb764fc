"""Comparisons: pairs of answers to one prompt, in the order in which they are shown."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.data.records import Comparison
from workbench.errors import UserError
from workbench.store.database import Database, now
from workbench.store.undo import Group, UndoJournal

_FIRST = -1e12  # below any place that an order gives
_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Counts:
    """How far an annotator is: `judged` includes ties and both bad, `skipped` stands apart."""

    total: int
    pending: int
    judged: int
    skipped: int


class ComparisonRepository:
    """The comparisons of an experiment and each annotator's queue of them."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add_many(self, pairs: Sequence[tuple[int, int, int]], *, is_undoable: bool = False) -> int:
        """Add pairs of (prompt id, first answer's id, second answer's id).

        A pair that exists already, in either order, is left out. Pairs that follow from the
        answers are no operation of the undo journal; imported ones are.

        Returns:
            How many were added.
        """
        return sum(1 for _, is_new in self.ensure(pairs, is_undoable=is_undoable) if is_new)

    def ensure(
        self, pairs: Sequence[tuple[int, int, int]], *, is_undoable: bool = False
    ) -> list[tuple[Comparison, bool]]:
        """As `add_many`, but gives each pair's stored comparison and whether it is new."""
        with self._database.write() as connection:
            found = [_find_or_add(connection, *pair) for pair in pairs]
            if is_undoable:
                with self._undo.operation(f"added {len(found)} pairs") as operation:
                    operation.added("comparisons", [c.id for c, is_new in found if is_new])
        return found

    def get(self, comparison_id: int) -> Comparison:
        """One comparison.

        Raises:
            UserError: There never was such a comparison.
        """
        row = self._database.row("SELECT * FROM comparisons WHERE id = ?", (comparison_id,))
        if row is None:
            raise UserError(f"There is no comparison {comparison_id} in this experiment.")
        return to_comparison(row)

    def next_pending(self, annotator: str, after_id: int = 0) -> Comparison | None:
        """The next comparison that this annotator has not judged, in the order of the queue.

        One step in an index, whatever the number of judged comparisons before it.

        Args:
            annotator: Whose queue.
            after_id: The comparison to go on behind. One that is judged already has no place in a
                chosen order any more: then the first of the queue is next.
        """
        queue, order = self._queue_of(annotator), ""
        parameters: tuple[str | float, ...] = (annotator,)
        if queue.startswith("queue"):
            order = "priority, "
            place = self._place(annotator, after_id)
            if place is not None:
                queue += " AND (priority, comparison_id) > (?, ?)"
                parameters = (annotator, place, after_id)
        else:
            queue += " AND comparison_id > ?"
            parameters = (annotator, after_id)
        row = self._database.row(
            "SELECT * FROM comparisons WHERE id = (SELECT comparison_id"
            f" FROM {queue} ORDER BY {order}comparison_id LIMIT 1)",
            parameters,
        )
        return to_comparison(row) if row else None

    def _place(self, annotator: str, comparison_id: int) -> float | None:
        """Where a comparison stands in the queue, or stood when nobody chose an order."""
        who = "annotator_id = (SELECT id FROM annotators WHERE name = ?)"
        here: float | None = self._database.value(
            f"SELECT priority FROM queue WHERE {who} AND comparison_id = ?",
            (annotator, comparison_id),
        )
        if here is not None:
            return here
        first = self._database.value(
            f"SELECT priority FROM queue WHERE {who} ORDER BY priority LIMIT 1", (annotator,)
        )
        return None if first else 0.0

    def is_pending(self, annotator: str, comparison_id: int) -> bool:
        """Whether this annotator has yet to judge a comparison."""
        sql = f"SELECT 1 FROM {self._queue_of(annotator)} AND comparison_id = ?"
        return bool(self._database.value(sql, (annotator, comparison_id)))

    def put_first(self, annotator: str, comparison_ids: Sequence[int]) -> None:
        """Let these come before all others: something waits for them.

        In the queues of everybody who has judged here, and in this annotator's.
        """
        self._queue_of(annotator)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE queue SET priority = ? WHERE comparison_id IN"
                " (SELECT value FROM json_each(?))",
                (_FIRST, json.dumps(list(comparison_ids))),
            )

    def set_priorities(self, annotator: str, priorities: Mapping[int, float]) -> None:
        """Choose the order of an annotator's queue: smaller comes first, others stay at 0.

        What was put first (`put_first`) stays there.

        In short transactions: a verdict that is given meanwhile waits for one of them at most.

        Args:
            annotator: Whose queue.
            priorities: By comparison; those that are judged already are passed over.
        """
        rows = self._database.rows(
            f"SELECT comparison_id, priority FROM {self._queue_of(annotator)}",
            (annotator,),
        )
        number = self._database.value("SELECT id FROM annotators WHERE name = ?", (annotator,))
        changes = [
            (number, row["comparison_id"], wanted)
            for row in rows
            if row["priority"] > _FIRST
            and (wanted := priorities.get(row["comparison_id"], 0.0)) != row["priority"]
        ]
        for start in range(0, len(changes), _AT_ONCE):
            with self._database.write() as connection:
                # With all of the key out of the JSON, each change is one step in an index.
                connection.execute(
                    "UPDATE queue SET priority = json_extract(change.value, '$[2]')"
                    " FROM json_each(?) AS change"
                    " WHERE annotator_id = json_extract(change.value, '$[0]')"
                    " AND comparison_id = json_extract(change.value, '$[1]')",
                    (json.dumps(changes[start : start + _AT_ONCE]),),
                )
            time.sleep(0.001)  # a lock that is taken again at once is never got by another thread

    def put_next(self, annotator: str, comparison_ids: Sequence[int]) -> int:
        """Let pending comparisons come next in one annotator's queue, in this order; how many.

        Before what was put first, too: it is what this annotator asked for last. No chosen order
        moves them.
        """
        queue = self._queue_of(annotator)
        with self._database.write() as connection:
            lowest = connection.execute(
                f"SELECT min(priority) FROM {queue}", (annotator,)
            ).fetchone()[0]
            start = min(lowest or 0.0, _FIRST) - len(comparison_ids)
            return sum(
                connection.execute(
                    "UPDATE queue SET priority = ? WHERE comparison_id = ?"
                    " AND annotator_id = (SELECT id FROM annotators WHERE name = ?)",
                    (start + place, comparison_id, annotator),
                ).rowcount
                for place, comparison_id in enumerate(comparison_ids)
            )

    def pending(self, annotator: str) -> list[Comparison]:
        """As `pending_ids`, the comparisons themselves."""
        rows = self._database.rows(
            "SELECT * FROM comparisons WHERE id IN"
            f" (SELECT comparison_id FROM {self._queue_of(annotator)}) ORDER BY id",
            (annotator,),
        )
        return [to_comparison(row) for row in rows]

    def get_many(self, comparison_ids: Sequence[int]) -> list[Comparison]:
        """Comparisons in the order of their ids."""
        rows = self._database.rows(
            "SELECT * FROM comparisons WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id",
            (json.dumps(list(comparison_ids)),),
        )
        return [to_comparison(row) for row in rows]

    def pending_ids(self, annotator: str) -> list[int]:
        """All comparisons that this annotator has not judged, in order."""
        rows = self._database.rows(
            f"SELECT comparison_id FROM {self._queue_of(annotator)} ORDER BY comparison_id",
            (annotator,),
        )
        return [row["comparison_id"] for row in rows]

    def counts(self, annotator: str | None) -> Counts:
        """How far this annotator is; with None, how far all of them are together."""
        total = self._database.value(
            "SELECT (SELECT count(*) FROM comparisons) - (SELECT count(*) FROM hidden_comparisons)"
        )
        who, names = ("1", ()) if annotator is None else ("j.annotator = ?", (annotator,))
        same = "1" if annotator is None else "later.annotator = j.annotator"
        skipped = self._database.value(
            f"SELECT count(*) FROM judgements AS j WHERE j.verdict = 'skip' AND {who}"
            " AND j.is_undone = 0 AND j.comparison_id NOT IN hidden_comparisons AND NOT EXISTS"
            " (SELECT 1 FROM judgements AS later WHERE later.comparison_id = j.comparison_id"
            f" AND {same} AND later.is_undone = 0 AND later.id > j.id)",
            names,
        )
        if annotator is None:
            pending = total - self._n_judged_by_anybody()
        else:
            pending = self._database.value(
                f"SELECT count(*) FROM {self._queue_of(annotator)}", names
            )
        return Counts(total, pending, total - pending - skipped, skipped)

    def _n_judged_by_anybody(self) -> int:
        judged = "SELECT count(DISTINCT comparison_id) FROM judgements WHERE is_undone = 0"
        return int(
            self._database.value(
                f"SELECT ({judged}) - ({judged} AND comparison_id IN hidden_comparisons)"
            )
        )

    def delete(self, ids: Sequence[int], group: Group | None = None) -> int:
        """Hide pairs: they wait for nobody and their judgements count no more.

        Args:
            ids: Comparisons; those that are hidden already are passed over.
            group: The undoable operation that this is a part of; None for one of its own.

        Returns:
            How many were there to delete.
        """
        with self._database.write() as connection, self._undo.operation("", group) as operation:
            gone = [
                row["id"]
                for row in connection.execute(
                    "UPDATE comparisons SET is_deleted = 1 WHERE is_deleted = 0"
                    " AND id IN (SELECT value FROM json_each(?)) RETURNING id",
                    (json.dumps(list(ids)),),
                )
            ]
            operation.name = f"deleted {len(gone)} pair{'' if len(gone) == 1 else 's'}"
            operation.record("comparisons", gone, "is_deleted", 0, 1)
        return len(gone)

    def by_prompt(self, *, is_deleted: bool = False) -> dict[int, set[frozenset[int]]]:
        """The pairs of answers that each prompt has (or had), by its id."""
        found: dict[int, set[frozenset[int]]] = {}
        for row in self._database.rows(
            "SELECT prompt_id, first_id, second_id FROM comparisons WHERE is_deleted = ?",
            (is_deleted,),
        ):
            pair = frozenset((row["first_id"], row["second_id"]))
            found.setdefault(row["prompt_id"], set()).add(pair)
        return found

    def _queue_of(self, annotator: str) -> str:
        """The FROM and WHERE that give an annotator's pending comparisons; binds the name.

        An annotator's queue is made when it is first asked for. Read-only, where it cannot be
        made, the same is worked out from the judgements.
        """
        known = "SELECT id FROM annotators WHERE name = ?"
        if self._database.value(known, (annotator,)) is None:
            if self._database.is_read_only:
                return (
                    "(SELECT c.id AS comparison_id, c.id AS id FROM comparisons AS c"
                    " JOIN prompts AS p ON p.id = c.prompt_id"
                    " WHERE c.is_deleted = 0 AND p.is_deleted = 0) AS c WHERE NOT EXISTS"
                    " (SELECT 1 FROM judgements AS j WHERE j.comparison_id = c.id"
                    " AND j.annotator = ? AND j.is_undone = 0)"
                )
            with self._database.write() as connection:
                connection.execute(
                    "INSERT OR IGNORE INTO annotators (name) VALUES (?)", (annotator,)
                )
        return f"queue WHERE annotator_id = ({known})"


def to_comparison(row: sqlite3.Row) -> Comparison:
    """The record of a row of `comparisons`."""
    return Comparison(row["id"], row["prompt_id"], row["first_id"], row["second_id"])


def _find_or_add(
    connection: sqlite3.Connection, prompt_id: int, first_id: int, second_id: int
) -> tuple[Comparison, bool]:
    cursor = connection.execute(
        "INSERT INTO comparisons (prompt_id, first_id, second_id, created_at)"
        " VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
        (prompt_id, first_id, second_id, now()),
    )
    if cursor.rowcount:
        return Comparison(int(cursor.lastrowid or 0), prompt_id, first_id, second_id), True
    row = connection.execute(
        "SELECT * FROM comparisons WHERE min(first_id, second_id) = ?"
        " AND max(first_id, second_id) = ? AND is_deleted = 0",
        (min(first_id, second_id), max(first_id, second_id)),
    ).fetchone()
    return to_comparison(row), False
