"""The list of all judgements: filtered, searched and sorted, in keyset pages.

Every query walks the judgements once and asks each row's comparison for membership in sets that
were looked up before. A plan that SQLite chooses for itself takes ten times as long at 100,000
judgements: it follows an index into the table, row by row, in a useless order.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from workbench.data.records import (
    AnnotatorKind,
    Comparison,
    Judgement,
    Prompt,
    Remark,
    Strength,
    Verdict,
)
from workbench.store.database import Database
from workbench.store.judgements import JOINED, to_pair
from workbench.store.remarks import to_remark
from workbench.store.search import match_query

Order = Literal["newest", "oldest", "longest", "prompt"]

_ORDERS: dict[Order, tuple[str, str]] = {
    "newest": ("j.id DESC", "j.id < :after_id"),
    "oldest": ("j.id", "j.id > :after_id"),
    "longest": ("j.seconds DESC, j.id DESC", "(j.seconds, j.id) < (:after_seconds, :after_id)"),
    "prompt": ("c.prompt_id, j.id", "(c.prompt_id, j.id) > (:after_prompt, :after_id)"),
}
# The plus signs keep SQLite from turning the OR into three searches and a union.
_ABOUT = (
    "(+c.first_id IN ({answers}) OR +c.second_id IN ({answers}) OR +c.prompt_id IN ({prompts}))"
)
_COLUMNS = {
    "verdict": "j.verdict = :verdict",
    "strength": "j.strength = :strength",
    "annotator": "j.annotator = :annotator",
    "annotator_kind": "j.annotator_kind = :annotator_kind",
}
_FROM = "judgements AS j NOT INDEXED CROSS JOIN comparisons AS c ON c.id = j.comparison_id"
_HIDDEN = "j.comparison_id IN hidden_comparisons"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which judgements a list shows; what is None or empty asks for nothing.

    Attributes:
        verdict: What was said.
        strength: How much better the better answer was called.
        annotator: Who said it.
        annotator_kind: What they are.
        group: Group of the prompt.
        tag: On the prompt or on one of the two answers, whoever put it there.
        rating: Stars of one of the two answers, whoever gave them.
        has_comment: Whether somebody commented the prompt or one of the two answers.
        search: Words that must occur in the prompt or in one of the answers.
    """

    verdict: Verdict | None = None
    strength: Strength | None = None
    annotator: str | None = None
    annotator_kind: AnnotatorKind | None = None
    group: str | None = None
    tag: str | None = None
    rating: int | None = None
    has_comment: bool | None = None
    search: str = ""


@dataclass(frozen=True, slots=True)
class ListedJudgement:
    """A judgement with all that its row and its card show.

    `remarks` are the standing ones of all annotators on the prompt and the two answers.
    """

    judgement: Judgement
    comparison: Comparison
    prompt: Prompt
    first_text: str
    second_text: str
    remarks: tuple[Remark, ...]

    @property
    def tags(self) -> tuple[str, ...]:
        """Each tag once, in the order in which they were put there."""
        return tuple(dict.fromkeys(r.value for r in self.remarks if r.kind == "tag"))


class JudgementList:
    """Standing judgements of pairs that are not deleted."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self,
        wanted: Wanted,
        order: Order = "newest",
        after: ListedJudgement | None = None,
        limit: int = 200,
    ) -> list[ListedJudgement]:
        """Some judgements in order, beginning behind `after`.

        "prompt" takes the prompts in the order in which they were added, and the judgements of
        each in the order in which they were given.
        """
        where, parameters = _conditions(wanted)
        columns, behind = _ORDERS[order]
        if after is not None:
            where.append(behind)
            parameters |= {
                "after_id": after.judgement.id,
                "after_seconds": after.judgement.seconds,
                "after_prompt": after.prompt.id,
            }
        rows = self._database.rows(
            f"SELECT j.id FROM {_FROM} WHERE {' AND '.join(where)} AND NOT {_HIDDEN}"
            f" ORDER BY {columns} LIMIT :limit",
            {**parameters, "limit": limit},
        )
        return self._listed([row["id"] for row in rows])

    def count(self, wanted: Wanted) -> int:
        """How many judgements all pages have together."""
        where, parameters = _conditions(wanted)
        if all(condition.startswith("j.") for condition in where):
            # Without the join, and less the few hidden ones: often a step or two in an index.
            is_indexed = wanted.strength is None and wanted.annotator_kind is None
            table = "judgements AS j" if is_indexed else "judgements AS j NOT INDEXED"
            counted = f"SELECT count(*) FROM {table} WHERE {' AND '.join(where)}"
            hidden = f"SELECT count(*) FROM judgements AS j WHERE {' AND '.join(where)}"
            sql = f"SELECT ({counted}) - ({hidden} AND {_HIDDEN})"
        else:
            sql = f"SELECT count(*) FROM {_FROM} WHERE {' AND '.join(where)} AND NOT {_HIDDEN}"
        return int(self._database.value(sql, parameters))

    def ids(self, wanted: Wanted) -> list[tuple[int, int]]:
        """All of them as (judgement's id, its comparison's id), oldest first."""
        where, parameters = _conditions(wanted)
        rows = self._database.rows(
            f"SELECT j.id, j.comparison_id FROM {_FROM}"
            f" WHERE {' AND '.join(where)} AND NOT {_HIDDEN} ORDER BY j.id",
            parameters,
        )
        return [(row["id"], row["comparison_id"]) for row in rows]

    def annotators(self) -> list[str]:
        """Everybody whose judgements stand, by name: one step in an index for each."""
        first = "SELECT min(annotator) FROM judgements WHERE is_undone = 0"
        rows = self._database.rows(
            f"WITH RECURSIVE found (name) AS ({first} UNION ALL"
            f" SELECT ({first} AND annotator > found.name) FROM found WHERE found.name IS NOT NULL)"
            " SELECT name FROM found WHERE name IS NOT NULL"
        )
        return [row["name"] for row in rows]

    def with_earlier(self, judgement_ids: Sequence[int]) -> list[int]:
        """These, and what else their annotators said of the same pairs and did not take back."""
        rows = self._database.rows(
            "SELECT DISTINCT same.id FROM json_each(?) AS given"
            " CROSS JOIN judgements AS j ON j.id = given.value"
            " CROSS JOIN judgements AS same ON same.comparison_id = j.comparison_id"
            " AND same.annotator = j.annotator AND same.is_undone = 0 ORDER BY same.id",
            (json.dumps(list(judgement_ids)),),
        )
        return [row["id"] for row in rows]

    def _listed(self, ids: Sequence[int]) -> list[ListedJudgement]:
        rows = self._database.rows(
            f"{JOINED} AND j.id IN (SELECT value FROM json_each(?))", (json.dumps(list(ids)),)
        )
        remarks = self._remarks({row["p_id"] for row in rows})
        by_id = {row["id"]: _to_listed(row, remarks.get(row["p_id"], [])) for row in rows}
        return [by_id[i] for i in ids]

    def _remarks(self, prompt_ids: set[int]) -> dict[int, list[Remark]]:
        found: dict[int, list[Remark]] = {}
        for row in self._database.rows(
            "SELECT r.* FROM json_each(?) AS given CROSS JOIN remarks AS r"
            " ON r.prompt_id = given.value AND r.is_undone = 0 ORDER BY r.id",
            (json.dumps(sorted(prompt_ids)),),
        ):
            found.setdefault(row["prompt_id"], []).append(to_remark(row))
        return found


def _to_listed(row: sqlite3.Row, remarks: Sequence[Remark]) -> ListedJudgement:
    pair = to_pair(row)
    comparison = Comparison(row["comparison_id"], pair.prompt.id, row["first_id"], row["second_id"])
    about = (None, comparison.first_id, comparison.second_id)
    return ListedJudgement(
        pair.judgement,
        comparison,
        pair.prompt,
        pair.first_text,
        pair.second_text,
        tuple(remark for remark in remarks if remark.completion_id in about),
    )


def _conditions(wanted: Wanted) -> tuple[list[str], dict[str, Any]]:
    """What must be true of a row, cheap conditions first, and the values that they bind."""
    values = {name: getattr(wanted, name) for name in _COLUMNS}
    parameters: dict[str, Any] = {k: v for k, v in values.items() if v is not None}
    where = ["j.is_undone = 0", *(_COLUMNS[name] for name in parameters)]
    if wanted.group is not None:
        where.append(
            "+c.prompt_id IN"
            " (SELECT id FROM prompts WHERE prompt_group = :prompt_group AND is_deleted = 0)"
        )
        parameters["prompt_group"] = wanted.group
    if wanted.tag is not None:
        where.append(_remarked("kind = 'tag' AND value = :tag"))
        parameters["tag"] = wanted.tag
    if wanted.rating is not None:
        where.append(_remarked("kind = 'rating' AND value = :rating"))
        parameters["rating"] = str(wanted.rating)
    if wanted.has_comment is not None:
        commented = _remarked("kind = 'comment'")
        where.append(commented if wanted.has_comment else f"NOT {commented}")
    if wanted.search.strip():
        query = match_query(wanted.search)
        where.append(_found() if query else "0")
        parameters["search"] = query
    return where, parameters


def _remarked(which: str) -> str:
    of = "SELECT {0} FROM remarks WHERE is_undone = 0 AND {1} AND completion_id IS {2}"
    return _ABOUT.format(
        answers=of.format("completion_id", which, "NOT NULL"),
        prompts=of.format("prompt_id", which, "NULL"),
    )


def _found() -> str:
    found = "SELECT rowid FROM {0} WHERE {0} MATCH :search"
    return _ABOUT.format(
        answers=found.format("completion_search"), prompts=found.format("prompt_search")
    )
