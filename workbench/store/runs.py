"""Runs: training and evaluation with their settings, figures and sample answers."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence

from workbench.data.records import Run, RunKind, RunStatus
from workbench.errors import UserError
from workbench.events import Evaluated, Event, Marked, Sample, Step, Warned
from workbench.store.database import Database, now
from workbench.store.undo import UndoJournal

_ENDED = ("done", "stopped", "failed", "interrupted")
Tokens = tuple[tuple[str, ...], dict[str, tuple[float, ...]]]


class RunRepository:
    """The runs of an experiment. Jobs write them; what people say of them can be undone."""

    def __init__(self, database: Database, undo: UndoJournal) -> None:
        self._database = database
        self._undo = undo

    def create(
        self,
        kind: RunKind,
        algorithm: str,
        name: str,
        settings: Mapping[str, object],
        inputs: Mapping[str, object],
    ) -> int:
        """A new run with status queued; its id.

        Args:
            kind: What it makes.
            algorithm: How: ppo, dpo, reward, ….
            name: How lists show it.
            settings: All hyperparameters, as JSON values.
            inputs: What it was made from: model digest, reward run, counts and digests of data.
        """
        with self._database.write() as connection:
            cursor = connection.execute(
                "INSERT INTO runs (kind, algorithm, name, status, settings, inputs, created_at)"
                " VALUES (?, ?, ?, 'queued', ?, ?, ?)",
                (kind, algorithm, name, _json(settings), _json(inputs), now()),
            )
        return int(cursor.lastrowid or 0)

    def set_status(self, run_id: int, status: RunStatus) -> None:
        """Note what the run is doing; a resumed run has no end any more."""
        with self._database.write() as connection:
            connection.execute(
                "UPDATE runs SET status = ?, finished_at = ? WHERE id = ?",
                (status, now() if status in _ENDED else None, run_id),
            )

    def finish(
        self,
        run_id: int,
        status: RunStatus,
        results: Mapping[str, object] | None = None,
        error: str = "",
    ) -> None:
        """Note how the run ended; results are added to those that are there."""
        with self._database.write() as connection:
            old = connection.execute("SELECT results FROM runs WHERE id = ?", (run_id,)).fetchone()
            merged = {**json.loads(old["results"]), **(results or {})} if old else {}
            connection.execute(
                "UPDATE runs SET status = ?, results = ?, error = ?, finished_at = ? WHERE id = ?",
                (status, _json(merged), error, now(), run_id),
            )

    def get(self, run_id: int) -> Run:
        """One run.

        Raises:
            UserError: There is no such run.
        """
        row = self._database.row("SELECT * FROM runs WHERE id = ?", (run_id,))
        if row is None:
            raise UserError(f"There is no run {run_id} in this experiment.")
        return _to_run(row)

    def append_events(self, run_id: int, events: Sequence[Event]) -> None:
        """Store figures, sample answers, warnings and marks among these in one transaction."""
        with self._database.write() as connection:
            for event in events:
                _append(connection, run_id, event)

    def rewind(self, run_id: int, step: int) -> None:
        """Forget what came after `step`: a run goes on from a checkpoint before it."""
        with self._database.write() as connection:
            for table in ("metrics", "samples", "run_marks"):
                connection.execute(
                    f"DELETE FROM {table} WHERE run_id = ? AND step > ?", (run_id, step)
                )
            # The fixed prompts are asked at the beginning of a step, so they are asked again.
            connection.execute(
                "DELETE FROM samples WHERE run_id = ? AND step = ? AND is_watched", (run_id, step)
            )

    def metrics(self, run_id: int) -> dict[str, list[tuple[int, float]]]:
        """All figures of a run: name to (step, value) in order of steps; NaN where it was NaN."""
        found: dict[str, list[tuple[int, float]]] = {}
        for row in self._database.rows(
            "SELECT name, step, value FROM metrics WHERE run_id = ? ORDER BY name, step", (run_id,)
        ):
            found.setdefault(row["name"], []).append((row["step"], _number(row["value"])))
        return found

    def final_metrics(self, run_id: int) -> dict[str, tuple[int, float]]:
        """The last (step, value) of each figure of a run; NaN where it was NaN."""
        # SQLite takes the other columns from the row of the maximum.
        rows = self._database.rows(
            "SELECT name, max(step) AS step, value FROM metrics WHERE run_id = ? GROUP BY name",
            (run_id,),
        )
        return {row["name"]: (row["step"], _number(row["value"])) for row in rows}

    def samples(self, run_id: int, step: int | None = None) -> list[Sample]:
        """Answers that a run learned from, of all steps or of one, without their tokens."""
        return [s for _, s in self.numbered_samples(run_id, step) if not s.is_watched]

    def numbered_samples(self, run_id: int, step: int | None = None) -> list[tuple[int, Sample]]:
        """All kept answers in order of steps, with numbers by which `tokens_of` finds the rest."""
        rows = self._database.rows(
            "SELECT id, step, prompt_id, text, reward, kl, n_tokens, is_finished, is_watched"
            " FROM samples WHERE run_id = ?1 AND (?2 IS NULL OR step = ?2) ORDER BY step, id",
            (run_id, step),
        )
        return [(row["id"], _to_sample(row)) for row in rows]

    def tokens_of(self, sample_id: int) -> Tokens:
        """The tokens of a sample and their figures; none where they were not kept."""
        row = self._database.row("SELECT tokens, figures FROM samples WHERE id = ?", (sample_id,))
        if row is None or row["tokens"] is None:
            return (), {}
        figures = json.loads(row["figures"] or "{}")
        return tuple(json.loads(row["tokens"])), {
            name: tuple(map(_number, values)) for name, values in figures.items()
        }

    def warnings(self, run_id: int) -> list[Warned]:
        """What the run warned of, oldest first."""
        rows = self._database.rows(
            "SELECT message, hint FROM run_warnings WHERE run_id = ? ORDER BY id", (run_id,)
        )
        return [Warned(row["message"], row["hint"]) for row in rows]

    def marks(self, run_id: int) -> list[Marked]:
        """What happened at which step, in order."""
        rows = self._database.rows(
            "SELECT step, kind, text FROM run_marks WHERE run_id = ? ORDER BY step, id", (run_id,)
        )
        return [Marked(row["step"], row["kind"], row["text"]) for row in rows]

    def mark_interrupted(self) -> int:
        """Mark runs that were under way when the program died; how many there were."""
        with self._database.write() as connection:
            return connection.execute(
                "UPDATE runs SET status = 'interrupted', finished_at = ?"
                " WHERE status IN ('queued', 'running', 'paused')",
                (now(),),
            ).rowcount

    def list(self, kind: RunKind | None = None) -> list[Run]:
        """Runs that are not deleted, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM runs WHERE is_deleted = 0 AND (?1 IS NULL OR kind = ?1) ORDER BY id",
            (kind,),
        )
        return [_to_run(row) for row in rows]

    def count(self, kind: RunKind, algorithm: str) -> int:
        """How many runs there ever were of a kind and algorithm, deleted ones too."""
        n: int = self._database.value(
            "SELECT count(*) FROM runs WHERE kind = ? AND algorithm = ?", (kind, algorithm)
        )
        return n

    def set_note(self, run_id: int, note: str) -> None:
        """Say something about a run; one undoable operation."""
        self._say(run_id, "note", note, f"changed the note of {self.get(run_id).name}")

    def set_tags(self, run_id: int, tags: Sequence[str]) -> None:
        """Give a run its tags, each once, in place of those it had; one undoable operation."""
        clean = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
        stored = json.dumps(clean, ensure_ascii=False)
        self._say(run_id, "tags", stored, f"changed the tags of {self.get(run_id).name}")

    def delete(self, run_ids: Sequence[int]) -> int:
        """Hide runs from every list, what they wrote stays; one undoable operation.

        Returns:
            How many were there to delete.
        """
        with self._database.write() as connection, self._undo.operation("") as operation:
            gone = [
                i
                for i in run_ids
                if connection.execute(
                    "UPDATE runs SET is_deleted = 1 WHERE id = ? AND is_deleted = 0", (i,)
                ).rowcount
            ]
            operation.name = f"deleted {len(gone)} run{'s' if len(gone) != 1 else ''}"
            operation.record("runs", gone, "is_deleted", 0, 1)
        return len(gone)

    def is_deleted(self, run_id: int) -> bool:
        """Whether a run was deleted."""
        return bool(self._database.value("SELECT is_deleted FROM runs WHERE id = ?", (run_id,)))

    def _say(self, run_id: int, column: str, value: str, name: str) -> None:
        with self._database.write() as connection, self._undo.operation(name) as operation:
            before = connection.execute(
                f"SELECT {column} FROM runs WHERE id = ?", (run_id,)
            ).fetchone()[0]
            if before != value:
                connection.execute(f"UPDATE runs SET {column} = ? WHERE id = ?", (value, run_id))
                operation.record("runs", [run_id], column, before, value)


def _append(connection: sqlite3.Connection, run_id: int, event: Event) -> None:
    if isinstance(event, Step | Evaluated):
        connection.executemany(
            "INSERT OR REPLACE INTO metrics (run_id, name, step, value) VALUES (?, ?, ?, ?)",
            [(run_id, name, event.step, float(value)) for name, value in event.metrics.items()],
        )
    elif isinstance(event, Sample):
        connection.execute(
            "INSERT INTO samples (run_id, step, prompt_id, text, reward, kl, n_tokens,"
            " is_finished, is_watched, tokens, figures) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                run_id,
                event.step,
                event.prompt_id,
                event.text,
                event.reward,
                event.kl,
                event.n_tokens,
                event.is_finished,
                event.is_watched,
                json.dumps(event.tokens, ensure_ascii=False) if event.tokens else None,
                _json(_rounded(event.figures)) if event.figures else None,
            ),
        )
    elif isinstance(event, Warned):
        connection.execute(
            "INSERT INTO run_warnings (run_id, message, hint, created_at) VALUES (?, ?, ?, ?)",
            (run_id, event.message, event.hint, now()),
        )
    elif isinstance(event, Marked):
        connection.execute(
            "INSERT INTO run_marks (run_id, step, kind, text, created_at) VALUES (?, ?, ?, ?, ?)",
            (run_id, event.step, event.kind, event.text, now()),
        )


def _to_sample(row: sqlite3.Row) -> Sample:
    return Sample(
        step=row["step"],
        prompt_id=row["prompt_id"],
        text=row["text"],
        reward=_number(row["reward"]),
        kl=_number(row["kl"]),
        n_tokens=row["n_tokens"],
        is_finished=bool(row["is_finished"]),
        is_watched=bool(row["is_watched"]),
    )


def _rounded(figures: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    """Figures of tokens are looked at, not computed with: four digits save half the room."""
    return {name: [float(f"{v:.4g}") for v in values] for name, values in figures.items()}


def _to_run(row: sqlite3.Row) -> Run:
    return Run(
        id=row["id"],
        kind=row["kind"],
        algorithm=row["algorithm"],
        name=row["name"],
        status=row["status"],
        settings=json.loads(row["settings"]),
        inputs=json.loads(row["inputs"]),
        results=json.loads(row["results"]),
        error=row["error"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        note=row["note"],
        tags=tuple(json.loads(row["tags"])),
    )


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(_finite(dict(value)), ensure_ascii=False, default=str)


def _finite(value: object) -> object:
    """NaN and infinities as null: they are not JSON, and SQLite's check refuses them."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value


def _number(value: float | None) -> float:
    return math.nan if value is None else value
