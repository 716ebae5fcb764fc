"""Shares over time with their 95 % intervals: a small still chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.ui.pages.wording import percent
from workbench.ui.theme import Theme

_LINES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
)
_SAMPLE = 26


@dataclass(frozen=True, slots=True)
class Curve:
    """A share in each stretch of time as (value, low, high); None where there was no case."""

    label: str
    points: tuple[tuple[float, float, float] | None, ...]


class DriftChart(QWidget):
    """Up to four curves over ten stretches, told apart by colour, line and marker.

    Painted by hand, as `IntervalPlot` is: forty points need no plotting library.
    """

    def __init__(self, theme: Theme, caption: str) -> None:
        super().__init__()
        self._theme = theme
        self._caption = caption
        self._curves: tuple[Curve, ...] = ()
        self.setAccessibleName(caption)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        theme.changed.connect(self.update)

    def set_curves(self, curves: Sequence[Curve]) -> None:
        """Show other curves; at most four."""
        self._curves = tuple(curves[: len(_LINES)])
        told = [
            f"{c.label}: {', '.join(percent(p[0]) if p else '–' for p in c.points)}"
            for c in self._curves
        ]
        self.setAccessibleDescription("; ".join(told))
        self.setToolTip("\n".join(told))
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, 200)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(220, 120)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * 0.88)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        top = self._paint_legend(painter, metrics)
        left, below = metrics.horizontalAdvance("100") + 8, metrics.height() + 6
        plot = QRectF(left, top, self.width() - left - 8, self.height() - top - below)
        self._paint_axes(painter, metrics, plot)
        for i, curve in enumerate(self._curves):
            self._paint_curve(painter, plot, curve, i)
        painter.end()

    def _paint_legend(self, painter: QPainter, metrics: QFontMetricsF) -> float:
        """Samples with names, in as many lines as they need; where the plot begins below them."""
        x, y, row = 0.0, 0.0, metrics.height() + 4
        for i, curve in enumerate(self._curves):
            width = _SAMPLE + 6 + metrics.horizontalAdvance(curve.label) + 14
            if x and x + width > self.width():
                x, y = 0.0, y + row
            middle = y + metrics.height() / 2
            painter.setPen(self._pen(i))
            painter.drawLine(QPointF(x, middle), QPointF(x + _SAMPLE, middle))
            self._paint_marker(painter, QPointF(x + _SAMPLE / 2, middle), i)
            painter.setPen(self._theme.color("text-2"))
            at = QRectF(x + _SAMPLE + 6, y, width, metrics.height())
            painter.drawText(at, Qt.AlignmentFlag.AlignLeft, curve.label)
            x += width
        return y + row + 6

    def _paint_axes(self, painter: QPainter, metrics: QFontMetricsF, plot: QRectF) -> None:
        for tick in (0, 50, 100):
            y = plot.bottom() - plot.height() * tick / 100
            style = Qt.PenStyle.DashLine if tick == 50 else Qt.PenStyle.SolidLine
            painter.setPen(QPen(self._theme.color("reference" if tick == 50 else "grid"), 1, style))
            painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
            painter.setPen(self._theme.color("muted"))
            at = QRectF(0, y - metrics.height() / 2, plot.left() - 6, metrics.height())
            painter.drawText(at, Qt.AlignmentFlag.AlignRight, str(tick))
        at = QRectF(0, plot.bottom() + 6, self.width(), metrics.height())
        painter.drawText(at, Qt.AlignmentFlag.AlignHCenter, self._caption)

    def _paint_curve(self, painter: QPainter, plot: QRectF, curve: Curve, i: int) -> None:
        step = plot.width() / max(1, len(curve.points))
        before: QPointF | None = None
        for k, point in enumerate(curve.points):
            if point is None:
                before = None
                continue
            # Beside each other, so that no interval hides another.
            x = plot.left() + (k + 0.5) * step + (i - 1.5) * min(4.0, step / 8)
            value, low, high = (plot.bottom() - plot.height() * p for p in point)
            painter.setPen(QPen(self._theme.color(f"series-{i + 1}"), 1))
            painter.drawLine(QPointF(x, low), QPointF(x, high))
            here = QPointF(x, value)
            painter.setPen(self._pen(i))
            if before is not None:
                painter.drawLine(before, here)
            self._paint_marker(painter, here, i)
            before = here

    def _pen(self, i: int) -> QPen:
        return QPen(self._theme.color(f"series-{i + 1}"), 2, _LINES[i])

    def _paint_marker(self, painter: QPainter, at: QPointF, i: int) -> None:
        """Circle, square, triangle, diamond."""
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color(f"series-{i + 1}"))
        if i == 0:
            painter.drawEllipse(at, 3.5, 3.5)
            return
        corners = {
            1: ((-3, -3), (3, -3), (3, 3), (-3, 3)),
            2: ((0, -4), (4, 3), (-4, 3)),
            3: ((0, -4.5), (4.5, 0), (0, 4.5), (-4.5, 0)),
        }[i]
        painter.drawPolygon(QPolygonF([at + QPointF(*corner) for corner in corners]))
