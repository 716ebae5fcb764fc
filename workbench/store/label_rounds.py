"""Rounds of labels: when a training run asked people about its own answers, and what came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from workbench.data.records import LabelRound
from workbench.store.database import Database, now


class LabelRoundRepository:
    """The rounds of all runs. They are written by jobs and are not part of undo."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open(self, run_id: int, step: int, comparison_ids: Sequence[int], reward_run: int) -> int:
        """A new round that waits for labels; its id. An open one of the run is skipped for it.

        Args:
            run_id: The run that asks.
            step: After which of its updates.
            comparison_ids: What is to be judged.
            reward_run: Whose reward it learns from so far.
        """
        with self._database.write() as connection:
            connection.execute(
                "UPDATE label_rounds SET outcome = 'skipped', finished_at = ?"
                " WHERE run_id = ? AND outcome = 'open'",
                (now(), run_id),
            )
            cursor = connection.execute(
                "INSERT INTO label_rounds (run_id, step, comparison_ids, n_wanted,"
                " reward_run_before, created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (
                    run_id,
                    step,
                    json.dumps(list(comparison_ids)),
                    len(comparison_ids),
                    reward_run,
                    now(),
                ),
            )
        return int(cursor.lastrowid or 0)

    def set_trained(self, round_id: int, reward_run: int) -> None:
        """Note which reward run learns from the round's labels."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE label_rounds SET reward_run_trained = ? WHERE id = ?",
                (reward_run, round_id),
            )

    def finish(self, round_id: int, outcome: str, facts: Mapping[str, object]) -> None:
        """Note how it ended (accepted, refused, skipped) and what was measured."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE label_rounds SET outcome = ?, facts = ?, finished_at = ? WHERE id = ?",
                (outcome, json.dumps(dict(facts)), now(), round_id),
            )

    def of_run(self, run_id: int) -> list[LabelRound]:
        """The rounds of a run, oldest first."""
        return self._list("run_id = ?", run_id)

    def waiting(self) -> list[LabelRound]:
        """Rounds that are open, of all runs, oldest first."""
        return self._list("outcome = 'open'")

    def n_judged(self, label_round: LabelRound) -> int:
        """How many of its pairs somebody has judged, skipped ones not counted."""
        n: int = self._database.value(
            "SELECT count(DISTINCT j.comparison_id) FROM json_each(?) AS wanted"
            " JOIN judgements AS j ON j.comparison_id = wanted.value"
            " WHERE j.is_undone = 0 AND j.verdict <> 'skip'",
            (json.dumps(label_round.comparison_ids),),
        )
        return n

    def _list(self, where: str, *values: object) -> list[LabelRound]:
        rows = self._database.rows(f"SELECT * FROM label_rounds WHERE {where} ORDER BY id", values)
        return [_to_round(row) for row in rows]


def _to_round(row: sqlite3.Row) -> LabelRound:
    return LabelRound(
        id=row["id"],
        run_id=row["run_id"],
        step=row["step"],
        comparison_ids=tuple(json.loads(row["comparison_ids"])),
        reward_run_before=row["reward_run_before"],
        reward_run_trained=row["reward_run_trained"],
        outcome=row["outcome"],
        facts=json.loads(row["facts"]),
    )
