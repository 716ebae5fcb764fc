"""What AI judges answered, question by question: kept at once, so that nothing is paid twice."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.data.records import AiAnswer, Verdict
from workbench.store.database import Database, now

_STANDING = """
  FROM judgements AS j
  JOIN comparisons AS c ON c.id = j.comparison_id
  JOIN prompts AS p ON p.id = c.prompt_id
  WHERE j.is_undone = 0 AND c.is_deleted = 0 AND p.is_deleted = 0
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a judge has been asked so far; `n_unreadable` answers named neither side."""

    n_answers: int
    n_unreadable: int
    n_tokens: int
    seconds: float


class AiAnswerRepository:
    """The answers of an experiment's AI judges. They are no operations of the undo journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        comparison_id: int,
        judge: str,
        is_swapped: bool,
        p_first: float | None,
        text: str,
        seconds: float,
        n_tokens: int,
    ) -> None:
        """Keep an answer; on the disk when this returns. A second one of its kind is left out.

        Args:
            comparison_id: The pair.
            judge: Its name as an annotator.
            is_swapped: Whether the pair's second answer was shown first.
            p_first: Probability that the pair's first answer is better; None when it is not known.
            text: What it said.
            seconds: How long that took.
            n_tokens: Of question and answer.
        """
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO ai_answers (comparison_id, judge, is_swapped, p_first, text, seconds,"
                " n_tokens, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (
                    comparison_id,
                    judge,
                    int(is_swapped),
                    p_first,
                    text.encode("utf-8", "replace").decode(),
                    seconds,
                    n_tokens,
                    now(),
                ),
            )

    def of_judge(self, judge: str) -> dict[int, dict[bool, AiAnswer]]:
        """All answers of a judge, by pair and by whether the sides were swapped."""
        found: dict[int, dict[bool, AiAnswer]] = {}
        for row in self._database.rows(
            "SELECT * FROM ai_answers WHERE judge = ? ORDER BY comparison_id, is_swapped", (judge,)
        ):
            found.setdefault(row["comparison_id"], {})[bool(row["is_swapped"])] = _to_answer(row)
        return found

    def of_pair(self, comparison_id: int, judge: str) -> dict[bool, AiAnswer]:
        """What a judge answered about one pair, by whether the sides were swapped."""
        rows = self._database.rows(
            "SELECT * FROM ai_answers WHERE comparison_id = ? AND judge = ?", (comparison_id, judge)
        )
        return {bool(row["is_swapped"]): _to_answer(row) for row in rows}

    def counts_of(self, judge: str) -> dict[int, tuple[int, int]]:
        """How many answers of a judge each pair has, and how many of them say something."""
        rows = self._database.rows(
            "SELECT comparison_id, count(*) AS n, count(p_first) AS n_readable FROM ai_answers"
            " WHERE judge = ? GROUP BY comparison_id",
            (judge,),
        )
        return {row["comparison_id"]: (row["n"], row["n_readable"]) for row in rows}

    def cost(self, judge: str) -> Cost:
        """What a judge has cost so far."""
        row = self._database.row(
            "SELECT count(*) AS n, count(*) - count(p_first) AS n_unreadable,"
            " coalesce(sum(n_tokens), 0) AS n_tokens, coalesce(sum(seconds), 0.0) AS seconds"
            " FROM ai_answers WHERE judge = ?",
            (judge,),
        )
        assert row is not None
        return Cost(row["n"], row["n_unreadable"], row["n_tokens"], row["seconds"])

    def labels_of(self, annotator: str) -> dict[int, Verdict]:
        """What a person last said of each pair, skips left out, in order of the pairs."""
        rows = self._database.rows(
            f"SELECT j.comparison_id, j.verdict {_STANDING}"
            " AND j.annotator = ? AND j.annotator_kind = 'person' ORDER BY j.comparison_id, j.id",
            (annotator,),
        )
        latest = {row["comparison_id"]: row["verdict"] for row in rows}
        return {pair: verdict for pair, verdict in latest.items() if verdict != "skip"}

    def unjudged_by(self, judge: str) -> list[int]:
        """Pairs on which no judgement of this judge stands, in order.

        Without a queue of its own, as persons have: a judge that is only tried leaves no rows.
        """
        rows = self._database.rows(
            "SELECT c.id FROM comparisons AS c JOIN prompts AS p ON p.id = c.prompt_id"
            " WHERE c.is_deleted = 0 AND p.is_deleted = 0 AND NOT EXISTS (SELECT 1"
            " FROM judgements AS j WHERE j.comparison_id = c.id AND j.annotator = ?"
            " AND j.is_undone = 0) ORDER BY c.id",
            (judge,),
        )
        return [row["id"] for row in rows]

    def judged_with_authority(self) -> set[int]:
        """Pairs that a person or an imported label has decided: a machine's would not count."""
        rows = self._database.rows(
            f"SELECT DISTINCT j.comparison_id {_STANDING}"
            " AND j.annotator_kind IN ('person', 'imported')"
        )
        return {row["comparison_id"] for row in rows}

    def tags_of(self, comparison_ids: Sequence[int]) -> dict[int, set[str]]:
        """The tags on each pair's prompt and answers, and the prompt's group, whoever put them."""
        chosen = (json.dumps(list(comparison_ids)),)
        rows = self._database.rows(
            "SELECT c.id, r.value FROM comparisons AS c JOIN remarks AS r"
            " ON r.prompt_id = c.prompt_id AND r.kind = 'tag' AND r.is_undone = 0"
            " AND (r.completion_id IS NULL OR r.completion_id IN (c.first_id, c.second_id))"
            " WHERE c.id IN (SELECT value FROM json_each(?))",
            chosen,
        ) + self._database.rows(
            "SELECT c.id, p.prompt_group AS value FROM comparisons AS c"
            " JOIN prompts AS p ON p.id = c.prompt_id"
            " WHERE p.prompt_group <> '' AND c.id IN (SELECT value FROM json_each(?))",
            chosen,
        )
        found: dict[int, set[str]] = {}
        for row in rows:
            found.setdefault(row["id"], set()).add(row["value"])
        return found


def _to_answer(row: sqlite3.Row) -> AiAnswer:
    return AiAnswer(
        comparison_id=row["comparison_id"],
        judge=row["judge"],
        is_swapped=bool(row["is_swapped"]),
        p_first=row["p_first"],
        text=row["text"],
        seconds=row["seconds"],
        n_tokens=row["n_tokens"],
    )
