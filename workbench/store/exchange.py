"""Judged pairs by the thousand: into the experiment in few statements, and out of it in pages.

What one pair at a time costs, several queries and a lookup in an index each, 100,000 pairs cannot
pay. Here a batch is looked up at once and added with `executemany`. Ids are given by hand: there is
one writer, and rows are never removed, so the next id is the greatest plus one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workbench.data.formats.rows import PreferenceRow
from workbench.data.records import AnnotatorKind, Message, Split, Strength, Verdict
from workbench.store.database import Database, now
from workbench.store.judgements import AUTHORITY, JOINED, JudgedPair, to_pair
from workbench.store.prompts import stored_messages
from workbench.store.search import index_text
from workbench.store.undo import Group, Operation, UndoJournal

_TURNED: dict[Verdict, Verdict] = {"first": "second", "second": "first"}


@dataclass(frozen=True, slots=True)
class PairFilter:
    """Which judgements count; what is empty, None or 0 lets all through.

    Attributes:
        annotators: Names.
        kinds: Kinds of annotators.
        groups: Groups of prompts.
        tags: Tags, one of which the prompt or one of its answers has.
        split: Split of the prompts.
        min_strength: How much better the better answer must be at least.
        is_agreed: Only comparisons of which all these annotators say the same.
    """

    annotators: tuple[str, ...] = ()
    kinds: tuple[AnnotatorKind, ...] = ()
    groups: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    split: Split | None = None
    min_strength: Strength = 0
    is_agreed: bool = False


class ExchangeRepository:
    """Many judged pairs at once, with prompts and answers."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add_judged(self, rows: Sequence[PreferenceRow], group: Group, n_before: int = 0) -> int:
        """Add prompts, answers, comparisons and judgements in one transaction.

        What is there already is used and not repeated. Which answer is shown first is drawn from
        the texts, so that the chosen one is not always A and the order of the rows is all one.

        Args:
            rows: The judged pairs.
            group: The operation that they belong to, for undo.
            n_before: How many judgements the operation has already, for its name.

        Returns:
            How many judgements are new; others are here already, by the same annotator.
        """
        with (
            self._database.write() as connection,
            self._undo.operation("", group) as operation,
        ):
            batch = _Batch(connection, operation)
            n = batch.add(rows)
            n_all = n_before + n
            operation.name = f"imported {n_all} judgement{'' if n_all == 1 else 's'}"
        return n

    def deciding_ids(self, chosen: PairFilter) -> list[int]:
        """The judgement that decides each comparison, in order of the comparisons.

        It is the latest one, and where several annotators judged, that of the one with the
        greatest authority, as in `JudgementRepository.preferences`.
        """
        where, parameters = _where(chosen)
        rows = self._database.rows(
            f"SELECT j.id, j.comparison_id, j.annotator, j.verdict, {AUTHORITY} AS authority"
            " FROM judgements AS j"
            " JOIN comparisons AS c ON c.id = j.comparison_id"
            " JOIN prompts AS p ON p.id = c.prompt_id"
            f" WHERE c.is_deleted = 0 AND p.is_deleted = 0 AND j.is_undone = 0 AND {where}"
            " ORDER BY j.comparison_id, authority, j.id",
            parameters,
        )
        deciding: dict[int, int] = {}
        said: dict[int, dict[str, str]] = {}
        for row in rows:
            deciding[row["comparison_id"]] = row["id"]
            if chosen.is_agreed:
                said.setdefault(row["comparison_id"], {})[row["annotator"]] = row["verdict"]
        disputed = {number for number, verdicts in said.items() if len({*verdicts.values()}) > 1}
        return [i for number, i in deciding.items() if number not in disputed]

    def pairs(self, judgement_ids: Sequence[int]) -> list[JudgedPair]:
        """Judgements with what they are about, in the order of the ids."""
        rows = self._database.rows(
            f"{JOINED} AND j.id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(judgement_ids)),),
        )
        found = {row["id"]: to_pair(row) for row in rows}
        return [found[i] for i in judgement_ids if i in found]


class _Batch:
    """One batch inside a transaction; each step looks up what is there and adds what is not."""

    def __init__(self, connection: sqlite3.Connection, operation: Operation) -> None:
        self._connection = connection
        self._operation = operation
        self._now = now()

    def add(self, rows: Sequence[PreferenceRow]) -> int:
        prompt_ids = self._prompts(rows)
        texts = [(_stored(row.first), _stored(row.second)) for row in rows]
        answers = self._answers(prompt_ids, texts)
        shown = [
            (prompt_id, *(ids if _is_first_shown(*pair) else ids[::-1]))
            for prompt_id, pair, ids in zip(prompt_ids, texts, answers, strict=True)
        ]
        comparisons = self._comparisons(shown)
        judged: list[tuple[int, Verdict, str, AnnotatorKind, Strength]] = []
        for row, (first_id, _), (comparison_id, shown_first) in zip(
            rows, answers, comparisons, strict=True
        ):
            is_turned = shown_first != first_id
            verdict = _TURNED.get(row.verdict, row.verdict) if is_turned else row.verdict
            who = (row.annotator, row.annotator_kind)
            judged.append((comparison_id, verdict, *who, row.strength))
        return self._judgements(judged)

    def _prompts(self, rows: Sequence[PreferenceRow]) -> list[int]:
        """The id of each row's prompt."""
        stored = {row.messages: stored_messages(row.messages) for row in rows}
        known = self._known(
            "SELECT digest, id FROM prompts WHERE is_deleted = 0"
            " AND digest IN (SELECT value FROM json_each(?))",
            {digest for _, digest in stored.values()},
        )
        ids: dict[str, int] = {row["digest"]: row["id"] for row in known}
        new, found = [], []
        prompt_id = self._last_id("prompts")
        for row in rows:
            messages, digest = stored[row.messages]
            if digest not in ids:
                prompt_id += 1
                ids[digest] = prompt_id
                facts = (row.group, row.language, row.split, self._now)
                new.append((prompt_id, messages, digest, *facts))
                found.append((prompt_id, index_text(_text(row.messages))))
        self._connection.executemany(
            "INSERT INTO prompts (id, messages, digest, prompt_group, language, split, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            new,
        )
        self._connection.executemany("INSERT INTO prompt_search (rowid, text) VALUES (?, ?)", found)
        self._operation.added("prompts", (values[0] for values in new))
        return [ids[stored[row.messages][1]] for row in rows]

    def _answers(
        self, prompt_ids: Sequence[int], texts: Sequence[tuple[str, str]]
    ) -> list[tuple[int, int]]:
        """The ids of each row's answers: two, also where both say the same."""
        known = self._known(
            "SELECT id, prompt_id, text FROM completions WHERE is_deleted = 0"
            " AND prompt_id IN (SELECT value FROM json_each(?)) ORDER BY id",
            set(prompt_ids),
        )
        ids: dict[tuple[int, str], list[int]] = {}
        for row in known:
            ids.setdefault((row["prompt_id"], row["text"]), []).append(row["id"])
        new: list[tuple[int, int, str, str]] = []
        next_id = self._last_id("completions") + 1

        def find(prompt_id: int, text: str, nth: int) -> int:
            there = ids.setdefault((prompt_id, text), [])
            while len(there) <= nth:
                there.append(next_id + len(new))
                new.append((there[-1], prompt_id, text, self._now))
            return there[nth]

        found = [
            (find(prompt_id, first, 0), find(prompt_id, second, int(first == second)))
            for prompt_id, (first, second) in zip(prompt_ids, texts, strict=True)
        ]
        self._connection.executemany(
            "INSERT INTO completions (id, prompt_id, text, token_ids, finish, source, model_digest,"
            " model_name, adapter, sampling, seed, run_id, created_at)"
            " VALUES (?, ?, ?, '[]', 'unknown', 'imported', '', '', NULL, '{}', 0, NULL, ?)",
            new,
        )
        self._connection.executemany(
            "INSERT INTO completion_search (rowid, text) VALUES (?, ?)",
            ((answer_id, index_text(text)) for answer_id, _, text, _ in new),
        )
        self._operation.added("completions", (values[0] for values in new))
        return found

    def _comparisons(self, shown: Sequence[tuple[int, int, int]]) -> list[tuple[int, int]]:
        """The comparison of each pair, with the answer that it shows first."""
        known = self._known(
            "SELECT id, first_id, second_id FROM comparisons WHERE is_deleted = 0"
            " AND prompt_id IN (SELECT value FROM json_each(?))",
            {prompt_id for prompt_id, _, _ in shown},
        )
        there = {
            frozenset((r["first_id"], r["second_id"])): (r["id"], r["first_id"]) for r in known
        }
        new: list[tuple[object, ...]] = []
        next_id = self._last_id("comparisons") + 1
        for prompt_id, first_id, second_id in shown:
            pair = frozenset((first_id, second_id))
            if pair not in there:
                there[pair] = (next_id + len(new), first_id)
                new.append((next_id + len(new), prompt_id, first_id, second_id, self._now))
        self._connection.executemany(
            "INSERT INTO comparisons (id, prompt_id, first_id, second_id, created_at)"
            " VALUES (?, ?, ?, ?, ?)",
            new,
        )
        self._operation.added("comparisons", range(next_id, next_id + len(new)))
        return [there[frozenset(pair)] for _, *pair in shown]

    def _judgements(
        self, judged: Sequence[tuple[int, Verdict, str, AnnotatorKind, Strength]]
    ) -> int:
        known = self._known(
            "SELECT comparison_id, annotator, verdict, strength FROM judgements WHERE is_undone = 0"
            " AND comparison_id IN (SELECT value FROM json_each(?)) ORDER BY id",
            {comparison_id for comparison_id, *_ in judged},
        )
        latest = {
            (row["comparison_id"], row["annotator"]): (row["verdict"], row["strength"])
            for row in known
        }
        new: list[tuple[object, ...]] = []
        next_id = self._last_id("judgements") + 1
        for comparison_id, verdict, annotator, kind, strength in judged:
            if latest.get((comparison_id, annotator)) != (verdict, strength):
                latest[comparison_id, annotator] = (verdict, strength)
                values = (comparison_id, verdict, annotator, kind, strength, self._now)
                new.append((next_id + len(new), *values))
        self._connection.executemany(
            "INSERT INTO judgements (id, comparison_id, verdict, annotator, annotator_kind,"
            " strength, created_at, seconds) VALUES (?, ?, ?, ?, ?, ?, ?, 0.0)",
            new,
        )
        self._operation.added("judgements", range(next_id, next_id + len(new)))
        return len(new)

    def _known(self, sql: str, values: Iterable[int | str]) -> list[sqlite3.Row]:
        return self._connection.execute(sql, (json.dumps(list(values)),)).fetchall()

    def _last_id(self, table: str) -> int:
        found = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()
        return int(found[0])


def _where(chosen: PairFilter) -> tuple[str, tuple[str, ...]]:
    columns: Mapping[str, Sequence[str]] = {
        "j.annotator": chosen.annotators,
        "j.annotator_kind": chosen.kinds,
        "p.prompt_group": chosen.groups,
        "p.split": (chosen.split,) if chosen.split else (),
    }
    used = {column: values for column, values in columns.items() if values}
    where = [f"{column} IN (SELECT value FROM json_each(?))" for column in used]
    parameters = [json.dumps(list(values)) for values in used.values()]
    if chosen.tags:
        where.append(
            "p.id IN (SELECT prompt_id FROM remarks WHERE kind = 'tag' AND is_undone = 0"
            " AND value IN (SELECT value FROM json_each(?)))"
        )
        parameters.append(json.dumps(list(chosen.tags)))
    if chosen.min_strength:
        where.append("j.strength >= CAST(? AS INTEGER)")
        parameters.append(str(chosen.min_strength))
    return " AND ".join(where) or "1", tuple(parameters)


def _is_first_shown(first: str, second: str) -> bool:
    return hashlib.sha256(f"{first}\0{second}".encode()).digest()[0] % 2 == 1


def _stored(text: str) -> str:
    # SQLite holds UTF-8: half of a character cannot be stored.
    return text.encode("utf-8", "replace").decode()


def _text(messages: Sequence[Message]) -> str:
    return "\n".join(m.content for m in messages)
