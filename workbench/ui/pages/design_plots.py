"""How the parts of a design and their total are distributed over answers, on one common axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.app.design_numbers import Floats
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.theme import theme

_BINS = 48
_STRIP = 30
_NAME = 120
_FIGURES = 110
_AXIS = 22


class Distributions(QWidget):
    """One histogram below the other in units of the reward: the widest decides most.

    Painted by hand, as `DriftChart` is: it is drawn anew at every move of a weight.
    """

    def __init__(self) -> None:
        super().__init__()
        self._names: tuple[str, ...] = ()
        self._counts: list[list[int]] = []
        self._figures: list[str] = []
        self._low, self._high = -1.0, 1.0
        self.setAccessibleName(self.tr("Distributions of the parts and of the total"))
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme().changed.connect(self.update)

    def set_values(self, names: Sequence[str], values: Floats) -> None:
        """Show other distributions; NaN counts for nothing.

        Args:
            names: The total first, then the parts.
            values: (A, names), as they add up.
        """
        n_before = len(self._names)
        self._names = tuple(names)
        self._counts, self._figures = [], []
        if names:
            self._count(values)
        told = [f"{n}: {f}" for n, f in zip(self._names, self._figures, strict=True)]
        self.setAccessibleDescription("; ".join(told))
        if len(self._names) != n_before:
            self.updateGeometry()
        self.update()

    def _count(self, values: Floats) -> None:
        is_known = ~np.isnan(values)
        filled = np.where(is_known, values, 0.0)
        # Zero is always in sight: what is on its right helps, what is on its left harms.
        low, high = min(0.0, float(filled.min())), max(0.0, float(filled.max()))
        room = (high - low or 1.0) * 0.03
        self._low, self._high = low - room, high + room
        places = ((filled - self._low) / (self._high - self._low) * _BINS).astype(np.int64)
        n = np.maximum(1, is_known.sum(axis=0))
        means = filled.sum(axis=0) / n
        spreads = np.sqrt((np.where(is_known, values - means, 0.0) ** 2).sum(axis=0) / n)
        for i in range(values.shape[1]):
            counted = np.bincount(places[is_known[:, i], i], minlength=_BINS)
            self._counts.append(counted[:_BINS].tolist())
            words = self.tr("{mean} ± {spread}").format(
                mean=number(float(means[i])), spread=number(float(spreads[i]))
            )
            self._figures.append(words if is_known[:, i].any() else MISSING)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(320, len(self._names) * _STRIP + _AXIS)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(260, len(self._names) * _STRIP + _AXIS)

    def _x(self, value: float, plot: QRectF) -> float:
        return plot.left() + (value - self._low) / (self._high - self._low) * plot.width()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        metrics = QFontMetricsF(self.font())
        plot = QRectF(_NAME, 0, self.width() - _NAME - _FIGURES, len(self._names) * _STRIP)
        look = theme()
        for i, (name, counts) in enumerate(zip(self._names, self._counts, strict=True)):
            strip = QRectF(plot.left(), i * _STRIP, plot.width(), _STRIP - 4)
            painter.setPen(look.color("text" if i == 0 else "text-2"))
            middle = Qt.AlignmentFlag.AlignVCenter
            shown = metrics.elidedText(name, Qt.TextElideMode.ElideRight, _NAME - 10)
            painter.drawText(
                QRectF(0, strip.top(), _NAME, strip.height()),
                int(middle | Qt.AlignmentFlag.AlignLeft),
                shown,
            )
            painter.setPen(look.color("muted"))
            painter.drawText(
                QRectF(plot.right(), strip.top(), _FIGURES, strip.height()),
                int(middle | Qt.AlignmentFlag.AlignRight),
                self._figures[i],
            )
            self._paint_strip(painter, strip, counts, is_total=i == 0)
        self._paint_axis(painter, metrics, plot)

    def _paint_strip(
        self, painter: QPainter, strip: QRectF, counts: Sequence[int], *, is_total: bool
    ) -> None:
        look = theme()
        painter.setPen(QPen(look.color("grid"), 1))
        painter.drawLine(strip.bottomLeft(), strip.bottomRight())
        most = max(counts)
        fill = look.color("series-1" if is_total else "reference")
        width = strip.width() / _BINS
        for k, count in enumerate(counts):
            if count:
                height = max(2.0, (strip.height() - 2) * count / most)
                bar = QRectF(strip.left() + k * width, strip.bottom() - height, width, height)
                painter.fillRect(bar.adjusted(0, 0, -0.5, 0), fill)

    def _paint_axis(self, painter: QPainter, metrics: QFontMetricsF, plot: QRectF) -> None:
        look = theme()
        zero = self._x(0.0, plot)
        painter.setPen(QPen(look.color("control"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(QPointF(zero, 0), QPointF(zero, plot.bottom()))
        painter.setPen(look.color("muted"))
        ends = (self._low, plot.left()), (self._high, plot.right())
        for value, x in (*ends, (0.0, zero)):
            words = number(value)
            wide = metrics.horizontalAdvance(words)
            is_near = value == 0.0 and any(abs(x - end) < wide + 16 for _, end in ends)
            if not is_near:
                painter.drawText(QPointF(x - wide / 2, plot.bottom() + metrics.ascent() + 2), words)
