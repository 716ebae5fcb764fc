"""The evidence of a report card: a card for each kind of it, in as many columns as fit."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from workbench.app import report_card
from workbench.app.report_card import ReportCard
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.evaluation.report_records import Baseline, Reason, Slice
from workbench.ui.pages.best_of_n_card import BestOfNCard
from workbench.ui.pages.findings_list import FindingsList
from workbench.ui.pages.interval_plot import IntervalPlot, Share
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.report_charts import (
    Bar,
    BarsChart,
    CalibrationChart,
    LearningChart,
    error_words,
)
from workbench.ui.pages.worst_pairs_card import WorstPairsCard
from workbench.ui.widgets import Card

_WIDE = 800


class Line(NamedTuple):
    """A figure in words, for the view without charts."""

    part: str
    name: str
    value: str


class ReportEvidence(QWidget):
    """Accuracy, calibration, learning curve, baselines, worst pairs, reasons, habits, best of n."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__()
        self._build(ws, context)
        self._lay_out()

    def _build(self, ws: Workspace, context: UiContext) -> None:
        theme = context.theme
        self.slices = IntervalPlot(theme, self.tr("Pairs right, % (dashed: chance)"))
        self.calibration = CalibrationChart(
            theme, self.tr("Calibration"), self.tr("Shown once pairs were scored.")
        )
        self.learning = LearningChart(
            theme, self.tr("Learning curve"), self.tr("Too few training pairs for a curve.")
        )
        self.bars = BarsChart(theme, self.tr("Against baselines"))
        self.worst = WorstPairsCard(ws, context)
        self.reasons = FindingsList(theme, self.tr("Why"))
        self.robustness = FindingsList(theme, self.tr("Edits and habits"))
        self.best_of_n = BestOfNCard(ws, context)

    def _lay_out(self) -> None:
        self.slices_card = titled(self.tr("Accuracy"), self.slices)
        self.calibration_card = titled(self.tr("Calibration"), self.calibration)
        self.learning_card = titled(self.tr("Learning curve of a light probe"), self.learning)
        self.bars_card = titled(self.tr("Against baselines"), self.bars)
        self.reasons_card = titled(self.tr("Why"), self.reasons)
        self.robustness_card = titled(self.tr("Edits and habits"), self.robustness)
        self.grid = QGridLayout(self)
        self.grid.setContentsMargins(0, 0, 10, 0)
        self.grid.setSpacing(12)
        self._arrange(is_wide=True)

    def _arrange(self, *, is_wide: bool) -> None:
        """Three columns as far as there is room, else two."""
        self._is_wide = is_wide
        cards = (
            (self.slices_card, (0, 0, 1, 4), (0, 0, 1, 2)),
            (self.calibration_card, (0, 4, 1, 3), (1, 0, 1, 1)),
            (self.learning_card, (0, 7, 1, 3), (1, 1, 1, 1)),
            (self.bars_card, (1, 0, 1, 4), (2, 0, 1, 2)),
            (self.worst, (1, 4, 1, 6), (3, 0, 1, 2)),
            (self.reasons_card, (2, 0, 1, 4), (4, 0, 1, 2)),
            (self.robustness_card, (2, 4, 1, 3), (5, 0, 1, 1)),
            (self.best_of_n, (2, 7, 1, 3), (5, 1, 1, 1)),
        )
        for card, wide, narrow in cards:
            self.grid.addWidget(card, *(wide if is_wide else narrow))
        for column in range(10):
            self.grid.setColumnStretch(column, int(is_wide or column < 2))
        for row in range(6):
            self.grid.setRowMinimumHeight(row, 250 if row < (3 if is_wide else 6) else 0)
            self.grid.setRowStretch(row, int(row < 3 or not is_wide))

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        is_wide = event.size().width() >= _WIDE
        if is_wide != self._is_wide:
            self._arrange(is_wide=is_wide)

    def show_card(self, card: ReportCard, run: Run) -> None:
        """Show the evidence of another report."""
        m = card.measured
        self.slices.set_shares([self._share(part) for part in m.slices])
        self.slices_card.set_fact(self.tr("n = {n} pairs").format(n=m.n_pairs))
        self.calibration.show_calibration(m.calibration)
        self.calibration_card.set_fact(error_words(m.calibration))
        self.learning.show_curve(m.curve, m.accuracy, m.again)
        self.learning_card.set_fact(self._outlook(card))
        self.bars.set_bars(self._bars(card))
        self.bars_card.set_fact(self.tr("same {n} pairs").format(n=m.n_pairs))
        self.worst.show_pairs(m)
        self.reasons.set_rows([(r.state, _whole(r)) for r in card.verdict.reasons])
        told = ("Edits and unfamiliar answers", "Length and agreement")
        lines = sorted(
            (line for line in lines_of(card) if line.part in told), key=lambda line: line.part
        )
        self.robustness.set_rows([("info", f"{line.name}: {line.value}") for line in lines])
        self.best_of_n.show_run(run)

    def _share(self, part: Slice) -> Share:
        words = {
            "All pairs": self.tr("All pairs"),
            "length-matched": self.tr("Length-matched"),
            "longer chosen": self.tr("Longer chosen"),
            "shorter chosen": self.tr("Shorter chosen"),
            "slightly better": self.tr("Slightly better"),
            "clearly better": self.tr("Clearly better"),
        }
        is_own = part.kind in ("group", "tag")
        name = part.name if is_own else words.get(part.name, part.name)
        a = part.accuracy
        return Share(name, a.value, a.low, a.high, a.n)

    def _bars(self, card: ReportCard) -> list[Bar]:
        m = card.measured
        words = {
            "Random": self.tr("Random"),
            "Longer answer wins": self.tr("Longer answer wins"),
            "Shorter answer wins": self.tr("Shorter answer wins"),
            "More repetition wins": self.tr("More repetition wins"),
            "Less repetition wins": self.tr("Less repetition wins"),
            "First answer wins": self.tr("First answer wins"),
            "Second answer wins": self.tr("Second answer wins"),
            "More likely answer wins": self.tr("Base log-prob"),
            "Light probe on the base": self.tr("Light probe"),
        }

        def bar(one: Baseline) -> Bar:
            look = "chance" if one.key == "random" else "baseline"
            return Bar(words.get(one.name, one.name), one.accuracy, look)

        bars = [bar(one) for one in m.baselines]
        if m.accuracy is not None:
            bars.append(Bar(card.run_name, m.accuracy, "own"))
        if m.again is not None:
            bars.append(Bar(self.tr("You, repeated"), m.again, "person"))
        return bars

    def _outlook(self, card: ReportCard) -> str:
        curve = card.measured.curve
        if curve is None:
            return ""
        if curve.gain.low > 0:
            return self.tr("still rising")
        return self.tr("level") if curve.gain.high < 0.02 else self.tr("may be rising")


def lines_of(card: ReportCard) -> list[Line]:
    """All figures of a report, in words."""
    return [
        Line(part, name, value)
        for part, rows in report_card.text.sections(card)
        for name, value in rows
    ]


def _whole(reason: Reason) -> str:
    return f"{reason.sentence} {reason.advice}".strip()


def titled(title: str, *parts: QWidget) -> Card:
    """A card with these parts."""
    card = Card(title)
    for part in parts:
        card.body.addWidget(part, 1)
    return card
