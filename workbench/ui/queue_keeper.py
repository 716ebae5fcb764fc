"""Keeps the ranking queue as it was asked for: in order, and filled."""

from __future__ import annotations

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QWidget

from workbench.app import filling, queueing
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.queue_dialog import QueueDialog


class QueueKeeper(QObject):
    """Looks whenever the experiment changed: enough new labels, too few pairs?

    Calls app.queueing and app.filling; all work is done by jobs, small ones, so that other jobs
    get their turn. A job that was stopped by hand, or made nothing, ends the filling.
    """

    def __init__(self, ws: Workspace, context: UiContext, window: QWidget) -> None:
        super().__init__(window)
        self._ws, self._context, self._window = ws, context, window
        if not ws.is_read_only:
            context.bridge.finished.connect(self._take)
            context.bridge.experiment_changed.connect(self.look)

    def ask(self) -> None:
        """Show the dialog, and do what it says."""
        dialog = QueueDialog(
            self._window,
            queueing.saved(self._ws),
            filling.saved(self._ws),
            is_filling=filling.is_on(self._ws),
            n_pending=self._ws.experiment.comparisons.counts(self._ws.annotator).pending,
        )
        dialog.accepted.connect(lambda: self._start(dialog))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def look(self) -> None:
        """Order again when it is due; generate when it is wanted and nobody else computes."""
        try:
            if queueing.is_due(self._ws):
                self._watch(queueing.order(self._ws, queueing.saved(self._ws), self._shown))
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)
        if filling.is_on(self._ws):
            self._fill()

    def _start(self, dialog: QueueDialog) -> None:
        filling.switch(self._ws, dialog.is_filling, dialog.fill_settings())
        try:
            self._watch(queueing.order(self._ws, dialog.settings(), self._shown))
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)

    def _fill(self) -> None:
        try:
            job = filling.keep_filled(self._ws, filling.saved(self._ws))
        except WorkbenchError as error:
            self._end_filling(error.message, error.hint)
            return
        if job is not None:
            self._watch(job)

    def _take(self, job: Job, finished: Finished) -> None:
        if job.kind == filling.KIND and filling.is_on(self._ws):
            if finished.outcome in ("stopped", "cancelled"):
                self._end_filling(self.tr("The queue is not kept filled any more."), "")
            elif finished.outcome == "done" and not filling.has_made_pairs(job):
                self._end_filling(
                    self.tr("No new pair could be made, so the queue is not kept filled any more."),
                    self.tr("Add prompts, or let the answers differ more."),
                )
            elif finished.outcome == "failed":
                filling.switch(self._ws, False)

    def _end_filling(self, text: str, hint: str) -> None:
        filling.switch(self._ws, False)
        self._context.notify("warn", text, hint)

    def _watch(self, job: Job) -> None:
        self._context.bridge.watch(job)

    def _shown(self) -> int | None:
        """Asked by the worker: only reads."""
        item = self._context.rank_panel().item
        return None if item is None else item.comparison.id
