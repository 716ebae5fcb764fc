"""What jobs tell, brought to where it is looked for: job bar, navigation, notice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from workbench.events import Event, Finished, Started, Step, Warned
from workbench.jobs.runner import Job
from workbench.ui.bridge import JobBridge
from workbench.ui.crash import copy_report
from workbench.ui.progress import PAGE_OF_KIND
from workbench.ui.widgets.job_bar import JobBar
from workbench.ui.widgets.navigation import Navigation
from workbench.ui.widgets.notice import Notice


class JobNews(QObject):
    """Follows every job of the window."""

    def __init__(
        self,
        bridge: JobBridge,
        job_bar: JobBar,
        navigation: Navigation,
        notice: Notice,
        experiment: Path,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._bridge, self._job_bar = bridge, job_bar
        self._navigation, self._notice = navigation, notice
        self._experiment = experiment
        bridge.started.connect(job_bar.start)
        bridge.waiting_changed.connect(job_bar.set_waiting)
        bridge.happened.connect(self._take)
        bridge.finished.connect(self._end)

    def _take(self, job: Job, event: Event) -> None:
        self._job_bar.take(job, event)
        key = PAGE_OF_KIND.get(job.kind)
        if key and isinstance(event, Started | Step) and event.total:
            done = event.step if isinstance(event, Step) else 0
            self._navigation.set_count(key, f"{done}/{event.total}", "running")
        elif key is None and isinstance(event, Warned):
            self._notice.tell("warn", event.message, event.hint)

    def _end(self, job: Job, finished: Finished) -> None:
        # A run tells its end on its own page.
        if finished.error is not None and job.kind not in PAGE_OF_KIND:
            action, do = "", None
            if finished.error.traceback:
                action = self.tr("Copy report")
                do = partial(copy_report, self._experiment, finished.error.traceback)
            self._tell(finished.error.message, finished.error.hint, action, do)
        if self._bridge.jobs and self._job_bar.job is job:
            QTimer.singleShot(0, self, self._follow_next)

    def _tell(self, text: str, hint: str, action: str, do: Callable[[], object] | None) -> None:
        self._notice.tell("bad", text, hint, action, do)

    def _follow_next(self) -> None:
        if self._bridge.jobs and (self._job_bar.job is None or self._job_bar.job.outcome):
            self._job_bar.start(self._bridge.jobs[0])
