"""The table of runs: several can be chosen, any column puts them in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QItemSelection, QItemSelectionModel, Qt, Signal
from PySide6.QtWidgets import QAbstractItemView

from workbench.app.run_table import RunRow, Value, ordered
from workbench.ui.pages.rows import Column, RowsView


@dataclass(frozen=True)
class RunColumn(Column[RunRow]):
    """A column with what it is put in order by; None for rows that have nothing there."""

    value: Callable[[RunRow], Value] = lambda row: -row.run.id


class RunsTable(RowsView[RunRow]):
    """Rows in the order of a column; the choice stays when the rows are read again.

    Signals:
        selection_changed: Other rows are chosen.
        order_changed: By the head of a column.
    """

    selection_changed = Signal()
    order_changed = Signal()

    def __init__(self, columns: Sequence[RunColumn], name: str) -> None:
        super().__init__(columns, name)
        self.run_columns = tuple(columns)
        self._unsorted: list[RunRow] = []
        self.sorted_by: int | None = None
        self.is_falling = False
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.selectionModel().selectionChanged.connect(lambda *_: self.selection_changed.emit())
        header = self.horizontalHeader()
        header.setSectionsClickable(True)
        header.sectionClicked.connect(self._on_header)

    def chosen_rows(self) -> list[RunRow]:
        """The rows that are chosen, from top to bottom."""
        places = sorted(index.row() for index in self.selectionModel().selectedRows())
        return [self.rows_model.rows[i] for i in places]

    def show_rows(self, rows: Sequence[RunRow]) -> None:
        """Show other rows, or the same with new figures; chosen runs stay chosen."""
        self._unsorted = list(rows)
        self._show_in_order()

    def order_by(self, column: int | None, *, is_falling: bool) -> None:
        """Put the rows in order; None for the newest first."""
        if (column, is_falling) == (self.sorted_by, self.is_falling):
            return
        self.sorted_by, self.is_falling = column, is_falling
        header = self.horizontalHeader()
        header.setSortIndicatorShown(column is not None)
        falling, rising = Qt.SortOrder.DescendingOrder, Qt.SortOrder.AscendingOrder
        if column is not None:
            header.setSortIndicator(column, falling if is_falling else rising)
        self._show_in_order()

    def _on_header(self, column: int) -> None:
        """A number's largest first, words from A on; the same head again turns it round."""
        is_same = column == self.sorted_by
        is_falling = not self.is_falling if is_same else self.run_columns[column].is_number
        self.order_by(column, is_falling=is_falling)
        self.order_changed.emit()

    def _show_in_order(self) -> None:
        column = None if self.sorted_by is None else self.run_columns[self.sorted_by]
        value = RunColumn("", lambda _: "").value if column is None else column.value
        rows = ordered(self._unsorted, value, is_falling=self.is_falling)
        chosen = {row.run.id for row in self.chosen_rows()}
        # What is chosen for a moment while rows come and go is nobody's choice.
        model = self.selectionModel()
        model.blockSignals(True)
        current = self.current()
        self.rows_model.set_rows(rows)
        self._choose(chosen, None if current is None else current.run.id)
        model.blockSignals(False)
        self.viewport().update()
        self.chosen.emit(self.current())
        self.selection_changed.emit()

    def choose(self, run_ids: Collection[int]) -> None:
        """Let these runs be the choice, the first of them the current one."""
        self._choose(set(run_ids), next(iter(run_ids), None))

    def _choose(self, run_ids: Collection[int], current: int | None) -> None:
        flag = QItemSelectionModel.SelectionFlag
        last = self.rows_model.columnCount() - 1
        selection = QItemSelection()
        for i, row in enumerate(self.rows_model.rows):
            here = self.rows_model.index(i, 0)
            if row.run.id == current:
                self.selectionModel().setCurrentIndex(here, flag.NoUpdate)
            if row.run.id in run_ids:
                selection.select(here, self.rows_model.index(i, last))
        self.selectionModel().select(selection, flag.ClearAndSelect)
