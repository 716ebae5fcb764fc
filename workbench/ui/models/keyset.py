"""A table model that reads its rows from the database in keyset pages, as they are scrolled to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from PySide6.QtCore import QModelIndex
from PySide6.QtWidgets import QWidget

from workbench.ui.pages.rows import Column, Index, RowsModel

Row = TypeVar("Row")
Fetch = Callable[[Row | None, int], Sequence[Row]]
"""(last row that is shown, or None; how many) -> the rows after it."""

PAGE = 200


class KeysetModel(RowsModel[Row]):
    """Rows of one query. The view asks for more at the end of what is loaded.

    Never OFFSET: its cost grows with the row, a keyset page costs the same everywhere.
    """

    def __init__(
        self,
        columns: Sequence[Column[Row]],
        key: Callable[[Row], int],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(columns, parent)
        self._key = key
        self._fetch: Fetch[Row] | None = None
        self._is_complete = True

    def start(self, fetch: Fetch[Row]) -> None:
        """Show another query from its beginning."""
        rows = fetch(None, PAGE)
        self._fetch = fetch
        self._is_complete = len(rows) < PAGE
        self.set_rows(rows)

    @property
    def is_started(self) -> bool:
        """Whether there is a query to refresh."""
        return self._fetch is not None

    def refresh(self) -> None:
        """Read the loaded rows again; selection and scroll position stay where rows stayed."""
        if self._fetch is None:
            return
        wanted = max(PAGE, len(self.rows))
        rows = list(self._fetch(None, wanted))
        old = [self._key(row) for row in self.rows]
        if [self._key(row) for row in rows[: len(old)]] == old:
            self._update(rows)
        else:
            self._move(rows)
        self._is_complete = len(rows) < wanted

    def _update(self, rows: list[Row]) -> None:
        n_old = len(self.rows)
        changed = [i for i in range(n_old) if rows[i] != self.rows[i]]
        self.rows[:] = rows[:n_old]
        if changed:
            last = len(self.columns) - 1
            self.dataChanged.emit(self.index(changed[0], 0), self.index(changed[-1], last))
        self._append(rows[n_old:])

    def _append(self, rows: Sequence[Row]) -> None:
        if not rows:
            return
        start = len(self.rows)
        self.beginInsertRows(QModelIndex(), start, start + len(rows) - 1)
        self.rows.extend(rows)
        self.endInsertRows()

    def _move(self, rows: list[Row]) -> None:
        self.layoutAboutToBeChanged.emit()
        place = {self._key(row): i for i, row in enumerate(rows)}
        before = self.persistentIndexList()
        after = []
        for index in before:
            row = place.get(self._key(self.rows[index.row()]))
            after.append(QModelIndex() if row is None else self.createIndex(row, index.column()))
        self.rows = rows
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def find(self, key: int) -> QModelIndex:
        """Index of a record, loading pages until it is there; invalid when it is not."""
        seen = 0
        while True:
            for i in range(seen, len(self.rows)):
                if self._key(self.rows[i]) == key:
                    return self.index(i, 0)
            seen = len(self.rows)
            if self._is_complete:
                return QModelIndex()
            self.fetchMore(QModelIndex())

    def canFetchMore(self, parent: Index) -> bool:  # noqa: D102
        return not parent.isValid() and not self._is_complete

    def fetchMore(self, parent: Index) -> None:  # noqa: D102
        if parent.isValid() or self._fetch is None or self._is_complete:
            return
        page = self._fetch(self.rows[-1] if self.rows else None, PAGE)
        self._is_complete = len(page) < PAGE
        self._append(page)
