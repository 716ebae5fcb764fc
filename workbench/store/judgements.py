"""Judgements: what annotators said, append-only, and the preferences that follow from them."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from workbench.data.records import (
    AnnotatorKind,
    Judgement,
    Preference,
    Prompt,
    Strength,
    Verdict,
)
from workbench.store.database import Database, now
from workbench.store.prompts import to_prompt
from workbench.store.search import match_query
from workbench.store.undo import Group, UndoJournal

_DONE: dict[Verdict, str] = {
    "first": "ranked A better",
    "second": "ranked B better",
    "tie": "ranked a tie",
    "both_bad": "ranked both bad",
    "skip": "skipped a pair",
}
# A person's word counts more than an imported label, that more than a machine's.
AUTHORITY = (
    "CASE j.annotator_kind WHEN 'person' THEN 3 WHEN 'imported' THEN 2 WHEN 'ai' THEN 1 ELSE 0 END"
)
JOINED = f"""
  SELECT j.*, {AUTHORITY} AS authority,
    p.id AS p_id, p.messages, p.prompt_group, p.language, p.split,
    p.created_at AS p_created_at, c.first_id, a.text AS first_text, c.second_id,
    b.text AS second_text
  FROM judgements AS j
  JOIN comparisons AS c ON c.id = j.comparison_id
  JOIN prompts AS p ON p.id = c.prompt_id
  JOIN completions AS a ON a.id = c.first_id
  JOIN completions AS b ON b.id = c.second_id
  WHERE c.is_deleted = 0 AND p.is_deleted = 0
"""


@dataclass(frozen=True, slots=True)
class JudgedPair:
    """A judgement with what it is about, for tables and exports."""

    judgement: Judgement
    prompt: Prompt
    first_text: str
    second_text: str


class JudgementRepository:
    """The judgements of an experiment."""

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
        strength: Strength = 0,
        is_revealed: bool = False,
        ranking_id: int | None = None,
        group: Group | None = None,
    ) -> Judgement:
        """Append a judgement; one undoable operation, on the disk when this returns."""
        created_at = now()
        with (
            self._database.write() as connection,
            self._undo.operation(_DONE[verdict], group) as operation,
        ):
            judgement_id = connection.execute(
                "INSERT INTO judgements (comparison_id, verdict, annotator, annotator_kind,"
                " seconds, created_at, strength, is_revealed, ranking_id)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    comparison_id,
                    verdict,
                    annotator,
                    annotator_kind,
                    seconds,
                    created_at,
                    strength,
                    is_revealed,
                    ranking_id,
                ),
            ).lastrowid
            operation.added("judgements", [int(judgement_id or 0)])
        return Judgement(
            id=int(judgement_id or 0),
            comparison_id=comparison_id,
            verdict=verdict,
            annotator=annotator,
            annotator_kind=annotator_kind,
            seconds=seconds,
            is_undone=False,
            created_at=created_at,
            strength=strength,
            is_revealed=is_revealed,
            ranking_id=ranking_id,
        )

    def take_back(self, judgement_ids: Sequence[int]) -> int:
        """Mark judgements as not standing any more, in one undoable operation; how many did."""
        with self._database.write() as connection, self._undo.operation("") as operation:
            ids = [
                row["id"]
                for row in connection.execute(
                    "UPDATE judgements SET is_undone = 1 WHERE is_undone = 0"
                    " AND id IN (SELECT value FROM json_each(?)) RETURNING id",
                    (json.dumps(list(judgement_ids)),),
                )
            ]
            operation.name = f"took back {len(ids)} judgement{'' if len(ids) == 1 else 's'}"
            operation.record("judgements", ids, "is_undone", 0, 1)
        return len(ids)

    def latest(self, comparison_id: int, annotator: str) -> Judgement | None:
        """What this annotator last said of a comparison and did not take back."""
        row = self._database.row(
            "SELECT * FROM judgements WHERE comparison_id = ? AND annotator = ?"
            " AND is_undone = 0 ORDER BY id DESC LIMIT 1",
            (comparison_id, annotator),
        )
        return to_judgement(row) if row else None

    def compared(self, annotator: str, *, is_skipped: bool, limit: int = 10_000) -> list[int]:
        """The comparisons that this annotator judged, or skipped, the last one first."""
        rows = self._database.rows(
            "SELECT comparison_id, max(id) AS last_id, verdict FROM judgements AS j"
            " WHERE annotator = ? AND is_undone = 0 AND comparison_id NOT IN hidden_comparisons"
            " GROUP BY comparison_id HAVING (verdict = 'skip') = ? ORDER BY last_id DESC LIMIT ?",
            (annotator, int(is_skipped), limit),
        )
        return [row["comparison_id"] for row in rows]

    def count(
        self, *, verdict: Verdict | None = None, annotator: str | None = None, search: str = ""
    ) -> int:
        """How many judgements `list` would give in all."""
        where, parameters = _filter(verdict, annotator, search)
        if search.strip():
            sql = f"SELECT count(*) FROM ({JOINED} AND {where})"
            return int(self._database.value(sql, parameters))
        # Without the joins this is a step or two in an index, also at 100,000 judgements.
        counted = f"SELECT count(*) FROM judgements AS j WHERE {where}"
        sql = f"SELECT ({counted}) - ({counted} AND j.comparison_id IN hidden_comparisons)"
        return int(self._database.value(sql, parameters * 2))

    def annotators(self) -> dict[str, AnnotatorKind]:
        """Everybody whose judgements stand, with their kind, by name."""
        rows = self._database.rows(
            "SELECT annotator, max(annotator_kind) AS kind FROM judgements WHERE is_undone = 0"
            " GROUP BY annotator ORDER BY annotator"
        )
        return {row["annotator"]: row["kind"] for row in rows}

    def recent_seconds(self, annotator: str, limit: int = 20) -> list[float]:
        """How long the last judgements of this annotator took, latest first.

        Imported ones, whose time is not known, are stored with 0 seconds and left out.
        """
        rows = self._database.rows(
            "SELECT seconds FROM judgements WHERE annotator = ? AND is_undone = 0"
            " AND seconds > 0 ORDER BY id DESC LIMIT ?",
            (annotator, limit),
        )
        return [row["seconds"] for row in rows]

    def preferences(self, annotators: Sequence[str] | None = None) -> list[Preference]:
        """Chosen over rejected, one per comparison, in order of the comparisons.

        What counts is the latest standing judgement of the comparison; where several annotators
        judged it, a person's goes before an imported one, that before a machine's.

        Args:
            annotators: Whose judgements count; None for everybody's.
        """
        return [
            Preference(
                comparison_id=pair.judgement.comparison_id,
                prompt=pair.prompt,
                chosen=pair.first_text if is_first else pair.second_text,
                rejected=pair.second_text if is_first else pair.first_text,
                annotator=pair.judgement.annotator,
                annotator_kind=pair.judgement.annotator_kind,
                strength=pair.judgement.strength,
            )
            for pair in self._deciding(annotators)
            if (is_first := pair.judgement.verdict == "first") or pair.judgement.verdict == "second"
        ]

    def ties(self, annotators: Sequence[str] | None = None) -> list[JudgedPair]:
        """Comparisons that were decided as a tie, both bad or skipped."""
        return [
            pair
            for pair in self._deciding(annotators)
            if pair.judgement.verdict not in ("first", "second")
        ]

    def _deciding(self, annotators: Sequence[str] | None) -> list[JudgedPair]:
        rows = self._database.rows(
            f"{JOINED} AND j.is_undone = 0 ORDER BY j.comparison_id, authority, j.id"
        )
        counted = (r for r in rows if annotators is None or r["annotator"] in annotators)
        # The last one of each comparison is the one that decides.
        return [to_pair(row) for row in {r["comparison_id"]: r for r in counted}.values()]

    def list(
        self,
        *,
        after_id: int = 0,
        limit: int = 200,
        verdict: Verdict | None = None,
        annotator: str | None = None,
        search: str = "",
        is_newest_first: bool = False,
    ) -> list[JudgedPair]:
        """A page of the standing judgements; the next begins after the last id of this one.

        Args:
            after_id: Id of the last judgement of the page before; 0 for the first page.
            limit: Longest page.
            verdict: Only these.
            annotator: Only this annotator's.
            search: Words that must occur in the prompt or in one of the answers.
            is_newest_first: Whether ids fall from page to page instead of rising.
        """
        where, parameters = _filter(verdict, annotator, search)
        compare, order = ("<", "DESC") if is_newest_first else (">", "ASC")
        if after_id or not is_newest_first:
            where += f" AND j.id {compare} ?"
            parameters = (*parameters, after_id)
        rows = self._database.rows(
            f"{JOINED} AND {where} ORDER BY j.id {order} LIMIT ?", (*parameters, limit)
        )
        return [to_pair(row) for row in rows]


def to_judgement(row: sqlite3.Row) -> Judgement:
    """The record of a row of `judgements`."""
    return Judgement(
        id=row["id"],
        comparison_id=row["comparison_id"],
        verdict=row["verdict"],
        annotator=row["annotator"],
        annotator_kind=row["annotator_kind"],
        seconds=row["seconds"],
        is_undone=bool(row["is_undone"]),
        created_at=row["created_at"],
        strength=row["strength"],
        is_revealed=bool(row["is_revealed"]),
        ranking_id=row["ranking_id"],
    )


def to_pair(row: sqlite3.Row) -> JudgedPair:
    """The record of a row of `JOINED`."""
    prompt = {key: row[key] for key in ("messages", "prompt_group", "language", "split")}
    return JudgedPair(
        judgement=to_judgement(row),
        prompt=to_prompt({**prompt, "id": row["p_id"], "created_at": row["p_created_at"]}),
        first_text=row["first_text"],
        second_text=row["second_text"],
    )


def _filter(
    verdict: Verdict | None, annotator: str | None, search: str
) -> tuple[str, tuple[str | int, ...]]:
    where: list[str] = ["j.is_undone = 0"]
    parameters: list[str | int] = []
    if verdict is not None:
        where.append("j.verdict = ?")
        parameters.append(verdict)
    if annotator is not None:
        where.append("j.annotator = ?")
        parameters.append(annotator)
    if search.strip():
        query = match_query(search)
        found = "(SELECT rowid FROM {0} WHERE {0} MATCH ?)"
        in_answers = found.format("completion_search")
        where.append(
            f"(p.id IN {found.format('prompt_search')}"
            f" OR a.id IN {in_answers} OR b.id IN {in_answers})"
            if query
            else "0"
        )
        parameters += [query] * 3 if query else []
    return " AND ".join(where), tuple(parameters)
