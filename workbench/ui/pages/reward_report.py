"""The report card of a reward: the verdict first, the evidence under it, what to do beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import report_card
from workbench.app.report_card import NextStep, ReportCard
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.evaluation.report_records import Baseline, Reason, Slice
from workbench.events import Event, Finished
from workbench.jobs.runner import Job
from workbench.ui.asking import Asking
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
from workbench.ui.pages.report_progress import ReportProgress
from workbench.ui.pages.reward_tab import RewardTab
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Verdict, is_open
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import moment
from workbench.ui.pages.worst_pairs_card import WorstPairsCard
from workbench.ui.widgets import Card, EmptyState, button, label

_EMPTY, _CHARTS, _TABLES = range(3)
_SAID = 4  # reasons that the banner gives; all of them stand below
_WIDE = 1000


class Line(NamedTuple):
    """A figure in words, for the view without charts."""

    part: str
    name: str
    value: str


class ReportTab(RewardTab):
    """Calls app.report_card; reading labels goes on in the readers' thread."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.card: ReportCard | None = None
        self._run: Run | None = None
        self._job: Job | None = None
        self._asked: tuple[int, str, int] | None = None
        self._step = NextStep("none")
        self._problem: Verdict | None = None
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show_outlook)
        self._build()
        self._lay_out()
        context.bridge.happened.connect(self._take)
        context.bridge.finished.connect(self._on_finished)

    def title(self) -> str:
        """On the tab."""
        return self.tr("Report card")

    def _build(self) -> None:
        theme = self.context.theme
        self.banner = VerdictBanner()
        self.banner.clicked.connect(self._do_next)
        self.progress = ReportProgress(self.tr("Progress of the report"))
        self.progress.cancelled.connect(self.cancel)
        self.stale = label("", "text-2", wrap=True)
        self.facts = label("", "muted", wrap=True)
        self.tables_button = button(self.tr("As tables"), "quiet", icon="table")
        self.tables_button.setCheckable(True)
        self.tables_button.toggled.connect(self._show_stack)
        self.copy_button = button(self.tr("Copy as text"), "quiet", icon="copy")
        self.copy_button.clicked.connect(self.copy)
        self.export_button = button(self.tr("Export report"), "quiet", icon="export")
        self.export_button.clicked.connect(self._ask_export)
        self.again_button = button(self.tr("Measure again"), "outlined", icon="redo")
        self.again_button.clicked.connect(self.measure)
        self.slices = IntervalPlot(theme, self.tr("Pairs right, % (dashed: chance)"))
        self.calibration = CalibrationChart(
            theme, self.tr("Calibration"), self.tr("Shown once pairs were scored.")
        )
        self.learning = LearningChart(
            theme, self.tr("Learning curve"), self.tr("Too few training pairs for a curve.")
        )
        self.bars = BarsChart(theme, self.tr("Against baselines"))
        self.worst = WorstPairsCard(self.ws, self.context)
        self.worst.sent_back.connect(self._on_sent_back)
        self.reasons = FindingsList(theme, self.tr("Why"))
        self.robustness: RowsView[Line] = RowsView(
            [
                Column(self.tr("What"), lambda line: line.name, "rank correlation, length"),
                Column(self.tr("Found"), lambda line: line.value),
            ],
            self.tr("Edits, unfamiliar answers, length, agreement"),
        )
        self.best_of_n = BestOfNCard(self.ws, self.context)
        self.tables: RowsView[Line] = RowsView(
            [
                Column(self.tr("Part"), lambda line: line.part, "Edits and unfamiliar answers"),
                Column(self.tr("Name"), lambda line: line.name),
                Column(self.tr("Value"), lambda line: line.value),
            ],
            self.tr("The report as a table"),
        )
        self.make_button = button(self.tr("Make the report card"), "outlined", icon="reward")
        self.make_button.clicked.connect(self.measure)
        self.empty = EmptyState("reward", "", "", self.make_button)

    def _lay_out(self) -> None:
        self.slices_card = _card(self.tr("Accuracy"), self.slices)
        self.calibration_card = _card(self.tr("Calibration"), self.calibration)
        self.learning_card = _card(self.tr("Learning curve of a light probe"), self.learning)
        self.bars_card = _card(self.tr("Against baselines"), self.bars)
        self.reasons_card = _card(self.tr("Why"), self.reasons)
        self.robustness_card = _card(self.tr("Edits and habits"), self.robustness)
        charts = QWidget()
        self.grid = QGridLayout(charts)
        self.grid.setContentsMargins(0, 0, 10, 0)
        self.grid.setSpacing(12)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(_scrolled(charts))
        self.stack.addWidget(_card(self.tr("All figures"), self.tables))
        self._arrange(is_wide=True)
        foot = QHBoxLayout()
        foot.setSpacing(8)
        foot.addWidget(self.facts, 1)
        for made in (self.tables_button, self.copy_button, self.export_button, self.again_button):
            foot.addWidget(made)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 12, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self.banner)
        layout.addWidget(self.stale)
        layout.addWidget(self.progress)
        layout.addWidget(self.stack, 1)
        layout.addLayout(foot)

    def _arrange(self, *, is_wide: bool) -> None:
        """Three columns as far as there is room, else two."""
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
        if is_wide != (event.oldSize().width() >= _WIDE):
            self._arrange(is_wide=is_wide)

    # Showing

    def show_run(self, run: Run | None) -> None:
        """Show the report on a reward, or the way to one."""
        if run is None or self._run is None or run.id != self._run.id:
            self._problem = None
            self._asked = None
            self.stale.setText("")
        self._run = run
        self._job = None if run is None else report_card.job_of(self.ws, run.id)
        self.card = None if run is None else report_card.read(self.ws, run.id)
        self._show_state()
        if self.card is not None and run is not None:
            self._show_card(self.card)
            self.best_of_n.show_run(run)
            self._ask(self.card)

    def has_report(self, run: Run | None) -> bool:
        """Whether there is a report to open the page on."""
        return run is not None and report_card.read(self.ws, run.id) is not None

    def _show_state(self) -> None:
        run, why = self._run, self._hindrance()
        title = self.tr("No report yet") if run else self.tr("No reward model yet")
        self.empty.set_texts(
            title,
            why
            or self.tr(
                "Held-out accuracy with its interval, calibration, baselines, worst pairs, and a "
                "plain verdict: not yet, usable with care, or good. It takes a minute or two."
            ),
        )
        self.make_button.setVisible(run is not None and self._job is None)
        for made in (self.make_button, self.again_button):
            made.setEnabled(not why and self._job is None)
            made.setToolTip(why or self.tr("Measure on pairs that were not trained on"))
        has_card = self.card is not None
        for made in (self.tables_button, self.copy_button, self.export_button, self.again_button):
            made.setVisible(has_card)
        self.facts.setVisible(has_card)
        self.stale.setVisible(has_card and bool(self.stale.text()))
        self.progress.setVisible(self._job is not None)
        self._show_stack()
        self._update_banner()

    def _show_stack(self) -> None:
        if self.card is None:
            self.stack.setCurrentIndex(_EMPTY)
        else:
            self.stack.setCurrentIndex(_TABLES if self.tables_button.isChecked() else _CHARTS)

    def _hindrance(self) -> str:
        if self.ws.is_read_only:
            return self.tr("Not while the experiment is open read-only.")
        if self._run is None:
            return self.tr("Train one on the tab Training. Its report card appears here.")
        if is_open(self._run):
            return self.tr("The training goes on. The report can be made when it has ended.")
        if self._run.status not in ("done", "stopped"):
            return self.tr("This run ended before it wrote a reward.")
        return ""

    def _show_card(self, card: ReportCard) -> None:
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
        lines = [
            Line(part, name, value)
            for part, rows in report_card.text.sections(card)
            for name, value in rows
        ]
        self.tables.set_rows(lines)
        told = ("Length and agreement", "Edits and unfamiliar answers")
        self.robustness.set_rows([line for line in lines if line.part in told])
        self.facts.setText(self._facts(card))
        self.facts.setToolTip("\n".join(card.notes))

    def _facts(self, card: ReportCard) -> str:
        made = self.tr("Made {time} of {n} labels.").format(
            time=moment(card.created_at), n=card.n_labels
        )
        return " ".join([card.pairs, *card.notes, made])

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

    # The banner, and what is next

    def _update_banner(self) -> None:
        if self._problem is not None:
            self.banner.tell(self._problem)
            return
        card = self.card
        if card is None:
            self.banner.tell(None)
            return
        said = [r for r in card.verdict.reasons if r.state in ("bad", "warn")] or [
            r for r in card.verdict.reasons if r.key != "accuracy"
        ]
        detail = " ".join(reason.sentence for reason in said[:_SAID])
        kind = card.verdict.state
        self.banner.tell(Verdict(kind, card.verdict.sentence, detail), self._action())

    def _action(self) -> str:
        n = len(self._step.ids)
        if self._step.kind == "generate":
            return self.tr("Generate answers")
        if self._step.kind != "queue" or self.ws.is_read_only:
            return ""
        if self._step.what == "pairs":
            return self.tr("Queue {n} pairs").format(n=n)
        return self.tr("Queue {n} of {what}").format(n=n, what=self._step.what)

    def _ask(self, card: ReportCard) -> None:
        """Whether labels have changed, and what is pending: not more often than these change."""
        key = (card.run_id, card.created_at, self.ws.experiment.database.n_changes)
        if key != self._asked:
            self._asked = key
            self._asking.ask(partial(_outlook_of, self.ws, card))

    def _show_outlook(self, found: object) -> None:
        assert isinstance(found, tuple)
        stale, self._step = found
        words = self.tr("{what} Measure again to see what it is worth now.")
        self.stale.setText(words.format(what=stale) if stale else "")
        self.stale.setVisible(self.card is not None and bool(stale))
        self._update_banner()

    def _do_next(self) -> None:
        if self._step.kind == "generate":
            self.context.show_page("answers")
            return
        try:
            n = report_card.queue_pairs(self.ws, self._step.ids)
        except WorkbenchError as error:
            self._tell_problem(error)
            return
        self.context.notify("ok", self.tr("{n} pairs come next in your queue.").format(n=n), "")
        self.context.rank_panel().refresh_queue()
        self.context.rank_panel().setFocus(Qt.FocusReason.OtherFocusReason)

    def _on_sent_back(self, _comparison: int) -> None:
        self.context.rank_panel().refresh_queue()
        self.context.bridge.experiment_changed.emit()

    # Measuring

    def measure(self) -> None:
        """Make the report on the shown reward, or say why it cannot be made."""
        if self._run is None or self._hindrance():
            return
        self._problem = None
        try:
            self._job = report_card.report(self.ws, self._run.id)
        except WorkbenchError as error:
            self._tell_problem(error)
            return
        self.progress.start(self._job)
        self.context.bridge.watch(self._job)
        self._show_state()

    def cancel(self) -> None:
        """End the measuring; an earlier report stays."""
        if self._job is not None:
            self.ws.runner.cancel(self._job)

    def _tell_problem(self, error: WorkbenchError) -> None:
        self._problem = Verdict("bad", error.message, error.hint)
        self._update_banner()

    def _take(self, job: Job, event: Event) -> None:
        if job is self._job:
            self.progress.take(event)

    def _on_finished(self, job: Job, finished: Finished) -> None:
        is_mine = self._run is not None and job.run_id == self._run.id
        if job.kind == report_card.KIND and is_mine:
            self._asked = None
            error = finished.error
            self._problem = Verdict("bad", error.message, error.hint) if error else None
        elif job.kind != "evaluation":
            return
        self.show_run(self._run)

    # Taking it away

    def copy(self) -> None:
        """Put the report on the clipboard as text."""
        if self.card is not None:
            said = "\n".join(report_card.text.lines(self.card, self.stale.text()))
            QGuiApplication.clipboard().setText(said)
            self.context.notify("ok", self.tr("The report is on the clipboard."), "")

    def _ask_export(self) -> None:
        folder = self.ws.path / "exports"
        start = folder / f"report-run-{self._run.id if self._run else 0:04}.json"
        name, _ = QFileDialog.getSaveFileName(
            self, self.tr("Export report"), str(start), "JSON (*.json);;Text (*.txt)"
        )
        if name:
            self.export(Path(name))

    def export(self, path: Path) -> None:
        """Write the report to a file: JSON, or text when its name ends so."""
        if self.card is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            report_card.export(self.card, path)
        except WorkbenchError as error:
            self._tell_problem(error)
            return
        self.context.notify("ok", self.tr("Wrote {path}.").format(path=path), "")


def _outlook_of(ws: Workspace, card: ReportCard) -> tuple[str, NextStep]:
    return report_card.staleness(ws, card), report_card.next_step(ws, card)


def _whole(reason: Reason) -> str:
    return f"{reason.sentence} {reason.advice}".strip()


def _scrolled(inner: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setProperty("plain", True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    return area


def _card(title: str, *parts: QWidget) -> Card:
    card = Card(title)
    for part in parts:
        card.body.addWidget(part, 1)
    return card
