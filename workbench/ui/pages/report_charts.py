"""The charts of a report card: calibration, learning curve, bars against baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QBrush, QFont, QFontMetricsF, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QSizePolicy, QWidget

from workbench.evaluation.report_records import Calibration, Figure, LearningCurve
from workbench.ui.pages.still_chart import Axis, StillChart
from workbench.ui.pages.wording import interval_sentence, number, percent
from workbench.ui.theme import Theme

_STEP = 0.1


class CalibrationChart(StillChart):
    """How sure the reward is of its picks against how many of them are right."""

    def __init__(self, theme: Theme, name: str, empty: str) -> None:
        super().__init__(theme, name, empty)
        self._found: Calibration | None = None
        ticks = ((0.5, "0.5"), (0.75, "0.75"), (1.0, "1"))
        self.x_axis = Axis(0.5, 1.0, ticks, self.tr("Predicted probability"))

    def show_calibration(self, found: Calibration | None) -> None:
        """Draw another curve."""
        self._found = found
        bins = found.bins if found else ()
        # Down to where the intervals end, but not farther than to none right.
        low = min([0.5, *(part.right.low for part in bins)])
        low = 0.0 if low < 0.25 else 0.25 if low < 0.5 else 0.5
        places = [0.0, 0.25, 0.5, 0.75, 1.0]
        ticks = tuple((p, f"{p:g}") for p in places if p >= low)
        self.y_axis = Axis(low, 1.0, ticks, self.tr("Share right"))
        self.tell(
            [
                self.tr("sure to {sure}: {right} right, {interval}, n = {n}").format(
                    sure=percent(part.predicted),
                    right=percent(part.right.value),
                    interval=interval_sentence(part.right.low, part.right.high),
                    n=part.right.n,
                )
                for part in bins
            ],
            is_empty=not bins,
        )

    def draw(self, painter: QPainter) -> None:
        """The line of a perfect reward, then the bins with their intervals."""
        painter.setPen(QPen(self.ink("reference"), 1.5, Qt.PenStyle.DashLine))
        painter.drawLine(self.at(0.5, 0.5), self.at(1.0, 1.0))
        middle = self.at(0.8, 0.8)
        metrics = QFontMetricsF(painter.font())
        words = self.tr("perfect")
        place = middle + QPointF(-metrics.horizontalAdvance(words) - 12, -8)
        self.word(painter, place, words, "muted")
        bins = self._found.bins if self._found else ()
        for part in bins:
            self.whisker(painter, part.predicted, part.right.low, part.right.high, "series-1")
        self.curve(painter, [(part.predicted, part.right.value) for part in bins], "series-1")


class LearningChart(StillChart):
    """Accuracy of the light probe after more and more labels, and what the person repeats."""

    def __init__(self, theme: Theme, name: str, empty: str) -> None:
        super().__init__(theme, name, empty)
        self._found: LearningCurve | None = None
        self._again: Figure | None = None
        self._reward: Figure | None = None

    def show_curve(
        self, found: LearningCurve | None, reward: Figure | None, again: Figure | None
    ) -> None:
        """Draw another curve.

        Args:
            found: The curve; None where there were too few labels.
            reward: Accuracy of the reward itself, at the curve's end.
            again: How often the person says the same again.
        """
        self._found, self._reward, self._again = found, reward, again
        points = found.points if found else ()
        ends = [end for p in points for end in (p.accuracy.low, p.accuracy.high)]
        ends += [figure.value for figure in (reward, again) if figure]
        low = max(0.0, int(min(ends, default=0.4) / _STEP) * _STEP)
        high = min(1.0, (int(max(ends, default=0.9) / _STEP) + 1) * _STEP)
        step = 0.1 if high - low <= 0.45 else 0.2
        n = round((high - low) / step)
        marks = [low + step * i for i in range(n + 1) if low + step * i <= high + 1e-9]
        ticks = tuple((y, f"{100 * y:.0f}") for y in marks)
        self.y_axis = Axis(low, high, ticks, self.tr("Accuracy, %"))
        most = points[-1].n if points else 1
        places = [(0.0, "0"), *((float(p.n), str(p.n)) for p in points if p.n >= most / 5)]
        self.x_axis = Axis(0.0, float(most) * 1.06, tuple(places), self.tr("Judgements used"))
        told = [
            self.tr("{n} judgements: {share}, {interval}").format(
                n=p.n,
                share=percent(p.accuracy.value),
                interval=interval_sentence(p.accuracy.low, p.accuracy.high),
            )
            for p in points
        ]
        if again:
            told.append(
                self.tr("you repeat yourself in {share}").format(share=percent(again.value))
            )
        self.tell(told, is_empty=not points)

    def draw(self, painter: QPainter) -> None:
        """Band, curve, the reward's own accuracy, and the person's agreement with themselves."""
        points = self._found.points if self._found else ()
        self.band(painter, [(p.n, p.accuracy.low, p.accuracy.high) for p in points], "series-1")
        self.curve(painter, [(p.n, p.accuracy.value) for p in points], "series-1")
        if self._reward is not None:
            place = self.at(points[-1].n, self._reward.value)
            painter.setPen(QPen(self.ink("surface"), 1.5))
            painter.setBrush(self.ink("series-2"))
            painter.drawRect(QRectF(place.x() - 5, place.y() - 5, 10, 10))
            words = self.tr("this reward")
            wide = QFontMetricsF(painter.font()).horizontalAdvance(words)
            self.word(painter, place + QPointF(-wide - 10, -6), words, "text-2")
        if self._again is not None:
            painter.setPen(QPen(self.ink("reference"), 1.5, Qt.PenStyle.DashLine))
            left = self.at(0.0, self._again.value)
            painter.drawLine(left, self.at(self.x_axis.high, self._again.value))
            words = self.tr("your agreement with yourself {share}")
            said = words.format(share=percent(self._again.value))
            self.word(painter, left + QPointF(6, -5), said, "muted")


@dataclass(frozen=True, slots=True)
class Bar:
    """A share with its interval; `look` says how it is filled."""

    label: str
    figure: Figure
    look: str = "baseline"  # chance, baseline, own or person


class BarsChart(QWidget):
    """Shares as bars from 0, with whiskers, and a dashed line at chance."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self._bars: tuple[Bar, ...] = ()
        self.setAccessibleName(name)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        theme.changed.connect(self.update)

    def set_bars(self, bars: Sequence[Bar]) -> None:
        """Show other bars."""
        self._bars = tuple(bars)
        told = [
            f"{bar.label}: {percent(bar.figure.value)}, "
            f"{interval_sentence(bar.figure.low, bar.figure.high)}, n = {bar.figure.n}"
            for bar in self._bars
        ]
        self.setAccessibleDescription("; ".join(told))
        self.setToolTip("\n".join(told))
        self.updateGeometry()
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        return QSize(340, 16 + 34 * max(3, len(self._bars)))

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return QSize(240, 12 + 26 * max(3, len(self._bars)))

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        font = QFont(self.font())
        font.setPointSizeF(font.pointSizeF() * 0.92)
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        names = max((metrics.horizontalAdvance(bar.label) for bar in self._bars), default=0.0)
        names = min(names * 1.08, self.width() * 0.5)
        room = metrics.horizontalAdvance("100 %") + 12
        plot = QRectF(names + 12, 2, self.width() - names - 12 - room, self.height() - 4)
        step = plot.height() / max(1, len(self._bars))
        for i, bar in enumerate(self._bars):
            self._paint_bar(painter, plot, bar, plot.top() + (i + 0.5) * step, min(18.0, step / 2))
        painter.setPen(QPen(self._theme.color("reference"), 1.5, Qt.PenStyle.DashLine))
        x = plot.left() + plot.width() / 2
        painter.drawLine(QPointF(x, plot.top()), QPointF(x, plot.bottom()))
        painter.end()

    def _paint_bar(self, painter: QPainter, plot: QRectF, bar: Bar, y: float, thick: float) -> None:
        colour = self._theme.color
        font = QFont(painter.font())
        font.setWeight(QFont.Weight.DemiBold if bar.look == "own" else QFont.Weight.Normal)
        painter.save()
        painter.setFont(font)
        metrics = QFontMetricsF(font)
        painter.setPen(colour("text" if bar.look == "own" else "text-2"))
        words = metrics.elidedText(bar.label, Qt.TextElideMode.ElideRight, plot.left() - 8)
        box = QRectF(0, y - metrics.height() / 2, plot.left() - 8, metrics.height())
        painter.drawText(box, int(Qt.AlignmentFlag.AlignLeft), words)
        area = QRectF(plot.left(), y - thick / 2, plot.width() * bar.figure.value, thick)
        tokens = {"own": "series-1", "person": "series-3"}
        ink = colour(tokens.get(bar.look, "reference"))
        painter.fillRect(area, ink)
        if bar.look == "baseline":
            painter.fillRect(area, QBrush(colour("surface"), Qt.BrushStyle.BDiagPattern))
        low, high = (plot.left() + plot.width() * end for end in (bar.figure.low, bar.figure.high))
        if high > low:
            painter.setPen(QPen(colour("text"), 1.5))
            painter.drawLine(QPointF(low, y), QPointF(high, y))
            for end in (low, high):
                painter.drawLine(QPointF(end, y - 5), QPointF(end, y + 5))
        painter.setPen(colour("text"))
        x = max(high, area.right()) + 8
        painter.drawText(
            QRectF(x, y - metrics.height() / 2, self.width() - x, metrics.height()),
            int(Qt.AlignmentFlag.AlignLeft),
            percent(bar.figure.value),
        )
        painter.restore()


def error_words(found: Calibration | None) -> str:
    """The calibration error as the card's head shows it."""
    if found is None:
        return ""
    value, low, high = (number(x) for x in (found.error.value, found.error.low, found.error.high))
    return f"ECE {value} [{low}, {high}]"
