"""The values behind the designer's table: measured in the worker, part by part, when it is free."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QObject, Signal

from workbench.app import designs
from workbench.app.design_columns import Columns
from workbench.app.design_draft import Values, part_of
from workbench.app.workspace import Workspace
from workbench.config.reward_parts.design import MOST_PARTS, RewardDesign
from workbench.errors import WorkbenchError
from workbench.events import Event, Finished, Started
from workbench.jobs.runner import Job
from workbench.ui.pages.page import UiContext
from workbench.ui.widgets.basics import Status

_SLOW = frozenset({"judge", "file"})
"""What is never asked without the user's word: it may cost money, or is a program of theirs."""


class Measuring(QObject):
    """One measurement at a time; calls app.designs.

    Signals:
        changed: There are other columns, or other answers.
        told: A sentence about what goes on or went wrong, and its kind; empty when all is well.
    """

    changed = Signal()
    told = Signal(str, str)

    def __init__(self, ws: Workspace, context: UiContext, parent: QObject) -> None:
        super().__init__(parent)
        self._ws, self._context = ws, context
        self._job: Job | None = None
        self._asked: list[Values] = []
        self._failed: list[Values] = []
        self.columns = Columns()
        context.bridge.happened.connect(self._on_event)
        context.bridge.finished.connect(self._on_finished)

    @property
    def is_busy(self) -> bool:
        """Whether a measurement runs or waits."""
        return self._job is not None

    def measure(self, parts: Sequence[Values], n: int) -> None:
        """Measure parts on the newest answers, all anew.

        Args:
            parts: Settings of the parts; those that are wrong are passed over.
            n: How many answers at most.
        """
        self._submit(parts, None, n)

    def add(self, parts: Sequence[Values], *, is_asked: bool = False) -> None:
        """Measure what is missing of some parts on the answers that are there.

        By itself this happens only while the worker is free and the model is loaded, and never
        for parts that ask a judge or run a program, nor again for those that it just failed on;
        `is_asked` means that the user wants it.
        """
        missing = [p for p in parts if not self.columns.is_measured(p) and part_of(p) is not None]
        if not is_asked:
            is_free = self._ws.is_model_loaded and not self._ws.runner.jobs
            missing = [p for p in missing if is_free and not _is_slow(p)]
            missing = [] if missing == self._failed else missing
        if missing and self.columns.rows:
            self._submit(missing, self.columns.ids, len(self.columns.rows))

    def cancel(self) -> None:
        """Measure no further."""
        if self._job is not None:
            self._ws.runner.cancel(self._job)

    def _submit(self, parts: Sequence[Values], ids: list[int] | None, n: int) -> None:
        if self._job is not None:
            return
        found = [part for values in parts if (part := part_of(values)) is not None]
        # Whatever they weigh: a weight of 0 is measured too.
        weighed = [part.model_copy(update={"weight": 1.0}) for part in found][:MOST_PARTS]
        try:
            design = RewardDesign.model_validate({"name": "answers", "parts": weighed})
            job = designs.measure(self._ws, design, ids, n=n)
        except WorkbenchError as error:
            self.told.emit(f"{error.message} {error.hint}".strip(), "bad")
            return
        self._job, self._asked = job, list(parts)
        busy = next((j for j in self._ws.runner.jobs if j is not job), None)
        waits = self.tr("The answers are measured when {job} has ended: one job runs at a time.")
        kind: Status = "info"
        self.told.emit(waits.format(job=busy.title) if busy else "", kind)
        self._context.bridge.watch(job)
        self.changed.emit()

    def _on_event(self, job: Job, event: Event) -> None:
        if job is self._job and isinstance(event, Started):
            self.told.emit("", "info")

    def _on_finished(self, job: Job, finished: Finished) -> None:
        if job is not self._job:
            return
        self._job = None
        error = finished.error
        self.told.emit(f"{error.message} {error.hint}".strip() if error else "", "bad")
        self._failed = [] if finished.outcome == "done" else self._asked
        if finished.outcome == "done":
            self.columns.take(designs.measured(self._ws, job))
        self.changed.emit()


def _is_slow(values: Values) -> bool:
    part = part_of(values)
    return part is not None and bool(part.about.needs & _SLOW)
