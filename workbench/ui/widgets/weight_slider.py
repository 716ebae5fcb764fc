"""A slider for a weight: 0 in the middle, filled to the right, outlined to the left."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen, QWheelEvent
from PySide6.QtWidgets import QSizePolicy, QSlider

from workbench.ui.theme import theme

_STEPS = 20  # of one unit
_KNOB = 6
_TROUGH = 4


class WeightSlider(QSlider):
    """Goes from −`most` to +`most` in steps of 0.05; arrows, page keys, wheel and mouse.

    Signals:
        weight_changed: The user moved it.
        settled: The mouse was let go: what is shown now is meant.
    """

    weight_changed = Signal(float)
    settled = Signal()

    def __init__(self, name: str, most: float = 3.0) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(round(-most * _STEPS), round(most * _STEPS))
        self.setSingleStep(1)
        self.setPageStep(_STEPS // 2)
        self.setAccessibleName(name)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.valueChanged.connect(lambda value: self.weight_changed.emit(value / _STEPS))
        theme().changed.connect(self.update)

    def set_weight(self, weight: float) -> None:
        """Show a weight; one that is out of reach stands at the end. Nothing is told."""
        value = round(max(self.minimum(), min(self.maximum(), weight * _STEPS)))
        with QSignalBlocker(self):
            self.setValue(value)
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(160, 24)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(80, 24)

    # The mouse takes the knob to where it is: Qt's own slider pages towards it.

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self.setValue(self._value_at(event.position().x()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        if self.isSliderDown():
            self.setValue(self._value_at(event.position().x()))

    def mouseReleaseEvent(self, _event: QMouseEvent) -> None:  # noqa: D102
        if self.isSliderDown():
            self.setSliderDown(False)
            self.settled.emit()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Only with the keyboard on it: else a list that is scrolled would change weights."""
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _value_at(self, x: float) -> int:
        share = (x - _KNOB) / max(1.0, self.width() - 2 * _KNOB)
        value = self.minimum() + share * (self.maximum() - self.minimum())
        # Zero is easy to hit: it takes the part out.
        return 0 if abs(value) < 1.5 else round(max(self.minimum(), min(self.maximum(), value)))

    def _x(self, value: int) -> float:
        share = (value - self.minimum()) / (self.maximum() - self.minimum())
        return _KNOB + share * (self.width() - 2 * _KNOB)

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Trough, mark at 0, the way from 0 to the knob, the knob."""
        look = theme()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle, zero, knob = self.height() / 2, self._x(0), self._x(self.value())
        trough = QRectF(1, middle - _TROUGH / 2, self.width() - 2, _TROUGH)
        painter.setPen(QPen(look.color("control"), 1))
        painter.setBrush(look.color("sunken"))
        painter.drawRoundedRect(trough, 2, 2)
        painter.drawLine(QPointF(zero, middle - 7), QPointF(zero, middle + 7))
        way = QRectF(min(zero, knob), trough.top(), abs(knob - zero), _TROUGH)
        name = "series-1" if self.value() > 0 else "series-2"
        token = name if self.isEnabled() else "disabled"
        painter.setPen(QPen(look.color(token), 1))
        painter.setBrush(look.color(token if self.value() > 0 else "surface"))
        if self.value():
            painter.drawRect(way)
        has_focus = self.hasFocus()
        painter.setPen(QPen(look.color("focus" if has_focus else "control"), 2 if has_focus else 1))
        painter.setBrush(look.color("surface"))
        painter.drawEllipse(QPointF(knob, middle), _KNOB - 1, _KNOB - 1)
