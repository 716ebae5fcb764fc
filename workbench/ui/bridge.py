"""From the worker thread to the window: a timer empties the jobs' queues, signals tell the rest.

Numbers go through a deque that is polled, because a signal per number would saturate the event
loop as soon as its slot draws something.
"""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from workbench.events import Finished, Started
from workbench.jobs.runner import Job, JobRunner

INTERVAL_MS = 33


class JobBridge(QObject):
    """The only consumer of the jobs' events in the window."""

    started = Signal(object)  # Job
    happened = Signal(object, object)  # Job, Event
    finished = Signal(object, object)  # Job, Finished
    experiment_changed = Signal()
    waiting_changed = Signal(int)  # jobs behind the running one

    def __init__(self, runner: JobRunner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._runner = runner
        self._jobs: list[Job] = []
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.poll)

    @property
    def jobs(self) -> list[Job]:
        """Jobs that have not finished yet, the running one first."""
        return list(self._jobs)

    def watch(self, job: Job) -> Job:
        """Follow a job until it has finished."""
        if job not in self._jobs:
            self._jobs.append(job)
            self._timer.start()
            self._tell_waiting()
        return job

    def poll(self) -> None:
        """Hand on what has happened since the last time."""
        for job in list(self._jobs):
            for event in job.drain():
                if isinstance(event, Started):
                    self.started.emit(job)
                    self._tell_waiting()
                self.happened.emit(job, event)
                if isinstance(event, Finished):
                    self._jobs.remove(job)
                    self._tell_waiting()
                    self.finished.emit(job, event)
                    self.experiment_changed.emit()
        if not self._jobs:
            self._timer.stop()

    def _tell_waiting(self) -> None:
        """All but the first wait: the runner does one after the other."""
        self.waiting_changed.emit(max(0, len(self._jobs) - 1))

    def stop(self) -> None:
        """Follow nothing any more: the window closes."""
        self._timer.stop()
        self._jobs.clear()
