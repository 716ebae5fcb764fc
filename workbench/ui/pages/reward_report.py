"""The report card of a reward: the verdict first, the evidence under it, what to do beside it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QFileDialog,
    QFrame,
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
from workbench.events import Event, Finished
from workbench.jobs.runner import Job
from workbench.ui.asking import Asking
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.report_evidence import Line, ReportEvidence, lines_of, titled
from workbench.ui.pages.report_progress import ReportProgress
from workbench.ui.pages.reward_tab import RewardTab
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Verdict, is_open
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import moment
from workbench.ui.widgets import EmptyState, button, label

_EMPTY, _CHARTS, _TABLES = range(3)
_SAID = 4  # reasons that the banner gives; all of them stand below


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
        self.evidence = ReportEvidence(self.ws, self.context)
        self.evidence.worst.sent_back.connect(self._on_sent_back)
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
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(_scrolled(self.evidence))
        self.stack.addWidget(titled(self.tr("All figures"), self.tables))
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
            self.evidence.show_card(self.card, run)
            self.tables.set_rows(lines_of(self.card))
            self.facts.setText(self._facts(self.card))
            self.facts.setToolTip("\n".join(self.card.notes))
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

    def _facts(self, card: ReportCard) -> str:
        made = self.tr("Made {time} of {n} labels.").format(
            time=moment(card.created_at), n=card.n_labels
        )
        return " ".join([card.pairs, *card.notes, made])

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


def _scrolled(inner: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setProperty("plain", True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setWidget(inner)
    return area
