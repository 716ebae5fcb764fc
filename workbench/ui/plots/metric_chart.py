"""One metric over the updates of a run: title and value above, raw under smoothed line."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QAction,
    QContextMenuEvent,
    QFocusEvent,
    QFont,
    QFontMetrics,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMenu,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
)

from workbench.events import METRICS, Metric
from workbench.ui.plots.series import Series, x_limit, y_limits
from workbench.ui.theme import bold, scaled, theme
from workbench.ui.widgets import ElidedLabel, label

_MARGINS = 20  # left and right, inside the card


def figure(value: float) -> str:
    """A number as a chart says it: three digits, a true minus sign, a dash for not measured."""
    if not math.isfinite(value):
        return "–"
    # + 0.0: there is no minus zero.
    is_tiny = 0 < abs(value) < 0.001
    text = f"{value:.1e}".replace("e-0", "e-") if is_tiny else f"{value + 0.0:.3g}"
    return text[:1].replace("-", "−") + text[1:]


class MetricChart(QFrame):
    """A live chart; numbers only from outside, no work but drawing what came."""

    def __init__(self, metric: str) -> None:
        super().__init__()
        self.setProperty("card", True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.name = metric
        self.glossary = METRICS.get(metric, Metric(metric, "", metric))
        self.series = Series()
        self._limits: tuple[float, float, float] | None = None
        self._marks: list[tuple[float, str]] = []
        self._mark_lines: list[pg.InfiniteLine] = []
        self._finding = ""
        self._icon = QLabel()
        self._title = ElidedLabel(self.glossary.title)
        bold(self._title)
        self._value = label("–", "card-title")
        self._unit = label(self.glossary.unit, "muted")
        scaled(self._unit, 0.92)
        self._build_plot()
        head = QHBoxLayout()
        head.setSpacing(4)
        head.addWidget(self._title, 1)
        head.addWidget(self._icon)
        head.addWidget(self._value)
        head.addWidget(self._unit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 6, 8, 4)
        layout.setSpacing(2)
        layout.addLayout(head)
        layout.addWidget(self._plot, 1)
        self.setAccessibleName(self.glossary.title)
        self.setToolTip(self._tip())
        self.setMinimumSize(150, 110)
        theme().changed.connect(self._restyle)
        self._restyle()
        self._draw()

    def _tip(self) -> str:
        unit = f" ({self.glossary.unit})" if self.glossary.unit else ""
        text = f"{self.name}{unit}: {self.glossary.meaning}"
        if self.glossary.healthy:
            low, high = (figure(v) for v in self.glossary.healthy)
            text += " " + self.tr("Healthy: {low} to {high}.").format(low=low, high=high)
        said = [self._finding, text] if self._finding else [text]
        for step, sentence in self._marks:
            said.append(self.tr("Update {n}: {text}").format(n=f"{step:g}", text=sentence))
        return "\n".join(said)

    def _build_plot(self) -> None:
        self._plot = pg.PlotWidget()
        self._plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._plot.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        item = self._plot.getPlotItem()
        item.hideButtons()
        item.setMenuEnabled(False)
        item.setMouseEnabled(False, False)
        item.disableAutoRange()
        item.setContentsMargins(0, 6, 8, 0)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setStyle(tickLength=0 if side == "left" else -4, hideOverlappingLabels=False)
        self._lines = [pg.InfiniteLine(angle=0) for _ in range(3)]
        for tick in self._lines:
            tick.setZValue(-30)
            item.addItem(tick, ignoreBounds=True)
        self._band = pg.LinearRegionItem(
            orientation="horizontal", movable=False, values=self.glossary.healthy or (0, 0)
        )
        self._band.setVisible(self.glossary.healthy is not None)
        self._band.setZValue(-20)
        item.addItem(self._band)
        self._word = pg.TextItem(self.tr("healthy"), anchor=(1, 0))
        self._word.setVisible(False)
        item.addItem(self._word, ignoreBounds=True)
        # PlotCurveItem with checked data: a refresh of six charts stays below 8 ms.
        self._raw, self._smooth = pg.PlotCurveItem(), pg.PlotCurveItem()
        self._dot = pg.ScatterPlotItem(size=5)
        for part in (self._raw, self._smooth, self._dot):
            item.addItem(part)

    def append(self, step: float, value: float) -> None:
        """Add the value of one update and draw."""
        self.series.append(step, value)
        self._draw()

    def set_series(self, steps: Sequence[float], values: Sequence[float]) -> None:
        """Show a whole series in place of what was shown."""
        self.series.clear()
        for step, value in zip(steps, values, strict=True):
            self.series.append(step, value)
        self._draw()

    def clear(self) -> None:
        """Show nothing."""
        self.series.clear()
        self._limits = None
        self._draw()

    def value_text(self) -> str:
        """The current value as shown."""
        return self._value.text()

    def mark(self, finding: str) -> None:
        """Mark the chart with what is wrong with its figure; empty for nothing."""
        if finding != self._finding:
            self._finding = finding
            self.setToolTip(self._tip())
            self._draw()

    def set_marks(self, marks: Sequence[tuple[float, str]]) -> None:
        """Show where something happened, such as new labels, as lines from bottom to top.

        Args:
            marks: Step and sentence of each; the sentences stand in the tooltip.
        """
        if list(marks) == self._marks:
            return
        self._marks = list(marks)
        item = self._plot.getPlotItem()
        for line in self._mark_lines:
            item.removeItem(line)
        self._mark_lines = [pg.InfiniteLine(step, angle=90) for step, _ in marks]
        for line in self._mark_lines:
            line.setZValue(-10)
            item.addItem(line, ignoreBounds=True)
        self.setToolTip(self._tip())
        self._restyle()

    def finding(self) -> str:
        """What the chart is marked with."""
        return self._finding

    def is_out_of_band(self) -> bool:
        """Whether the newest value lies outside the healthy band."""
        last, band = self.series.last(), self.glossary.healthy
        return last is not None and band is not None and not band[0] <= last[1] <= band[1]

    def _draw(self) -> None:
        last = self.series.last()
        self._raw.setData(*self.series.drawn(smooth=False), connect="finite")
        self._smooth.setData(*self.series.drawn(smooth=True), connect="finite")
        if last is None or not math.isfinite(last[1]):
            self._dot.setData([], [])
        else:
            self._dot.setData([last[0]], [last[1]])
        self._value.setText("–" if last is None else figure(last[1]))
        self._mark_health()
        self._fit_unit()
        limits = (
            x_limit(last[0]) if last else 10.0,
            *y_limits(self.series.y, self.glossary.healthy),
        )
        if limits != self._limits:
            self._limits = limits
            self._set_range(*limits)
        said = f"{self._value.text()} {self.glossary.unit}".strip()
        self.setAccessibleDescription(f"{said}. {self._finding} {self.glossary.meaning}")

    def _mark_health(self) -> None:
        is_out = self._has_icon()
        self._icon.setVisible(is_out)
        if is_out:
            self._icon.setPixmap(theme().icon("warn", "warn", 14).pixmap(14, 14))
        palette = self._value.palette()
        palette.setColor(self._value.foregroundRole(), theme().color("warn" if is_out else "text"))
        self._value.setPalette(palette)

    def _has_icon(self) -> bool:
        return bool(self._finding) or self.is_out_of_band()

    def _set_range(self, right: float, low: float, high: float) -> None:
        item = self._plot.getPlotItem()
        margin = 0.04 * (high - low)
        item.setXRange(0, right, padding=0.02)
        item.setYRange(low - margin, high + margin, padding=0)
        # 20 and 200 are cut into fours, 10, 50 and 100 into fives: round numbers either way.
        n = 4 if f"{right:g}".startswith("2") else 5
        item.getAxis("bottom").setTicks([[(v, f"{v:g}") for v in np.linspace(0, right, n + 1)]])
        ticks = (low, (low + high) / 2, high)
        left, metrics = item.getAxis("left"), QFontMetrics(self._tick_font())
        left.setTicks([[(v, figure(v)) for v in ticks]])
        left.setWidth(max(metrics.horizontalAdvance(figure(v)) for v in ticks) + 10)
        for tick, v in zip(self._lines, ticks, strict=True):
            tick.setValue(v)
        band = self.glossary.healthy
        if band is not None:
            top = min(band[1], high)
            self._word.setVisible(top > low and band[0] < high)
            self._word.setPos(right, top)

    def _tick_font(self) -> QFont:
        font = self.font()
        font.setPointSizeF(font.pointSizeF() * 0.85)
        return font

    def _restyle(self) -> None:
        """Palette changes do not reach pens: give every item its colours again."""
        look = theme()
        self._plot.setBackground(look.color("surface"))
        line = look.color("series-1")
        faint = look.color("series-1")
        faint.setAlphaF(0.38)
        self._raw.setPen(pg.mkPen(faint, width=1))
        self._smooth.setPen(pg.mkPen(line, width=1))
        self._dot.setBrush(pg.mkBrush(line))
        self._dot.setPen(pg.mkPen(line))
        self._band.setBrush(pg.mkBrush(look.color("band")))
        for edge in self._band.lines:
            edge.setPen(pg.mkPen(look.color("band-line"), width=1, style=Qt.PenStyle.DashLine))
        self._word.setColor(look.color("ok"))
        for tick in self._lines:
            tick.setPen(pg.mkPen(look.color("grid"), width=1))
        item = self._plot.getPlotItem()
        font = self._tick_font()
        self._word.setFont(font)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setTickFont(font)
            # Ticks of length 0 are drawn as points; on the surface these are not seen.
            axis.setTickPen(pg.mkPen(look.color("border" if side == "bottom" else "surface")))
            axis.setTextPen(pg.mkPen(look.color("muted")))
            axis.setPen(pg.mkPen(look.color("border")) if side == "bottom" else pg.mkPen(None))
        for mark in self._mark_lines:
            mark.setPen(pg.mkPen(look.color("reference"), width=1, style=Qt.PenStyle.DashLine))
        self._mark_health()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """In a narrow chart the unit goes first; the tooltip has it."""
        super().resizeEvent(event)
        self._fit_unit()

    def _fit_unit(self) -> None:
        parts = [self._title, self._value, self._unit] + [self._icon] * self._has_icon()
        needed = sum(part.sizeHint().width() + 4 for part in parts) + _MARGINS
        self._unit.setVisible(needed <= self.width())

    def focusInEvent(self, event: QFocusEvent) -> None:
        """The ring comes."""
        super().focusInEvent(event)
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """The ring goes."""
        super().focusOutEvent(event)
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """The card, and the focus ring inside its rectangle."""
        super().paintEvent(event)
        if self.hasFocus():
            painter = QPainter(self)
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(theme().color("focus"), 2))
            painter.drawRoundedRect(self.rect().adjusted(1, 1, -1, -1), 8, 8)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        """Offer the numbers as a table, for those who cannot see the line."""
        menu = QMenu(self)
        show = QAction(self.tr("Show as table"), menu)
        show.triggered.connect(self.show_table)
        menu.addAction(show)
        menu.popup(event.globalPos())

    def show_table(self) -> QDialog:
        """A dialog with every point as numbers."""
        dialog = QDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle(self.glossary.title)
        table = QTableWidget(len(self.series), 2)
        table.setHorizontalHeaderLabels([self.tr("Update"), self.glossary.title])
        table.setAccessibleName(self.glossary.title)
        for row, (x, y) in enumerate(zip(self.series.x, self.series.y, strict=True)):
            table.setItem(row, 0, QTableWidgetItem(f"{x:g}"))
            table.setItem(row, 1, QTableWidgetItem(f"{y:.6g}"))
        QVBoxLayout(dialog).addWidget(table)
        dialog.resize(320, 480)
        dialog.show()
        return dialog
