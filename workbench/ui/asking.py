"""A question that takes a moment, asked beside the worker and answered by a signal."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from PySide6.QtCore import QObject, Signal

from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.events import Event
from workbench.jobs.runner import Job, Working
from workbench.ui.timers import every

_POLL_MS = 40


class Asking(QObject):
    """One question at a time: a newer one takes the place of the older.

    Signals:
        answered: What the question returned.
        failed: The sentence of what went wrong.
    """

    answered = Signal(object)
    failed = Signal(str)

    def __init__(self, ws: Workspace, parent: QObject) -> None:
        super().__init__(parent)
        self._ws = ws
        self._job: Job | None = None
        self._polling = every(self, self._poll, _POLL_MS)

    @property
    def is_waiting(self) -> bool:
        """Whether the answer is still to come."""
        return self._job is not None

    def ask(self, question: Callable[[], object]) -> None:
        """Call `question` in the readers' thread; not any more once the experiment closes."""
        self.forget()
        if self._ws.readers.is_closed:
            return

        def work(_cancel: CancelToken) -> Working:
            yield from _no_events()
            return {"answer": question()}

        self._job = self._ws.readers.submit("Read", "read", work)
        self._polling.start()

    def forget(self) -> None:
        """Do not wait for an answer any more."""
        self._polling.stop()
        if self._job is not None:
            self._ws.readers.cancel(self._job)
        self._job = None

    def _poll(self) -> None:
        job = self._job
        if job is None or job.finished is None:
            return
        self._polling.stop()
        self._job = None
        error = job.finished.error
        if job.finished.outcome == "done":
            self.answered.emit(job.finished.result.get("answer"))
        elif error is not None:
            self.failed.emit(f"{error.message} {error.hint}".strip())


def _no_events() -> Iterator[Event]:
    return iter(())
