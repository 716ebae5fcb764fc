"""Copies of the database, made at close and only of one that is whole."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

from workbench.data.folders import telling_disk_problems
from workbench.store.database import Database, now, telling_database_problems

log = logging.getLogger(__name__)

N_KEPT = 5
_PAGES_PER_STEP = 256


def back_up(database: Database, folder: Path) -> Path | None:
    """Copy the database into `folder` and keep the newest copies.

    The copy is checked before it takes its name, and older copies go only after that: a damaged
    database never replaces a good copy.

    Returns:
        The copy; None when the database is damaged, and then nothing was changed.
    """
    folder.mkdir(exist_ok=True)
    stamp = now().replace(":", "").replace("-", "").replace(".", "-")
    target = folder / f"experiment-{stamp}.db"
    partial = target.with_suffix(".partial")
    for old in folder.glob("experiment-*.partial"):
        old.unlink()
    with telling_disk_problems(target), telling_database_problems(database.path):
        try:
            with closing(sqlite3.connect(partial)) as copy:
                database.read().backup(copy, pages=_PAGES_PER_STEP)
                if is_whole := _is_whole(copy):
                    # One file that opens anywhere, without a log beside it.
                    copy.execute("PRAGMA journal_mode = DELETE")
            if not is_whole:
                log.error("%s is damaged: it was not copied over good copies", database.path)
                partial.unlink()
                return None
            partial.replace(target)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    for old in sorted(folder.glob("experiment-*.db"))[:-N_KEPT]:
        old.unlink()
    return target


def _is_whole(connection: sqlite3.Connection) -> bool:
    try:
        found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    except sqlite3.DatabaseError:
        return False
    return bool(found == "ok")
