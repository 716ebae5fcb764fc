"""Artefacts: what runs wrote into the experiment folder."""

from __future__ import annotations

import sqlite3

from workbench.data.records import Artifact
from workbench.store.database import Database, now


class ArtifactRepository:
    """Paths and digests of checkpoints, adapters, reward models and exports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, run_id: int, kind: str, relative_path: str, digest: str) -> int:
        """Note a folder that is completely written; its id.

        Args:
            run_id: The run that wrote it.
            kind: checkpoint, adapter, reward_model or export.
            relative_path: Path below the experiment folder, with forward slashes.
            digest: SHA-256 of its manifest (`data.folders.digest_folder`).
        """
        with self._database.write() as connection:
            # A resumed run writes its adapter again: the old digest is of nothing any more.
            connection.execute(
                "DELETE FROM artifacts WHERE run_id = ? AND path = ?", (run_id, relative_path)
            )
            cursor = connection.execute(
                "INSERT INTO artifacts (run_id, kind, path, digest, created_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (run_id, kind, relative_path, digest, now()),
            )
        return int(cursor.lastrowid or 0)

    def for_run(self, run_id: int) -> list[Artifact]:
        """What a run wrote, oldest first."""
        rows = self._database.rows(
            "SELECT * FROM artifacts WHERE run_id = ? ORDER BY id", (run_id,)
        )
        return [_to_artifact(row) for row in rows]

    def list(self) -> list[Artifact]:
        """Everything that was written, oldest first."""
        return [_to_artifact(row) for row in self._database.rows("SELECT * FROM artifacts")]

    def latest(self, kind: str) -> Artifact | None:
        """The newest artefact of a kind, of a run that is not deleted."""
        row = self._database.row(
            "SELECT a.* FROM artifacts AS a JOIN runs AS r ON r.id = a.run_id"
            " WHERE a.kind = ? AND r.is_deleted = 0 ORDER BY a.id DESC LIMIT 1",
            (kind,),
        )
        return _to_artifact(row) if row else None


def _to_artifact(row: sqlite3.Row) -> Artifact:
    return Artifact(
        id=row["id"],
        run_id=row["run_id"],
        kind=row["kind"],
        path=row["path"],
        digest=row["digest"],
        created_at=row["created_at"],
    )
