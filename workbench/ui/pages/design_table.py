"""Answers with the value of each part and their total, best first: follows every weight at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PySide6.QtCore import QAbstractTableModel, QModelIndex, QRectF, Qt, Signal
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QTableView,
)

from workbench.app.design_numbers import Floats, Ints
from workbench.app.designs import Row
from workbench.ui.pages.rows import Index
from workbench.ui.pages.wording import number
from workbench.ui.theme import theme
from workbench.ui.widgets.token_view import paint_value

_ROOT = QModelIndex()
_TEXT_WIDTH = 150
_DIGITS = 2
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class TotalsModel(QAbstractTableModel):
    """Column 0 is the total, 1 the answer, then one per number column."""

    def __init__(self, parent: QTableView) -> None:
        super().__init__(parent)
        self._rows: Sequence[Row] = ()
        self._titles: tuple[str, ...] = ()
        self._numbers: Floats = np.zeros((0, 0))
        self._totals: Floats = np.zeros(0)
        self._order: Ints = np.zeros(0, dtype=np.int64)
        self._scale = self._total_scale = 1.0
        self.is_weighted = True

    def set_rows(self, rows: Sequence[Row], titles: Sequence[str]) -> None:
        """Show other answers or other columns; their numbers come with `set_numbers`."""
        self.beginResetModel()
        self._rows, self._titles = rows, tuple(titles)
        self._numbers = np.full((len(rows), len(titles)), np.nan)
        self._totals = np.zeros(len(rows))
        self._order = np.arange(len(rows))
        self.endResetModel()

    def set_numbers(self, numbers: Floats, totals: Floats, *, is_weighted: bool) -> None:
        """Show other numbers of the same answers; what was selected stays selected.

        Args:
            numbers: (A, columns).
            totals: (A,), by which rows are ordered.
            is_weighted: Whether the numbers add up to the totals, so that their sizes compare.
        """
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        answers = [int(self._order[index.row()]) for index in before]
        self._numbers, self._totals, self.is_weighted = numbers, totals, is_weighted
        self._order = np.argsort(-totals, kind="stable")
        self._scale = float(np.nanmax(np.abs(numbers), initial=0.0)) or 1.0
        self._total_scale = float(np.abs(totals).max(initial=0.0)) or 1.0
        places = np.argsort(self._order)
        after = [
            self.createIndex(int(places[answer]), index.column())
            for index, answer in zip(before, answers, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def row_at(self, place: int) -> Row:
        """The answer in a place of the table."""
        return self._rows[int(self._order[place])]

    def total_at(self, place: int) -> float:
        """Its total."""
        return float(self._totals[self._order[place]])

    def rowCount(self, parent: Index = _ROOT) -> int:  # noqa: D102
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _ROOT) -> int:  # noqa: D102
        return 0 if parent.isValid() else 2 + len(self._titles)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:  # noqa: D102
        answer, column = int(self._order[index.row()]), index.column()
        row = self._rows[answer]
        if role == Qt.ItemDataRole.DisplayRole:
            if column == 1:
                return self.words(index.row())
            return number(self._value(answer, column), _DIGITS)
        if role == Qt.ItemDataRole.ToolTipRole:
            return f"{row.prompt}\n\n{row.text}" if column == 1 else None
        return None

    def words(self, place: int) -> str:
        """The answer in one line."""
        return " ".join(self.row_at(place).text.split())

    def sized(self, place: int, column: int) -> tuple[float, float]:
        """A number and the size that gets the highest bar; 0 where sizes do not compare."""
        value = self._value(int(self._order[place]), column)
        if column == 0:
            return value, self._total_scale
        return value, self._scale if self.is_weighted else 0.0

    def _value(self, answer: int, column: int) -> float:
        return float(self._totals[answer] if column == 0 else self._numbers[answer, column - 2])

    def headerData(  # noqa: D102
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return (self.tr("Total"), self.tr("Answer"), *self._titles)[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _LEFT if section == 1 else _RIGHT
        return None


class _Bars(QStyledItemDelegate):
    """The number, with its size as tint and bar and its sign as fill, as tokens have it.

    Painted whole: hundreds of cells are painted anew while a weight is dragged, and going through
    the style sheet for each took three times as long.
    """

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Index) -> None:
        """Selection, size, line, words."""
        model, column = index.model(), index.column()
        assert isinstance(model, TotalsModel)
        rect, state = option.rect, option.state
        look = theme()
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, look.color("selected"))
        room, side = rect.adjusted(5, 0, -8, -2), _RIGHT
        if column == 1:
            words = model.words(index.row())
            metrics, elide = option.fontMetrics, Qt.TextElideMode.ElideRight
            words, side = metrics.elidedText(words, elide, room.width()), _LEFT
        else:
            value, scale = model.sized(index.row(), column)
            words = number(value, _DIGITS)
            if scale:
                paint_value(painter, QRectF(rect.adjusted(4, 2, -4, -8)), value, scale)
        painter.setPen(look.color("grid"))
        painter.drawLine(rect.bottomLeft(), rect.bottomRight())
        painter.setPen(look.color("text"))
        painter.drawText(room, side, words)


class TotalsTable(QTableView):
    """The view; answers scroll down, parts scroll sideways, total and answer come first.

    Signals:
        chosen: The answer that became current, or None.
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.totals = TotalsModel(self)
        self.setModel(self.totals)
        self.setAccessibleName(self.tr("Answers and what the parts make of them"))
        self.setItemDelegate(_Bars(self))
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setFrameShape(QTableView.Shape.NoFrame)
        self.setTabKeyNavigation(False)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        height = max(28, self.fontMetrics().height() + 10)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(height)
        header = self.horizontalHeader()
        header.setHighlightSections(False)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        header.setMinimumHeight(height)
        self.selectionModel().currentRowChanged.connect(self._tell)

    def set_rows(self, rows: Sequence[Row], titles: Sequence[str]) -> None:
        """Show other answers or columns."""
        self.totals.set_rows(rows, titles)
        self._share_width()
        self.chosen.emit(None)

    def _tell(self, index: QModelIndex) -> None:
        self.chosen.emit(self.totals.row_at(index.row()) if index.isValid() else None)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._share_width()

    def _share_width(self) -> None:
        narrow = self.fontMetrics().horizontalAdvance("−00.00") + 28
        n = self.totals.columnCount() - 1
        if n < 1:
            return
        for column in range(self.totals.columnCount()):
            self.setColumnWidth(column, narrow)
        self.setColumnWidth(1, max(_TEXT_WIDTH, self.viewport().width() - n * narrow))
