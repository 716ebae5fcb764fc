"""What the pages of runs share: starting a job, following it, and showing an earlier run."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QLayout, QVBoxLayout, QWidget

from workbench.app import runs as app_runs
from workbench.app.workspace import Workspace
from workbench.data.records import Run, RunKind
from workbench.errors import WorkbenchError
from workbench.events import Event, Finished
from workbench.jobs.runner import Job
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.pages.settings_column import SettingsColumn


class RunPage(Page):
    """A page on which one kind of run is set up, watched and looked back at.

    A run that somebody else started (the tour, the job bar) is followed like its own: events
    come from the bridge, whoever submitted the job. Subclasses fill in `draw` and `take`.
    """

    run_kind: ClassVar[RunKind]

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.shown: int | None = None
        self._is_opening = True
        self.notice: Verdict | None = None
        self._live: dict[int, LiveRun] = {}
        self._settings: SettingsColumn | None = None
        context.bridge.started.connect(self._on_started)
        context.bridge.happened.connect(self._on_event)
        context.bridge.finished.connect(self._on_finished)

    @property
    def job_kind(self) -> str:
        """The kind of the jobs that make these runs."""
        return self.run_kind

    def add_settings(self, column: SettingsColumn) -> SettingsColumn:
        """Let the settings follow the window's width and the keys of their commands."""
        self._settings = column
        self.context.actions.show_key(column.button, "train.settings")
        on = self.context.actions.on
        on("train.settings", lambda: self._if_visible(column.toggle))
        on("train.next_problem", lambda: self._if_visible(column.go_to_first_problem))
        return column

    def _if_visible(self, do: Callable[[], None]) -> None:
        if self.isVisible():
            do()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        if self._settings is not None:
            self._settings.fit()

    def lay_out(self, header: QWidget, column: QWidget, content: QLayout) -> None:
        """Header on top, settings at the left, the rest of the room for the content."""
        body = QHBoxLayout()
        body.setSpacing(16)
        body.addWidget(column)
        body.addLayout(content, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(0)
        layout.addWidget(header)
        layout.addLayout(body, 1)

    def draw(self, run: Run | None) -> None:
        """Show a run, or the way to a new one."""
        raise NotImplementedError

    def take(self, event: Event, live: LiveRun) -> None:
        """Show one event of the shown run; `live` has it already."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Read the records again and show them; at first the newest run, if there is one."""
        job = self.job()
        if self.shown is None and job is not None:
            self.shown = job.run_id
        elif self.shown is None and self._is_opening:
            self.shown = next((run.id for run in self.runs()), None)
        self._is_opening = False
        self.draw(self.run())

    def show_run(self, run_id: int | None) -> None:
        """Show another run, or None for the way to a new one."""
        self.shown = run_id
        self._is_opening = False
        self.notice = None
        self.refresh()

    def runs(self) -> list[Run]:
        """Runs of this kind, the newest first."""
        return self.ws.experiment.runs.list(self.run_kind)[::-1]

    def run(self) -> Run | None:
        """The shown run."""
        return None if self.shown is None else self.ws.experiment.runs.get(self.shown)

    def job(self) -> Job | None:
        """The job of this kind that runs or waits."""
        jobs = self.ws.runner.jobs
        return next((j for j in jobs if j.kind == self.job_kind and not j.outcome), None)

    def busy_sentence(self) -> str:
        """Why no second run of this kind can start now; empty when one can."""
        job = self.job()
        if job is None:
            return ""
        return self.tr("{run} is still going on. Stop it before the next one starts.").format(
            run=job.title
        )

    def submit(self, start: Callable[[], Job]) -> None:
        """Start a job and show it, or say why it cannot start."""
        try:
            job = start()
        except WorkbenchError as error:
            self.notice = Verdict("bad", error.message, error.hint)
            self.draw(self.run())
            return
        self.notice = None
        self.shown = job.run_id
        self._live.pop(job.run_id or 0, None)
        self.context.bridge.watch(job)
        self.refresh()

    def record(self, run: Run) -> LiveRun:
        """Figures and samples of a run, read once; events of one that goes on are added."""
        live = self._live.get(run.id)
        if live is None:
            live = LiveRun(
                app_runs.metrics(self.ws, run.id),
                app_runs.samples(self.ws, run.id),
                app_runs.marks(self.ws, run.id),
            )
            self._live[run.id] = live
        return live

    def _on_started(self, job: Job) -> None:
        if job.kind == self.job_kind and job.run_id is not None:
            self.shown = job.run_id
            self.refresh()

    def _on_event(self, job: Job, event: Event) -> None:
        if job.kind != self.job_kind or job.run_id is None:
            return
        live = self._live.setdefault(job.run_id, LiveRun())
        live.take(event)
        if job.run_id == self.shown:
            self.take(event, live)

    def _on_finished(self, job: Job, _finished: Finished) -> None:
        if job.kind != self.job_kind:
            return
        # The record is whole now: the journal has written before anybody was told.
        self._live.pop(job.run_id or 0, None)
        if job.run_id == self.shown:
            self.refresh()
