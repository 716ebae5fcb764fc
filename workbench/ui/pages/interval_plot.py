"""Shares with their 95 % intervals against a reference: the still chart of report pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.ui.pages.wording import interval_sentence, percent
from workbench.ui.theme import Theme


@dataclass(frozen=True, slots=True)
class Share:
    """A share in [0, 1] of `n` cases with its interval.

    `is_chance` says what is otherwise read from the interval, where chance is not the reference.
    """

    label: str
    value: float
    low: float
    high: float
    n: int
    is_chance: bool | None = None

    def may_be_chance(self, reference: float) -> bool:
        """Whether the interval contains the reference."""
        if self.is_chance is not None:
            return self.is_chance
        return self.low <= reference <= self.high


class IntervalPlot(QWidget):
    """One row per share: whiskers, a dot, its value; grey and "may be chance" over the line.

    Painted by hand: four rows need no plotting library, and text must keep the window's font.
    """

    def __init__(self, theme: Theme, caption: str, reference: float = 0.5) -> None:
        super().__init__()
        self._theme = theme
        self._caption = caption
        self._reference = reference
        self._shares: tuple[Share, ...] = ()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        theme.changed.connect(self.update)

    def set_shares(self, shares: Sequence[Share]) -> None:
        """Show other rows."""
        self._shares = tuple(shares)
        lines = [
            f"{s.label}: {percent(s.value)}, {interval_sentence(s.low, s.high)}, n = {s.n}"
            for s in self._shares
        ]
        self.setAccessibleName(self._caption)
        self.setAccessibleDescription("; ".join(lines))
        self.setToolTip("\n".join(lines))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(360, 60 + 48 * max(2, len(self._shares)))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(240, 60 + 36 * max(2, len(self._shares)))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        small = QFont(self.font())
        small.setPointSizeF(self.font().pointSizeF() * 0.88)
        painter.setFont(small)
        plot = self._plot_rect(QFontMetricsF(small))
        self._paint_axis(painter, plot)
        step = plot.height() / max(1, len(self._shares))
        for i, share in enumerate(self._shares):
            self._paint_share(painter, plot, share, plot.top() + (i + 0.5) * step)
        painter.end()

    def _plot_rect(self, metrics: QFontMetricsF) -> QRectF:
        labels = max((metrics.horizontalAdvance(s.label) for s in self._shares), default=40.0)
        bottom = 2 * metrics.height() + 12
        return QRectF(labels + 12, 4, self.width() - labels - 28, self.height() - bottom - 4)

    def _x(self, plot: QRectF, share: float) -> float:
        return plot.left() + plot.width() * share

    def _paint_axis(self, painter: QPainter, plot: QRectF) -> None:
        colour, height = self._theme.color, painter.fontMetrics().height()
        painter.setPen(QPen(colour("border"), 1))
        painter.drawLine(plot.bottomLeft(), plot.bottomRight())
        painter.setPen(colour("muted"))
        for tick in (0, 25, 50, 75, 100):
            x = self._x(plot, tick / 100)
            box = QRectF(x - 20, plot.bottom() + 4, 40, height)
            painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, str(tick))
        box = QRectF(0, plot.bottom() + 6 + height, self.width(), height)
        painter.drawText(box, Qt.AlignmentFlag.AlignHCenter, self._caption)
        painter.setPen(QPen(colour("reference"), 1.5, Qt.PenStyle.DashLine))
        x = self._x(plot, self._reference)
        painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()))

    def _paint_share(self, painter: QPainter, plot: QRectF, share: Share, y: float) -> None:
        colour, metrics = self._theme.color, painter.fontMetrics()
        doubtful = share.may_be_chance(self._reference)
        painter.setPen(colour("muted"))
        label = QRectF(0, y - metrics.height() / 2, plot.left() - 10, metrics.height())
        painter.drawText(label, Qt.AlignmentFlag.AlignRight, share.label)
        painter.setPen(QPen(colour("grid"), 1))
        painter.drawLine(QPointF(plot.left(), y), QPointF(plot.right(), y))
        ink = colour("reference" if doubtful else "series-1")
        painter.setPen(QPen(ink, 2))
        low, high = self._x(plot, share.low), self._x(plot, share.high)
        painter.drawLine(QPointF(low, y), QPointF(high, y))
        for x in (low, high):
            painter.drawLine(QPointF(x, y - 7), QPointF(x, y + 7))
        painter.setPen(QPen(colour("surface"), 2))
        painter.setBrush(ink)
        painter.drawEllipse(QPointF(self._x(plot, share.value), y), 5, 5)
        self._paint_value(painter, plot, share, y, doubtful)

    def _paint_value(
        self, painter: QPainter, plot: QRectF, share: Share, y: float, doubtful: bool
    ) -> None:
        text = percent(share.value)
        if doubtful:
            text = self.tr("{share}, may be chance").format(share=text)
        font = QFont(painter.font())
        font.setWeight(QFont.Weight.DemiBold)
        painter.save()
        painter.setFont(font)
        metrics = painter.fontMetrics()
        width = metrics.horizontalAdvance(text) + 4
        x = self._x(plot, share.high) + 8
        above = y - metrics.height() / 2
        if x + width > self.width():
            x, above = plot.right() - width, y - metrics.height() - 8
        # The dashed line must not run through the number.
        painter.fillRect(
            QRectF(x - 2, above, width + 2, metrics.height()), self._theme.color("surface")
        )
        painter.setPen(self._theme.color("text"))
        painter.drawText(QRectF(x, above, width, metrics.height()), text)
        painter.restore()
