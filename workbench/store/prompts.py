"""Prompts: what the model is asked."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.data.records import Message, NewPrompt, Prompt, Split
from workbench.errors import UserError
from workbench.store.database import Database, now
from workbench.store.search import index_text, match_query
from workbench.store.undo import UndoJournal


class PromptRepository:
    """The prompts of an experiment; no two standing ones have equal messages."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add_many(self, prompts: Sequence[NewPrompt]) -> list[int]:
        """Add prompts; one undoable operation.

        Returns:
            The id of each prompt in order; for one that is there already, the id it has.
        """
        with self._database.write() as connection, self._undo.operation("") as operation:
            ids, added = [], []
            for prompt in prompts:
                prompt_id, is_new = _find_or_add(connection, prompt)
                ids.append(prompt_id)
                if is_new:
                    added.append(prompt_id)
            operation.name = operation.name or f"added {_prompts(len(added))}"
            operation.added("prompts", added)
        return ids

    def get(self, prompt_id: int) -> Prompt:
        """One prompt, also when it was deleted: answers and runs still refer to it.

        Raises:
            UserError: There never was such a prompt.
        """
        row = self._database.row("SELECT * FROM prompts WHERE id = ?", (prompt_id,))
        if row is None:
            raise UserError(f"There is no prompt {prompt_id} in this experiment.")
        return to_prompt(row)

    def get_many(self, prompt_ids: Sequence[int]) -> list[Prompt]:
        """Prompts that are there (not deleted), in the order of the ids."""
        rows = self._database.rows(
            "SELECT * FROM prompts WHERE is_deleted = 0 AND id IN (SELECT value FROM json_each(?))",
            (json.dumps(list(prompt_ids)),),
        )
        found = {row["id"]: to_prompt(row) for row in rows}
        return [found[i] for i in prompt_ids if i in found]

    def list(
        self,
        split: Split | None = None,
        group: str | None = None,
        search: str = "",
        after_id: int = 0,
        limit: int = 200,
    ) -> list[Prompt]:
        """A page of prompts in order of their ids, beginning after `after_id`."""
        where, parameters = _filter(split, group, search)
        rows = self._database.rows(
            f"SELECT * FROM prompts WHERE id > ? AND {where} ORDER BY id LIMIT ?",
            (after_id, *parameters, limit),
        )
        return [to_prompt(row) for row in rows]

    def count(self, split: Split | None = None, group: str | None = None, search: str = "") -> int:
        """How many prompts `list` would give in all."""
        where, parameters = _filter(split, group, search)
        return int(self._database.value(f"SELECT count(*) FROM prompts WHERE {where}", parameters))

    def groups(self) -> dict[str, int]:
        """Number of prompts of each group, in order of their names."""
        rows = self._database.rows(
            "SELECT prompt_group, count(*) AS n FROM prompts WHERE is_deleted = 0"
            " GROUP BY prompt_group ORDER BY prompt_group"
        )
        return {row["prompt_group"]: row["n"] for row in rows}

    def delete(self, ids: Sequence[int]) -> int:
        """Hide prompts with their answers, comparisons and judgements; one undoable operation.

        Returns:
            How many were there to delete.
        """
        with self._database.write() as connection, self._undo.operation("") as operation:
            gone = [
                i
                for i in ids
                if connection.execute(
                    "UPDATE prompts SET is_deleted = 1 WHERE id = ? AND is_deleted = 0", (i,)
                ).rowcount
            ]
            operation.name = operation.name or f"deleted {_prompts(len(gone))}"
            operation.record("prompts", gone, "is_deleted", 0, 1)
        return len(gone)


def to_prompt(row: sqlite3.Row | Mapping[str, Any]) -> Prompt:
    """The record of a row of `prompts`."""
    return Prompt(
        id=row["id"],
        messages=tuple(Message(**message) for message in json.loads(row["messages"])),
        group=row["prompt_group"],
        language=row["language"],
        split=row["split"],
        created_at=row["created_at"],
    )


def stored_messages(messages: Sequence[Message]) -> tuple[str, str]:
    """Messages as they are stored, and the digest by which a prompt is found again."""
    text = json.dumps(
        [{"role": m.role, "content": m.content} for m in messages], ensure_ascii=False
    )
    return text, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _find_or_add(connection: sqlite3.Connection, prompt: NewPrompt) -> tuple[int, bool]:
    messages, digest = stored_messages(prompt.messages)
    found = connection.execute(
        "SELECT id FROM prompts WHERE digest = ? AND is_deleted = 0", (digest,)
    ).fetchone()
    if found:
        return int(found["id"]), False
    prompt_id = connection.execute(
        "INSERT INTO prompts (messages, digest, prompt_group, language, split, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (messages, digest, prompt.group, prompt.language, prompt.split, now()),
    ).lastrowid
    text = "\n".join(m.content for m in prompt.messages)
    connection.execute(
        "INSERT INTO prompt_search (rowid, text) VALUES (?, ?)", (prompt_id, index_text(text))
    )
    return int(prompt_id or 0), True


def _filter(split: Split | None, group: str | None, search: str) -> tuple[str, tuple[str, ...]]:
    where = ["is_deleted = 0"]
    parameters: list[str] = []
    if split is not None:
        where.append("split = ?")
        parameters.append(split)
    if group is not None:
        where.append("prompt_group = ?")
        parameters.append(group)
    if search.strip():
        query = match_query(search)
        where.append(
            "id IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)" if query else "0"
        )
        parameters += [query] if query else []
    return " AND ".join(where), tuple(parameters)


def _prompts(n: int) -> str:
    return "1 prompt" if n == 1 else f"{n} prompts"
