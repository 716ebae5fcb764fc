"""A table of records: columns are functions of a row, the view follows the house's table rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    Qt,
    Signal,
)
from PySide6.QtGui import QFont, QIcon, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex
_ROOT = QModelIndex()
FREE_WIDTH = 100


@dataclass(frozen=True)
class Column(Generic[Row]):
    """One column. `sample` is the widest text expected: it sets the width without a scan of rows.

    A column without a sample shares what is left of the width. Where the table is too narrow,
    optional columns go, the last one first: a cut number is worse than none.
    """

    title: str
    text: Callable[[Row], str]
    sample: str = ""
    is_number: bool = False
    icon: Callable[[Row], QIcon | None] | None = None
    tooltip: Callable[[Row], str] | None = None
    is_optional: bool = False
    is_bold: Callable[[Row], bool] | None = None


class RowsModel(QAbstractTableModel, Generic[Row]):
    """Rows in memory: for lists of at most a few thousand (models, runs, samples, pairs)."""

    def __init__(self, columns: Sequence[Column[Row]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.columns = tuple(columns)
        self.rows: list[Row] = []

    def set_rows(self, rows: Sequence[Row]) -> None:
        """Show other rows."""
        self.beginResetModel()
        self.rows = list(rows)
        self.endResetModel()

    def rowCount(self, parent: Index = _ROOT) -> int:  # noqa: D102
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: Index = _ROOT) -> int:  # noqa: D102
        return 0 if parent.isValid() else len(self.columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        row, column = self.rows[index.row()], self.columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return " ".join(column.text(row).split())
        if role == Qt.ItemDataRole.ToolTipRole:
            return column.tooltip(row) if column.tooltip else column.text(row)
        if role == Qt.ItemDataRole.DecorationRole and column.icon:
            return column.icon(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column.is_number)
        if role == Qt.ItemDataRole.FontRole and column.is_bold and column.is_bold(row):
            return _bold_font()
        return None

    def headerData(  # noqa: D102
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self.columns[section].title
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(self.columns[section].is_number)
        return None


def _bold_font() -> QFont:
    font = QFont()
    font.setBold(True)
    return font


def _alignment(is_number: bool) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if is_number else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter


class RowsView(QTableView, Generic[Row]):
    """A quiet table: row lines only, fixed row height, one selected row, no word wrap."""

    chosen = Signal(object)
    """The row that became current, or None."""

    def __init__(
        self, columns: Sequence[Column[Row]], name: str, model: RowsModel[Row] | None = None
    ) -> None:
        super().__init__()
        self.setObjectName(name)
        self.setAccessibleName(name)
        self.rows_model: RowsModel[Row] = model or RowsModel(columns, self)
        self._left_out: frozenset[str] = frozenset()
        self.setModel(self.rows_model)
        self.setProperty("rows", True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setTabKeyNavigation(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        height = max(28, self.fontMetrics().height() + 10)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(height)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumHeight(height)
        self.selectionModel().currentRowChanged.connect(self._tell)

    def set_rows(self, rows: Sequence[Row], *, key: Callable[[Row], object] | None = None) -> None:
        """Show other rows; with `key`, the current row stays current when it is still there."""
        before = self.current()
        self.rows_model.set_rows(rows)
        wanted = key(before) if key and before is not None else None
        if key and wanted is not None:
            for i, row in enumerate(rows):
                if key(row) == wanted:
                    self.selectRow(i)
                    return
        self.chosen.emit(None)

    def leave_out(self, titles: Iterable[str]) -> None:
        """Hide the columns of these titles, and no others: the rows have nothing to say there."""
        self._left_out = frozenset(titles)
        self._share_width()

    def show_whole(self, n_rows: int) -> None:
        """Be as high as a table of this many rows, so that none of them needs scrolling."""
        row = self.verticalHeader().defaultSectionSize()
        header = max(row, self.horizontalHeader().sizeHint().height())
        self.setMinimumHeight(header + n_rows * row + 2)

    def selectRow(self, row: int) -> None:
        """Make one row the selection. Qt's own reads the keyboard: with Ctrl held it adds."""
        flag = QItemSelectionModel.SelectionFlag
        index = self.rows_model.index(row, 0)
        self.selectionModel().setCurrentIndex(index, flag.ClearAndSelect | flag.Rows)

    def current(self) -> Row | None:
        """The current row."""
        index = self.currentIndex()
        rows = self.rows_model.rows
        return rows[index.row()] if index.isValid() and index.row() < len(rows) else None

    def rows(self) -> list[Row]:
        """All rows in the order shown."""
        return self.rows_model.rows

    def _tell(self, index: QModelIndex) -> None:
        rows = self.rows_model.rows
        self.chosen.emit(rows[index.row()] if index.isValid() else None)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        columns = self.rows_model.columns
        widths = [self._width(column) for column in columns]
        room = self.viewport().width()
        hidden = {i for i, column in enumerate(columns) if column.title in self._left_out}
        for i in range(len(columns) - 1, -1, -1):
            if sum(w for k, w in enumerate(widths) if k not in hidden) <= room:
                break
            if columns[i].is_optional:
                hidden.add(i)
        free = [i for i, c in enumerate(columns) if not c.sample and i not in hidden]
        spare = room - sum(w for k, w in enumerate(widths) if k not in hidden)
        for i, width in enumerate(widths):
            more = max(0, spare) // len(free) if i in free else 0
            self.setColumnHidden(i, i in hidden)
            self.setColumnWidth(i, width + more)

    def _width(self, column: Column[Row]) -> int:
        if not column.sample:
            return FREE_WIDTH
        longest = max(column.sample, column.title, key=len)
        icon = 20 if column.icon else 0
        return self.fontMetrics().horizontalAdvance(longest) + 20 + icon
