"""Rankings of several answers, and the judgements of pairs that follow from each."""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterator, Sequence

from workbench.data.records import AnnotatorKind, Ranking, Verdict
from workbench.store.comparisons import ComparisonRepository
from workbench.store.database import Database, now
from workbench.store.judgements import JudgementRepository
from workbench.store.undo import UndoJournal


class RankingRepository:
    """The rankings of an experiment."""

    def __init__(
        self,
        database: Database,
        undo: UndoJournal,
        comparisons: ComparisonRepository,
        judgements: JudgementRepository,
    ) -> None:
        self._database = database
        self._undo = undo
        self._comparisons = comparisons
        self._judgements = judgements

    def add(
        self,
        prompt_id: int,
        places: Sequence[Sequence[int]],
        annotator: str,
        annotator_kind: AnnotatorKind,
        seconds: float,
        *,
        is_revealed: bool = False,
    ) -> Ranking:
        """Append a ranking and a judgement of each of its pairs, in one undoable operation.

        A pair that has no comparison yet gets one. Each judgement is given an equal share of the
        time, so that the time of one pair stays the time of one decision.

        Args:
            prompt_id: The prompt.
            places: Ids of its answers, best place first; answers of one place tie.
            annotator: Who ranked.
            annotator_kind: What they are.
            seconds: How long it took.
            is_revealed: Whether they had asked which model wrote what.
        """
        stored, created_at = tuple(tuple(place) for place in places), now()
        pairs = list(_pairs(stored))
        n = sum(map(len, stored))
        with (
            self._database.write() as connection,
            self._undo.operation(f"ranked {n} answers") as operation,
        ):
            ranking_id = connection.execute(
                "INSERT INTO rankings (prompt_id, places, annotator, annotator_kind, seconds,"
                " created_at) VALUES (?, ?, ?, ?, ?, ?)",
                (prompt_id, json.dumps(stored), annotator, annotator_kind, seconds, created_at),
            ).lastrowid
            operation.added("rankings", [int(ranking_id or 0)])
            found = self._comparisons.ensure(
                [(prompt_id, better, worse) for better, worse, _ in pairs]
            )
            for (comparison, _), (better, _, is_tie) in zip(found, pairs, strict=True):
                verdict: Verdict = "first" if comparison.first_id == better else "second"
                self._judgements.add(
                    comparison.id,
                    "tie" if is_tie else verdict,
                    annotator,
                    annotator_kind,
                    seconds / len(pairs),
                    is_revealed=is_revealed,
                    ranking_id=ranking_id,
                )
        return Ranking(
            int(ranking_id or 0), prompt_id, stored, annotator, annotator_kind, seconds, created_at
        )

    def list(self, annotator: str | None = None) -> list[Ranking]:
        """All standing rankings, oldest first; of everybody or of one annotator."""
        who, names = ("1", ()) if annotator is None else ("annotator = ?", (annotator,))
        rows = self._database.rows(
            f"SELECT * FROM rankings WHERE is_undone = 0 AND {who} ORDER BY id", names
        )
        return [_to_ranking(row) for row in rows]


def _pairs(places: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, bool]]:
    """Better answer, worse answer, and whether they tie, for every pair."""
    for place in places:
        for first, second in itertools.combinations(place, 2):
            yield first, second, True
    for better, worse in itertools.combinations(places, 2):
        for first, second in itertools.product(better, worse):
            yield first, second, False


def _to_ranking(row: sqlite3.Row) -> Ranking:
    return Ranking(
        id=row["id"],
        prompt_id=row["prompt_id"],
        places=tuple(tuple(place) for place in json.loads(row["places"])),
        annotator=row["annotator"],
        annotator_kind=row["annotator_kind"],
        seconds=row["seconds"],
        created_at=row["created_at"],
    )
