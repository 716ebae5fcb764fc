"""Measures probes again while a person ranks, and says in the rank dock how good they are."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QObject

from workbench.app import probes
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.asking import Asking
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.wording import percent_interval
from workbench.ui.rank_dock import RankDock
from workbench.ui.timers import single_shot

_AFTER_MS = 1500


class ProbeKeeper(QObject):
    """Waits until no label has come for a moment. Calls app.probes.

    Fitting runs beside the worker, so that it goes on while a policy trains; only answers that the
    model has not read yet need the worker, and are read when nobody else wants it. Labels that
    were there when the window opened are left alone until others come.
    """

    def __init__(self, ws: Workspace, context: UiContext, dock: RankDock) -> None:
        super().__init__(dock)
        self._ws, self._context, self._dock = ws, context, dock
        self._n_done = probes.n_said(ws)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._take)
        # What fails now would fail again until other labels come.
        self._asking.failed.connect(self._rest)
        self._soon = single_shot(self, self._measure, _AFTER_MS)
        context.bridge.experiment_changed.connect(self.look)
        self._tell()

    def look(self) -> None:
        """Measure in a moment when labels have come."""
        self._tell()
        if self._has_new_labels() and not self._asking.is_waiting:
            self._soon.start()

    def _has_new_labels(self) -> bool:
        return probes.n_said(self._ws) != self._n_done and probes.is_due(self._ws)

    def _measure(self) -> None:
        if self._has_new_labels():
            self._asking.ask(partial(probes.measure, self._ws, probes.saved(self._ws)))

    def _take(self, found: object) -> None:
        if isinstance(found, probes.Report):
            self._n_done = found.n_said
            self._context.bridge.experiment_changed.emit()
        elif not self._ws.runner.jobs:
            # Asked for once: whatever comes of it, other labels are waited for when it fails.
            try:
                job = self._context.bridge.watch(probes.read_answers(self._ws))
            except WorkbenchError:
                self._rest()
            else:
                self._job = job
                self._context.bridge.finished.connect(self._ended)

    def _ended(self, job: object) -> None:
        if job is not self._job:
            return
        self._context.bridge.finished.disconnect(self._ended)
        if self._job.outcome != "done":
            self._rest()

    def _rest(self) -> None:
        self._n_done = probes.n_said(self._ws)

    def _tell(self) -> None:
        found = probes.report(self._ws) if probes.is_on(self._ws) else None
        if found is None or not found.rows:
            self._dock.tell("")
            return
        best = found.rows[0].accuracy
        share = percent_interval(best.value, best.low, best.high)
        self._dock.tell(
            self.tr("Probe {share}").format(share=share),
            self.tr(
                "A small model on the base's states says which answer you prefer in {share} of "
                "pairs it has not seen; it has learned from {n} labels."
            ).format(share=share, n=found.n_labels),
        )
