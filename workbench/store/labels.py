"""Judgements in bulk and without texts, for what is counted over all of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from workbench.data.records import AnnotatorKind, Strength, Verdict
from workbench.store.database import Database
from workbench.store.search import index_text

_PAGE = 5000
_CJK_PER_WORD = 1.5


@dataclass(frozen=True, slots=True)
class Label:
    """What an annotator's latest standing judgement says of a pair.

    `is_ranked`: it follows from a ranking, in which no pair was seen by itself.
    """

    id: int
    comparison_id: int
    prompt_id: int
    first_id: int
    second_id: int
    verdict: Verdict
    strength: Strength
    annotator: str
    annotator_kind: AnnotatorKind
    seconds: float
    is_ranked: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class AnswerFacts:
    """What can be said of an answer without its text.

    `origin` is a model, with its adapter, or "edited" or "imported"; `n_words` counts Chinese,
    Japanese and Korean characters as they are read, one and a half for a word. `is_written`: a
    person of this experiment wrote or edited it.
    """

    prompt_id: int
    n_chars: int
    n_words: float
    origin: str
    is_written: bool
    is_deleted: bool


class LabelRepository:
    """Labels and answers of an experiment as they are counted. Reads only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, check: Callable[[], object] = lambda: None) -> list[Label]:
        """The labels of everybody on what is not deleted, oldest first.

        Args:
            check: Called between pages; raises to stop.
        """
        latest: dict[tuple[str, int], Label] = {}
        for label in self._pages(check):
            key = (label.annotator, label.comparison_id)
            latest.pop(key, None)
            latest[key] = label
        return [*latest.values()]

    def _pages(self, check: Callable[[], object]) -> Iterator[Label]:
        after = 0
        while True:
            check()
            rows = self._database.rows(
                "SELECT j.id, j.comparison_id, c.prompt_id, c.first_id, c.second_id, j.verdict,"
                " j.strength, j.annotator, j.annotator_kind, j.seconds,"
                " j.ranking_id IS NOT NULL AS is_ranked, j.created_at"
                " FROM judgements AS j JOIN comparisons AS c ON c.id = j.comparison_id"
                " JOIN prompts AS p ON p.id = c.prompt_id"
                " WHERE j.is_undone = 0 AND c.is_deleted = 0 AND p.is_deleted = 0"
                " AND j.id > ? ORDER BY j.id LIMIT ?",
                (after, _PAGE),
            )
            if not rows:
                return
            after = rows[-1]["id"]
            for row in rows:
                i, comparison, prompt, first, second, verdict, *rest = row
                strength, annotator, kind, seconds, is_ranked, created_at = rest
                yield Label(
                    i,
                    comparison,
                    prompt,
                    first,
                    second,
                    verdict,
                    strength,
                    annotator,
                    kind,
                    seconds,
                    bool(is_ranked),
                    created_at,
                )

    def answers(self, check: Callable[[], object] = lambda: None) -> dict[int, AnswerFacts]:
        """Facts of every answer that was ever made, by its id."""
        facts: dict[int, AnswerFacts] = {}
        after = 0
        while True:
            check()
            rows = self._database.rows(
                "SELECT id, prompt_id, text, author <> '' AS is_written, is_deleted,"
                " CASE WHEN source <> 'generated' THEN source WHEN adapter IS NULL THEN model_name"
                " ELSE model_name || ' with ' || adapter END AS origin"
                " FROM completions WHERE id > ? ORDER BY id LIMIT ?",
                (after, _PAGE),
            )
            if not rows:
                return facts
            after = rows[-1]["id"]
            for i, prompt, text, is_written, is_deleted, origin in rows:
                facts[i] = AnswerFacts(
                    prompt,
                    len(text),
                    count_words(text),
                    origin,
                    bool(is_written),
                    bool(is_deleted),
                )

    def texts(self, answer_ids: Sequence[int]) -> dict[int, str]:
        """The texts of these answers."""
        rows = self._database.rows(
            "SELECT id, text FROM completions WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(answer_ids)),),
        )
        return {row["id"]: row["text"] for row in rows}


def count_words(text: str) -> float:
    """Words between spaces, and one for every one and a half CJK characters."""
    if text.isascii():
        return float(len(text.split()))
    spaced = index_text(text)
    n_cjk = (len(spaced) - len(text)) // 2  # each has a space on both sides now
    return len(spaced.split()) - n_cjk + n_cjk / _CJK_PER_WORD
