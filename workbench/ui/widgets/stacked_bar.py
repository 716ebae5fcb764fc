"""Amounts that add up, as one bar against a limit, with a legend that has their values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPaintEvent, QPen, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.ui.theme import scaled, theme

_BAR = 16
_SWATCH = 11
_GAP = 16


@dataclass(frozen=True, slots=True)
class Amount:
    """One part of the bar; a hatched one is told from the others without its colour."""

    name: str
    value: float
    token: str
    is_hatched: bool = False


class StackedBar(QWidget):
    """Parts in their order with gaps of a pixel; what is past the limit is red and hatched.

    Args:
        caption: Accessible name.
        spell: How a value is written.
    """

    def __init__(self, caption: str, spell: Callable[[float], str]) -> None:
        super().__init__()
        self._spell = spell
        self._parts: tuple[Amount, ...] = ()
        self._limit = 0.0
        scaled(self, 0.92)
        self.setAccessibleName(caption)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def show_parts(self, parts: Sequence[Amount], limit: float) -> None:
        """Draw these; the limit is where the room ends."""
        self._parts, self._limit = tuple(part for part in parts if part.value > 0), limit
        told = [f"{part.name}: {self._spell(part.value)}" for part in self._parts]
        self.setAccessibleDescription("; ".join(told))
        self.setToolTip("\n".join(told))
        self._fit()
        self.update()

    def is_over(self) -> bool:
        """Whether the parts are more than the limit."""
        return self.total() > self._limit

    def total(self) -> float:
        """The sum of the parts."""
        return sum(part.value for part in self._parts)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(300, self.minimumHeight())

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        """As high as the legend needs at this width."""
        rows = 1 + max((row for row, _, _ in self._legend()), default=0)
        self.setFixedHeight(_BAR + 6 + rows * (self.fontMetrics().height() + 4))

    def _legend(self) -> list[tuple[int, int, Amount]]:
        """Row and left edge of each entry."""
        placed = []
        row = x = 0
        for part in self._parts:
            wide = _SWATCH + 6 + self.fontMetrics().horizontalAdvance(self._words(part))
            if x and x + wide > self.width():
                row, x = row + 1, 0
            placed.append((row, x, part))
            x += wide + _GAP
        return placed

    def _words(self, part: Amount) -> str:
        return f"{part.name}  {self._spell(part.value)}"

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Trough, parts, what is past the limit, legend."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        frame = QRectF(0.5, 0.5, self.width() - 1, _BAR - 1)
        painter.setPen(QPen(theme().color("control"), 1))
        painter.setBrush(theme().color("sunken"))
        painter.drawRoundedRect(frame, 4, 4)
        self._paint_parts(painter, frame.adjusted(0.5, 0.5, -0.5, -0.5))
        line = self.fontMetrics().height() + 4
        for row, x, part in self._legend():
            y = _BAR + 6 + row * line
            _fill(painter, QRectF(x, y + (line - _SWATCH) / 2, _SWATCH, _SWATCH), part)
            painter.setPen(theme().color("text-2"))
            words = QRectF(x + _SWATCH + 6, y, self.width() - x, line)
            painter.drawText(words, int(Qt.AlignmentFlag.AlignVCenter), self._words(part))

    def _paint_parts(self, painter: QPainter, inside: QRectF) -> None:
        whole = max(self._limit, self.total())
        if whole <= 0:
            return
        scale = inside.width() / whole
        x = inside.left()
        for part in self._parts:
            wide = part.value * scale
            _fill(painter, QRectF(x, inside.top(), max(1.0, wide - 1), inside.height()), part)
            x += wide
        if not self.is_over():
            return
        edge = inside.left() + self._limit * scale
        past = QRectF(edge, inside.top(), inside.right() - edge, inside.height())
        painter.fillRect(past, theme().color("bad-tint"))
        painter.fillRect(past, QBrush(theme().color("bad"), Qt.BrushStyle.BDiagPattern))
        painter.setPen(QPen(theme().color("bad"), 2))
        painter.drawLine(QPointF(edge, 0), QPointF(edge, _BAR))


def _fill(painter: QPainter, area: QRectF, part: Amount) -> None:
    ink: QColor = theme().color(part.token)
    if part.is_hatched:
        painter.fillRect(area, theme().color("surface"))
        painter.fillRect(area, QBrush(ink, Qt.BrushStyle.Dense4Pattern))
        painter.fillRect(area, QBrush(ink, Qt.BrushStyle.BDiagPattern))
    else:
        painter.fillRect(area, ink)
