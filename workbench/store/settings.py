"""Settings of an experiment: a key and a JSON value."""

from __future__ import annotations

import json
from typing import Any

from workbench.store.database import Database


class SettingsRepository:
    """What an experiment remembers about itself: the chosen model, the last settings of a form."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key."""
        text = self._database.value("SELECT value FROM settings WHERE key = ?", (key,))
        return default if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        """Store a value that JSON can hold."""
        with self._database.write() as connection:
            connection.execute(
                "INSERT INTO settings (key, value) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, json.dumps(value, ensure_ascii=False)),
            )
