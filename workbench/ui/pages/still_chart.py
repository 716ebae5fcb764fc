"""What the still charts of reports share: axes with captions, whiskers, bands, words to be read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.ui.theme import Theme

_SMALL = 0.88
_CAP = 4.0


@dataclass(frozen=True, slots=True)
class Axis:
    """What an axis shows: its ends, its ticks as (place, word), and its caption."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    caption: str = ""

    def share(self, value: float) -> float:
        """Where a value lies, from 0 at the low end to 1 at the high one; cut to both."""
        span = self.high - self.low or 1.0
        return min(1.0, max(0.0, (value - self.low) / span))


class StillChart(QWidget):
    """Painted by hand: a few points need no plotting library, and text keeps the window's font."""

    def __init__(self, theme: Theme, name: str, empty: str) -> None:
        super().__init__()
        self.look = theme
        self._empty = empty
        self._is_empty = True
        self.x_axis = Axis(0.0, 1.0, ())
        self.y_axis = Axis(0.0, 1.0, ())
        self._plot = QRectF()
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        theme.changed.connect(self.update)

    def tell(self, sentences: Sequence[str], *, is_empty: bool = False) -> None:
        """Say what is drawn, for who cannot see it and for the tooltip; then draw."""
        self._is_empty = is_empty
        self.setAccessibleDescription(self._empty if is_empty else "; ".join(sentences))
        self.setToolTip("" if is_empty else "\n".join(sentences))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, 240)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(200, 180)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * _SMALL)
        painter.setFont(font)
        if self._is_empty:
            painter.setPen(self.look.color("muted"))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(12, 0, -12, 0), int(flags), self._empty)
        else:
            self._paint_axes(painter)
            self.draw(painter)
        painter.end()

    def draw(self, painter: QPainter) -> None:
        """Draw what the chart is about, after the axes."""
        raise NotImplementedError

    def at(self, x: float, y: float) -> QPointF:
        """Where a point lies."""
        plot = self._plot
        return QPointF(
            plot.left() + plot.width() * self.x_axis.share(x),
            plot.bottom() - plot.height() * self.y_axis.share(y),
        )

    def ink(self, token: str) -> QColor:
        """A colour of the theme."""
        return self.look.color(token)

    def whisker(self, painter: QPainter, x: float, low: float, high: float, token: str) -> None:
        """An interval with its ends."""
        painter.setPen(QPen(self.ink(token), 1.5))
        top, bottom = self.at(x, high), self.at(x, low)
        painter.drawLine(top, bottom)
        for end in (top, bottom):
            painter.drawLine(end + QPointF(-_CAP, 0), end + QPointF(_CAP, 0))

    def curve(
        self,
        painter: QPainter,
        points: Sequence[tuple[float, float]],
        token: str,
        style: Qt.PenStyle = Qt.PenStyle.SolidLine,
    ) -> None:
        """Points joined by lines, each with its marker: a circle, a square where dashed."""
        places = [self.at(*point) for point in points]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(self.ink(token), 2, style))
        painter.drawPolyline(QPolygonF(places))
        painter.setPen(QPen(self.ink("surface"), 1.5))
        painter.setBrush(self.ink(token))
        for place in places:
            if style == Qt.PenStyle.SolidLine:
                painter.drawEllipse(place, 4.5, 4.5)
            else:
                painter.drawRect(QRectF(place.x() - 4, place.y() - 4, 8, 8))

    def band(
        self, painter: QPainter, points: Sequence[tuple[float, float, float]], token: str
    ) -> None:
        """The fill between the lower and the upper ends of (x, low, high)."""
        fill = QColor(self.ink(token))
        fill.setAlphaF(0.18)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        above = [self.at(x, high) for x, _, high in points]
        below = [self.at(x, low) for x, low, _ in reversed(points)]
        painter.drawPolygon(QPolygonF([*above, *below]))

    def word(self, painter: QPainter, place: QPointF, text: str, token: str) -> None:
        """A word in the plot, kept within it; its left end lies at the place."""
        metrics = QFontMetricsF(painter.font())
        width = metrics.horizontalAdvance(text)
        x = max(self._plot.left(), min(place.x(), self.width() - width - 2))
        painter.setPen(self.ink(token))
        painter.drawText(QPointF(x, max(place.y(), metrics.ascent())), text)

    def _paint_axes(self, painter: QPainter) -> None:
        metrics = QFontMetricsF(painter.font())
        row, side = metrics.height(), 0.0
        for _, word in self.y_axis.ticks:
            side = max(side, metrics.horizontalAdvance(word))
        left = side + 8 + (row + 2 if self.y_axis.caption else 0)
        below = row + 8 + (row if self.x_axis.caption else 0)
        self._plot = plot = QRectF(left, row / 2 + 4, self.width() - left - 12, 0)
        plot.setBottom(self.height() - below)
        for place, word in self.y_axis.ticks:
            y = self.at(0, place).y()
            painter.setPen(QPen(self.ink("grid"), 1))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(self.ink("muted"))
            box = QRectF(0, y - row / 2, left - 6, row)
            painter.drawText(
                box, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), word
            )
        for place, word in self.x_axis.ticks:
            x = self.at(place, 0).x()
            wide = metrics.horizontalAdvance(word)
            start = min(max(0.0, x - wide / 2), self.width() - wide)
            painter.drawText(QPointF(start, plot.bottom() + 4 + metrics.ascent()), word)
        if self.x_axis.caption:
            box = QRectF(plot.left(), plot.bottom() + 6 + row, plot.width(), row)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignHCenter), self.x_axis.caption)
        if self.y_axis.caption:
            painter.save()
            painter.translate(0, plot.bottom())
            painter.rotate(-90)
            box = QRectF(0, 0, plot.height(), row)
            painter.drawText(box, int(Qt.AlignmentFlag.AlignHCenter), self.y_axis.caption)
            painter.restore()
