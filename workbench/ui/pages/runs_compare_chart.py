"""One figure of several runs over their updates, told apart by colour, line and marker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.events import METRICS
from workbench.ui.pages.still_chart import Axis, StillChart
from workbench.ui.plots.metric_chart import figure
from workbench.ui.plots.series import Floats, x_limit, y_limits
from workbench.ui.theme import Theme

TOGETHER = 4
"""How many runs a chart takes; more get a chart each, on the same axes."""
_STYLES = (
    Qt.PenStyle.SolidLine,
    Qt.PenStyle.DashLine,
    Qt.PenStyle.DotLine,
    Qt.PenStyle.DashDotLine,
)
_MARKERS = 5
Limits = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is drawn of a run: its place in the choice gives colour, line and marker."""

    name: str
    slot: int
    x: Floats
    y: Floats


def limits(traces: Sequence[Trace], band: tuple[float, float] | None) -> Limits:
    """Right end of x, low and high end of y: the same for all charts of a figure."""
    right = x_limit(max((float(t.x[-1]) for t in traces if len(t.x)), default=1.0))
    values = np.concatenate([t.y for t in traces]) if traces else np.empty(0)
    return right, *y_limits(values, band)


class CompareChart(StillChart):
    """Some traces on one pair of axes, with the healthy band where the figure has one."""

    def __init__(self, theme: Theme, metric: str, title: str) -> None:
        super().__init__(theme, title, self.tr("No chosen run has this figure."))
        self._traces: Sequence[Trace] = ()
        known = METRICS.get(metric)
        self._band = known.healthy if known else None

    def show_traces(self, traces: Sequence[Trace], ends: Limits) -> None:
        """Draw runs on given axes; one that has no finite value is named, and not drawn."""
        self._traces = [t for t in traces if np.isfinite(t.y).any()]
        right, low, high = ends
        n = 4 if f"{right:g}".startswith("2") else 5
        self.x_axis = Axis(0.0, right, _named(np.linspace(0, right, n + 1)))
        self.y_axis = Axis(low, high, _named((low, (low + high) / 2, high)))
        self.tell([_said(t) for t in traces], is_empty=not self._traces)

    def draw(self, painter: QPainter) -> None:
        """Band, lines, and markers: a few on the way, a large one at the end."""
        self._draw_band(painter)
        for trace in self._traces:
            draw_line(painter, trace.slot, self.look, self._pieces(trace))
            known = np.flatnonzero(np.isfinite(trace.y))
            places = known[np.linspace(0, len(known) - 1, _MARKERS + 1).round().astype(int)[1:]]
            for i in places:
                end = 5.0 if i == places[-1] else 3.0
                place = self.at(float(trace.x[i]), float(trace.y[i]))
                draw_marker(painter, trace.slot, self.look, place, end)

    def _pieces(self, trace: Trace) -> Iterator[list[QPointF]]:
        """Points between the gaps that NaN leaves."""
        piece: list[QPointF] = []
        for x, y in zip(trace.x, trace.y, strict=True):
            if np.isfinite(y):
                piece.append(self.at(float(x), float(y)))
            elif piece:
                yield piece
                piece = []
        if piece:
            yield piece

    def _draw_band(self, painter: QPainter) -> None:
        if self._band is None or self._band[0] >= self.y_axis.high:
            return
        right = self.x_axis.high
        area = QRectF(self.at(0, self._band[1]), self.at(right, self._band[0]))
        painter.fillRect(area, self.ink("band"))
        painter.setPen(QPen(self.ink("band-line"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(area.topLeft(), area.topRight())
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        word = self.tr("healthy")
        wide = painter.fontMetrics().horizontalAdvance(word)
        place = area.topRight() + QPointF(-wide - 4, painter.fontMetrics().ascent() + 2)
        self.word(painter, place, word, "ok")


class Swatch(QWidget):
    """Line and marker of a run, for the legend."""

    def __init__(self, theme: Theme, slot: int) -> None:
        super().__init__()
        self._look, self._slot = theme, slot
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        theme.changed.connect(self.update)

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(36, 16)

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QPointF(self.width() / 2, self.height() / 2)
        ends = [QPointF(0, middle.y()), QPointF(self.width(), middle.y())]
        draw_line(painter, self._slot, self._look, [ends])
        draw_marker(painter, self._slot, self._look, middle, 4.5)
        painter.end()


def draw_line(
    painter: QPainter, slot: int, look: Theme, pieces: Iterator[list[QPointF]] | list[list[QPointF]]
) -> None:
    """Pieces of a line in the colour and style of a place in the choice."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(_ink(look, slot), 2, _STYLES[slot % TOGETHER]))
    for piece in pieces:
        painter.drawPolyline(QPolygonF(piece))


def draw_marker(painter: QPainter, slot: int, look: Theme, place: QPointF, size: float) -> None:
    """Circle, square, triangle or diamond."""
    painter.setPen(QPen(look.color("surface"), 1))
    painter.setBrush(_ink(look, slot))
    x, y = place.x(), place.y()
    shapes = {
        1: [(-size, -size), (size, -size), (size, size), (-size, size)],
        2: [(-size, -size), (size, -size), (0.0, size)],
        3: [(0.0, -1.3 * size), (1.3 * size, 0.0), (0.0, 1.3 * size), (-1.3 * size, 0.0)],
    }
    corners = shapes.get(slot % TOGETHER)
    if corners is None:
        painter.drawEllipse(place, size, size)
    else:
        painter.drawPolygon(QPolygonF([QPointF(x + dx, y + dy) for dx, dy in corners]))


def _ink(look: Theme, slot: int) -> QColor:
    return look.color(f"series-{slot % TOGETHER + 1}")


def _said(trace: Trace) -> str:
    known = np.flatnonzero(np.isfinite(trace.y))
    if not len(known):
        return f"{trace.name}: –"
    first, last = known[0], known[-1]
    return f"{trace.name}: {figure(float(trace.y[first]))} → {figure(float(trace.y[last]))}"


def _named(ticks: Sequence[float] | Floats) -> tuple[tuple[float, str], ...]:
    return tuple((float(tick), figure(float(tick))) for tick in ticks)
