"""One to five stars, given by mouse or by a digit."""

from __future__ import annotations

import math

from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.ui.theme import theme

N_STARS = 5
_GAP = 3


class Stars(QWidget):
    """A rating. While it has the focus the digits 1 to 5 give it; all other keys go on."""

    rated = Signal(int)
    left = Signal()
    """A digit was given, or Escape pressed: the focus may go on."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._value = 0
        self._name = name
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        theme().changed.connect(self.update)
        self.set_value(0)

    @property
    def value(self) -> int:
        """The stars; 0 for none given."""
        return self._value

    def set_value(self, value: int) -> None:
        """Show a rating; 0 for none."""
        self._value = value
        told = self.tr("{n} of 5 stars").format(n=value) if value else self.tr("not rated")
        self.setAccessibleName(self._name)
        self.setAccessibleDescription(told)
        self.setToolTip(f"{self._name}: {told}")
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        edge = self._edge()
        return QSize(N_STARS * edge + (N_STARS - 1) * _GAP + 8, edge + 8)

    def _edge(self) -> int:
        return max(12, self.fontMetrics().height() - 3)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        step = self._edge() + _GAP
        self._give(max(1, min(N_STARS, int((event.position().x() - 4) // step) + 1)))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        if event.text() in ("1", "2", "3", "4", "5"):
            if not event.isAutoRepeat():
                self._give(int(event.text()))
                self.left.emit()
        elif event.key() == Qt.Key.Key_Escape:
            self.left.emit()
        else:
            super().keyPressEvent(event)

    def _give(self, stars: int) -> None:
        self.set_value(stars)
        self.rated.emit(stars)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.hasFocus():
            painter.setPen(QPen(theme().color("focus"), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 4, 4)
        edge = self._edge()
        for i in range(N_STARS):
            is_given = i < self._value
            painter.setPen(QPen(theme().color("accent" if is_given else "control"), 1.2))
            painter.setBrush(theme().color("accent") if is_given else Qt.BrushStyle.NoBrush)
            painter.drawPolygon(_star(4 + i * (edge + _GAP), 4, edge))


def _star(left: float, top: float, edge: float) -> QPolygonF:
    """Ten points, outer and inner in turn."""
    half = edge / 2
    points = []
    for k in range(10):
        radius = half if k % 2 == 0 else 0.42 * half
        angle = math.pi * (k / 5 - 0.5)
        x = left + half + radius * math.cos(angle)
        points.append(QPointF(x, top + half + radius * math.sin(angle)))
    return QPolygonF(points)
