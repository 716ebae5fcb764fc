"""A text as its tokens, each with a number: tint and bar by size, filled or outlined by sign.

The same widget shows log-ratios, advantages, values, and what a reward owes to each token.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from PySide6.QtCore import QEvent, QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QFontMetrics,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QAbstractScrollArea,
    QFrame,
    QHBoxLayout,
    QSizePolicy,
    QToolTip,
    QWidget,
)

from workbench.ui.theme import scaled, theme
from workbench.ui.widgets.basics import label

_PADDING = 3  # left and right of a token's words
_GAP = 5  # before a token that begins a word
_BAR = 7  # the highest bar
_STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of the legend, in units of the scale


def signed(value: float) -> str:
    """A number with its sign, three digits, a true minus; a dash for none."""
    if not math.isfinite(value):
        return "–"
    return f"{value + 0.0:+.3g}".replace("-", "−") if value else "0"


def visible(token: str) -> str:
    """The words of a token: what cannot be seen gets a sign."""
    words = token.strip(" ").replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍")
    return words or ("␣" * len(token) if token else "⋯")


def scale_of(values: Sequence[float]) -> float:
    """The largest finite size among some numbers; 1 when all are 0 or none is a number."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0) or 1.0


def paint_value(painter: QPainter, area: QRectF, value: float, scale: float) -> None:
    """Tint a chip and draw its bar under it: sign by fill, size by tint and height."""
    share = min(1.0, abs(value) / scale) if math.isfinite(value) else 0.0
    if share == 0.0:
        return
    name = "series-1" if value > 0 else "series-2"
    tint = theme().color(name)
    tint.setAlphaF(0.04 + 0.16 * share)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(tint)
    painter.drawRoundedRect(area, 4, 4)
    height = max(3.0, round(_BAR * share))  # less, and an outline could not be told from a fill
    bar = QRectF(area.left() + 1, area.bottom() + 1, area.width() - 2, height)
    if value > 0:
        painter.fillRect(bar, theme().color(name))
    else:
        painter.setPen(QPen(theme().color(name), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(bar.adjusted(0.5, 0.5, -0.5, -0.5))


class TokenView(QAbstractScrollArea):
    """Tokens in reading order; one is current, by mouse, arrows, Home and End.

    Signals:
        chosen: Index of the current token; -1 when there is none.

    Args:
        caption: Accessible name.
    """

    chosen = Signal(int)

    def __init__(self, caption: str) -> None:
        super().__init__()
        self._caption = caption
        self._tokens: tuple[str, ...] = ()
        self._values: tuple[float, ...] | None = None
        self._details: tuple[str, ...] = ()
        self._scale = 1.0
        self._current = -1
        self._areas: list[QRectF] = []
        self._rows: list[int] = []  # the first token of each row
        self._height = 0
        scaled(self, 1.15)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.viewport().setMouseTracking(True)
        self.viewport().setAutoFillBackground(False)
        self.setAccessibleName(caption)
        theme().changed.connect(self.viewport().update)
        self._tell()

    def set_tokens(
        self,
        tokens: Sequence[str],
        values: Sequence[float] | None = None,
        *,
        scale: float | None = None,
        details: Sequence[str] = (),
    ) -> None:
        """Show a text.

        Args:
            tokens: Its tokens as they read, spaces and line ends included.
            values: A number for each, NaN for none; None shows the text alone.
            scale: The size that gets the highest bar; None takes the largest there is.
            details: What the tooltip of each token says below its number.
        """
        self._tokens = tuple(tokens)
        self._current = 0 if self._tokens else -1
        self.verticalScrollBar().setValue(0)
        self._lay_out()
        self.set_values(values, scale=scale, details=details)
        self.chosen.emit(self._current)

    def set_values(
        self,
        values: Sequence[float] | None,
        *,
        scale: float | None = None,
        details: Sequence[str] = (),
    ) -> None:
        """Show other numbers for the same tokens; see `set_tokens`."""
        if values is not None and len(values) != len(self._tokens):
            msg = f"{len(values)} values for {len(self._tokens)} tokens"
            raise ValueError(msg)
        self._values = None if values is None else tuple(values)
        self._details = tuple(details)
        self._scale = scale if scale else scale_of(self._values or ())
        self._tell()
        self.viewport().update()

    @property
    def scale(self) -> float:
        """The size that gets the highest bar, for a legend."""
        return self._scale

    @property
    def current(self) -> int:
        """Index of the current token, -1 for none."""
        return self._current

    def select(self, index: int) -> None:
        """Make a token the current one and scroll to it."""
        if not 0 <= index < len(self._tokens) or index == self._current:
            return
        self._current = index
        self._show(self._areas[index])
        self._tell()
        self.viewport().update()
        self.chosen.emit(index)

    def words(self, index: int) -> str:
        """What the tooltip says of a token."""
        said = f"“{visible(self._tokens[index])}”"
        if self._values is not None:
            said += f"  {signed(self._values[index])}"
        return f"{said}\n{self._details[index]}" if index < len(self._details) else said

    def index_at(self, where: QPoint) -> int:
        """The token under a point of the viewport, -1 for none."""
        point = QPoint(where.x(), where.y() + self.verticalScrollBar().value()).toPointF()
        for i in self._shown(where.y(), where.y() + 1):
            if self._areas[i].adjusted(0, 0, 0, _BAR).contains(point):
                return i
        return -1

    # Layout

    def _line(self) -> int:
        return self.fontMetrics().height() + 4

    def _row(self) -> int:
        return self._line() + _BAR + 10

    def _lay_out(self) -> None:
        """Chips from left to right; a new row where one is full and after a line end."""
        metrics = self.fontMetrics()
        room = max(60, self.viewport().width() - 8)
        wide: dict[str, int] = {}
        self._areas, self._rows = [], []
        x, y = 0, 4
        is_fresh = True
        for i, token in enumerate(self._tokens):
            words = visible(token)
            if words not in wide:
                wide[words] = min(room, metrics.horizontalAdvance(words) + 2 * _PADDING)
            gap = _GAP if token[:1].isspace() else 1
            if not is_fresh and x + gap + wide[words] > room:
                x, y, is_fresh = 0, y + self._row(), True
            if is_fresh:
                self._rows.append(i)
            x += 0 if is_fresh else gap
            self._areas.append(QRectF(4 + x, y, wide[words], self._line()))
            x += wide[words]
            is_fresh = "\n" in token
            if is_fresh:
                x, y = 0, y + self._row()
        self._height = y + self._row()
        self._fit_bar()

    def _fit_bar(self) -> None:
        bar, page = self.verticalScrollBar(), self.viewport().height()
        bar.setPageStep(page)
        bar.setSingleStep(self._row())
        bar.setRange(0, max(0, self._height - page))

    def _shown(self, top: int, bottom: int) -> range:
        """Tokens of the rows between two heights of the viewport."""
        offset, row = self.verticalScrollBar().value(), self._row()
        first = max(0, (top + offset - 4) // row)
        last = max(0, (bottom + offset - 4) // row) + 1
        tops = [self._areas[i].top() for i in self._rows]
        begin = bisect_right(tops, 4 + first * row - 1)
        end = bisect_right(tops, 4 + (last - 1) * row)
        starts = [*self._rows, len(self._tokens)]
        return range(starts[min(begin, len(self._rows))], starts[min(end, len(self._rows))])

    def _show(self, area: QRectF) -> None:
        bar, page = self.verticalScrollBar(), self.viewport().height()
        if area.top() < bar.value():
            bar.setValue(int(area.top()) - 4)
        elif area.bottom() + _BAR > bar.value() + page:
            bar.setValue(int(area.bottom()) + _BAR + 6 - page)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, 3 * self._row())

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(120, 2 * self._row())

    # Events

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._lay_out()

    def changeEvent(self, event: QEvent) -> None:  # noqa: D102
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange and hasattr(self, "_tokens"):
            self._lay_out()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        key, last = event.key(), len(self._tokens) - 1
        targets = {
            Qt.Key.Key_Left: self._current - 1,
            Qt.Key.Key_Right: self._current + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        if key in targets:
            self.select(max(0, min(last, targets[Qt.Key(key)])))
        elif key in (Qt.Key.Key_Up, Qt.Key.Key_Down) and self._current >= 0:
            self.select(self._above() if key == Qt.Key.Key_Up else self._below())
        else:
            super().keyPressEvent(event)

    def _above(self) -> int:
        return self._nearest(bisect_right(self._rows, self._current) - 2)

    def _below(self) -> int:
        return self._nearest(bisect_right(self._rows, self._current))

    def _nearest(self, row: int) -> int:
        """The token of a row that stands nearest below or above the current one."""
        if not 0 <= row < len(self._rows):
            return self._current
        ends = [*self._rows, len(self._tokens)]
        middle = self._areas[self._current].center().x()
        inside = range(ends[row], ends[row + 1])
        return min(inside, key=lambda i: abs(self._areas[i].center().x() - middle))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self.select(self.index_at(event.position().toPoint()))

    def viewportEvent(self, event: QEvent) -> bool:
        """Numbers on hover."""
        if isinstance(event, QHelpEvent):
            index = self.index_at(event.pos())
            if index < 0:
                QToolTip.hideText()
            else:
                QToolTip.showText(event.globalPos(), self.words(index), self.viewport())
            return True
        return super().viewportEvent(event)

    def focusInEvent(self, _event: QEvent) -> None:  # noqa: D102
        self.viewport().update()

    def focusOutEvent(self, _event: QEvent) -> None:  # noqa: D102
        self.viewport().update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The rows in sight."""
        painter = QPainter(self.viewport())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.translate(0, -self.verticalScrollBar().value())
        middle = int(Qt.AlignmentFlag.AlignCenter)
        for i in self._shown(event.rect().top(), event.rect().bottom()):
            area = self._areas[i]
            if self._values is not None:
                paint_value(painter, area, self._values[i], self._scale)
            painter.setPen(theme().color("text"))
            words = visible(self._tokens[i])
            room = int(area.width()) + 1
            painter.drawText(
                area,
                middle,
                self.fontMetrics().elidedText(words, Qt.TextElideMode.ElideRight, room),
            )
            if i == self._current:
                ring = "focus" if self.hasFocus() else "control"
                painter.setPen(QPen(theme().color(ring), 2))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRoundedRect(area.adjusted(1, 1, -1, -1), 4, 4)

    def _tell(self) -> None:
        """Name the current token for those who cannot see it."""
        told = self.words(self._current) if self._current >= 0 else self.tr("No tokens.")
        self.setAccessibleDescription(told)


class TokenLegend(QWidget):
    """What tint and bar mean: five steps with their numbers, and words at both ends."""

    def __init__(self) -> None:
        super().__init__()
        self._low, self._high = label("", "muted-small"), label("", "muted-small")
        self._steps = _Steps()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        for part in (self._low, self._steps, self._high):
            layout.addWidget(part)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)

    def show_scale(self, low: str, high: str, scale: float, unit: str = "") -> None:
        """Name both ends; `scale` is `TokenView.scale`."""
        self._low.setText(low)
        self._high.setText(high)
        self._steps.show_scale(scale)
        ends = f"{signed(-scale)} {unit}".strip(), f"{signed(scale)} {unit}".strip()
        self.setAccessibleName(f"{ends[0]}: {low}. {ends[1]}: {high}.")
        self.setToolTip(self.accessibleName())


class _Steps(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self._scale = 1.0
        scaled(self, 0.85)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def show_scale(self, scale: float) -> None:
        self._scale = scale
        self.updateGeometry()
        self.update()

    def _wide(self) -> int:
        metrics = QFontMetrics(self.font())
        return max(metrics.horizontalAdvance(signed(s * self._scale)) for s in _STEPS) + 14

    def sizeHint(self) -> QSize:
        return QSize(len(_STEPS) * (self._wide() + 2), self.fontMetrics().height() + _BAR + 5)

    def paintEvent(self, _event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for i, step in enumerate(_STEPS):
            left = i * (self._wide() + 2)
            area = QRectF(left, 0, self._wide(), self.fontMetrics().height() + 2)
            paint_value(painter, area, step, 1.0)
            painter.setPen(theme().color("text"))
            words = signed(step * self._scale)
            painter.drawText(area, int(Qt.AlignmentFlag.AlignCenter), words)
