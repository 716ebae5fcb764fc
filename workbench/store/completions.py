"""Completions: answers to prompts, with where they came from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence

from workbench.data.records import Completion, NewCompletion, Source
from workbench.errors import UserError
from workbench.store.database import Database, now
from workbench.store.search import index_text, match_query
from workbench.store.undo import UndoJournal

_LIVE = (
    "SELECT c.* FROM completions AS c JOIN prompts AS p ON p.id = c.prompt_id"
    " WHERE c.is_deleted = 0 AND p.is_deleted = 0"
)


class CompletionRepository:
    """The answers of an experiment.

    Answers that a model generates are no operations of the undo journal: otherwise one undo of
    a judgement, pressed while a model generates, would take back an answer instead.
    """

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def add(self, completion: NewCompletion) -> int:
        """Store one answer; its id."""
        return self.add_many([completion])[0]

    def add_many(
        self, completions: Sequence[NewCompletion], *, is_undoable: bool = False
    ) -> list[int]:
        """Store answers in one transaction; their ids in order."""
        with self._database.write() as connection:
            ids = [_insert(connection, completion) for completion in completions]
            if is_undoable:
                with self._undo.operation(f"added {len(ids)} answers") as operation:
                    operation.added("completions", ids)
        return ids

    def get(self, completion_id: int) -> Completion:
        """One answer, also of a deleted prompt.

        Raises:
            UserError: There never was such an answer.
        """
        row = self._database.row("SELECT * FROM completions WHERE id = ?", (completion_id,))
        if row is None:
            raise UserError(f"There is no answer {completion_id} in this experiment.")
        return to_completion(row)

    def for_prompt(self, prompt_id: int) -> list[Completion]:
        """The answers to a prompt, oldest first."""
        rows = self._database.rows(f"{_LIVE} AND c.prompt_id = ? ORDER BY c.id", (prompt_id,))
        return [to_completion(row) for row in rows]

    def by_prompt(self) -> Iterator[tuple[int, list[int]]]:
        """Each prompt's id with the ids of its answers, both ascending."""
        rows = self._database.rows(
            "SELECT c.prompt_id AS prompt_id, json_group_array(c.id) AS ids FROM"
            " (SELECT * FROM completions ORDER BY id) AS c JOIN prompts AS p ON p.id = c.prompt_id"
            " WHERE c.is_deleted = 0 AND p.is_deleted = 0 GROUP BY c.prompt_id ORDER BY c.prompt_id"
        )
        for row in rows:
            yield row["prompt_id"], sorted(json.loads(row["ids"]))

    def counts(self, prompt_ids: Sequence[int]) -> dict[int, int]:
        """Number of answers of each of these prompts, 0 included."""
        rows = self._database.rows(
            "SELECT prompt_id, count(*) AS n FROM completions WHERE is_deleted = 0"
            " AND prompt_id IN (SELECT value FROM json_each(?)) GROUP BY prompt_id",
            (json.dumps(list(prompt_ids)),),
        )
        found = {row["prompt_id"]: row["n"] for row in rows}
        return {i: found.get(i, 0) for i in prompt_ids}

    def count(self) -> int:
        """Number of answers."""
        return int(self._database.value(f"SELECT count(*) FROM ({_LIVE})"))

    def texts(self, sources: Sequence[Source]) -> list[tuple[int, str]]:
        """Prompt and text of every answer that came from one of these sources, oldest first."""
        rows = self._database.rows(
            f"SELECT prompt_id, text FROM ({_LIVE} AND c.source IN"
            " (SELECT value FROM json_each(?)) ORDER BY c.id)",
            (json.dumps(list(sources)),),
        )
        return [(row["prompt_id"], row["text"]) for row in rows]

    def texts_of_base(self, model_digest: str) -> list[tuple[int, str]]:
        """Prompt and text of every answer that a model gave without any adapter, oldest first."""
        rows = self._database.rows(
            f"SELECT prompt_id, text FROM ({_LIVE} AND c.source = 'generated'"
            " AND c.adapter IS NULL AND c.model_digest = ? ORDER BY c.id)",
            (model_digest,),
        )
        return [(row["prompt_id"], row["text"]) for row in rows]

    def texts_of(self, completion_ids: Sequence[int]) -> dict[int, str]:
        """Texts of answers, by their ids."""
        rows = self._database.rows(
            "SELECT id, text FROM completions WHERE id IN (SELECT value FROM json_each(?))",
            (json.dumps(sorted(set(completion_ids))),),
        )
        return {row["id"]: row["text"] for row in rows}

    def kept_by(self, algorithm: str) -> list[tuple[int, str]]:
        """Prompt and text of every answer that a run of this algorithm kept, oldest first."""
        rows = self._database.rows(
            f"SELECT prompt_id, text FROM ({_LIVE} AND c.run_id IN"
            " (SELECT id FROM runs WHERE algorithm = ?) ORDER BY c.id)",
            (algorithm,),
        )
        return [(row["prompt_id"], row["text"]) for row in rows]

    def models(self) -> dict[str, int]:
        """Number of answers by where they come from: a model, with its adapter, or a source."""
        rows = self._database.rows(
            "SELECT CASE WHEN c.source <> 'generated' THEN c.source WHEN c.adapter IS NULL THEN"
            " c.model_name ELSE c.model_name || ' with ' || c.adapter END AS name, count(*) AS n"
            f" FROM ({_LIVE}) AS c GROUP BY name ORDER BY name"
        )
        return {row["name"]: row["n"] for row in rows}

    def search(self, text: str, after_id: int = 0, limit: int = 200) -> list[Completion]:
        """A page of the answers in which all words of `text` occur, in order of their ids."""
        query = match_query(text)
        if not query:
            return []
        rows = self._database.rows(
            f"{_LIVE} AND c.id > ? AND c.id IN"
            " (SELECT rowid FROM completion_search WHERE completion_search MATCH ?)"
            " ORDER BY c.id LIMIT ?",
            (after_id, query, limit),
        )
        return [to_completion(row) for row in rows]

    def existing(
        self,
        prompt_id: int,
        model_digest: str,
        adapter: str | None,
        sampling: Mapping[str, object],
        seed: int,
    ) -> bool:
        """Whether this very answer was made already, so that generation can go on behind it."""
        return bool(
            self._database.value(
                "SELECT 1 FROM completions WHERE prompt_id = ? AND seed = ? AND model_digest = ?"
                " AND adapter IS ? AND sampling = ? AND is_deleted = 0 AND source = 'generated'",
                (prompt_id, seed, model_digest, adapter, _canonical(sampling)),
            )
        )


def to_completion(row: sqlite3.Row) -> Completion:
    """The record of a row of `completions`."""
    return Completion(
        prompt_id=row["prompt_id"],
        text=row["text"],
        token_ids=tuple(json.loads(row["token_ids"])),
        finish=row["finish"],
        source=row["source"],
        model_digest=row["model_digest"],
        model_name=row["model_name"],
        adapter=row["adapter"],
        sampling=json.loads(row["sampling"]),
        seed=row["seed"],
        run_id=row["run_id"],
        parent_id=row["parent_id"],
        author=row["author"],
        id=row["id"],
        created_at=row["created_at"],
    )


def _insert(connection: sqlite3.Connection, completion: NewCompletion) -> int:
    # SQLite holds UTF-8: half of a character, as a text field can give it, cannot be stored.
    text = completion.text.encode("utf-8", "replace").decode()
    completion_id = connection.execute(
        "INSERT INTO completions (prompt_id, text, token_ids, finish, source, model_digest,"
        " model_name, adapter, sampling, seed, run_id, parent_id, author, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            completion.prompt_id,
            text,
            json.dumps(list(completion.token_ids)),
            completion.finish,
            completion.source,
            completion.model_digest,
            completion.model_name,
            completion.adapter,
            _canonical(completion.sampling),
            completion.seed,
            completion.run_id,
            completion.parent_id,
            completion.author,
            now(),
        ),
    ).lastrowid
    connection.execute(
        "INSERT INTO completion_search (rowid, text) VALUES (?, ?)",
        (completion_id, index_text(text)),
    )
    return int(completion_id or 0)


def _canonical(sampling: Mapping[str, object]) -> str:
    return json.dumps(dict(sampling), sort_keys=True, ensure_ascii=False)
