"""What a person has begun to write or to rank and has not handed in."""

from __future__ import annotations

import json
from collections.abc import Mapping

from workbench.store.database import Database, now


class DraftRepository:
    """One draft per pair and annotator. Drafts are no operations of the undo journal."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def save(self, comparison_id: int, annotator: str, content: Mapping[str, object]) -> None:
        """Keep what was begun, in place of what was kept before; nothing in it: forget it."""
        with self._database.write() as connection:
            if not content:
                connection.execute(
                    "DELETE FROM drafts WHERE comparison_id = ? AND annotator = ?",
                    (comparison_id, annotator),
                )
                return
            connection.execute(
                "INSERT INTO drafts (comparison_id, annotator, content, updated_at)"
                " VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET content = excluded.content,"
                " updated_at = excluded.updated_at",
                (comparison_id, annotator, json.dumps(dict(content), ensure_ascii=False), now()),
            )

    def load(self, comparison_id: int, annotator: str) -> dict[str, object]:
        """What was begun on this pair; empty when nothing was."""
        text = self._database.value(
            "SELECT content FROM drafts WHERE comparison_id = ? AND annotator = ?",
            (comparison_id, annotator),
        )
        return dict(json.loads(text)) if text else {}

    def list(self, annotator: str) -> list[int]:
        """The comparisons with a draft, the one touched last first."""
        rows = self._database.rows(
            "SELECT comparison_id FROM drafts WHERE annotator = ? ORDER BY updated_at DESC",
            (annotator,),
        )
        return [row["comparison_id"] for row in rows]
