"""The tour in the window: its jobs one after the other, each on its page."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping

from PySide6.QtCore import QObject, QTimer

from workbench.app.tour import TourFailed, steps
from workbench.config.tour import TourSettings
from workbench.errors import Cancelled, WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.main_window import MainWindow

_PAGES = {
    "import": "models",
    "generate": "answers",
    "simulate": "preferences",
    "reward": "reward",
    "policy": "train",
    "evaluation": "evaluate",
    "export": "runs",
}
Result = Mapping[str, object]


class Tour(QObject):
    """Plays the tour's jobs in the window and goes to the page of each."""

    def __init__(
        self,
        window: MainWindow,
        settings: TourSettings,
        on_end: Callable[[Result | None], None] | None = None,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._jobs: Generator[Job, None, Result] = steps(window.ws, settings)
        self._job: Job | None = None
        self._on_end = on_end
        window.bridge.finished.connect(self._on_finished)

    def start(self) -> None:
        """Begin, once the window is on the screen."""
        QTimer.singleShot(0, self, self._next)

    def _next(self) -> None:
        try:
            self._job = next(self._jobs)
        except StopIteration as end:
            self._end(end.value)
        except Cancelled:
            self._window.notify(
                "info",
                self.tr("The tour was stopped."),
                self.tr("What was made so far is kept; go on by yourself from here."),
            )
            self._end(None)
        except (TourFailed, WorkbenchError) as error:
            self._window.notify("bad", error.message, error.hint)
            self._end(None)
        else:
            self._window.bridge.watch(self._job)
            self._window.show_page(_PAGES.get(self._job.kind, "overview"))

    def _on_finished(self, job: Job, _finished: Finished) -> None:
        if job is self._job:
            QTimer.singleShot(0, self, self._next)

    def _end(self, result: Result | None) -> None:
        self._job = None
        if result is not None:
            self._window.show_page("evaluate")
            self._window.notify(
                "ok",
                self.tr("The tour has ended: every link of the chain has run."),
                self.tr("Here the base and the trained model stand side by side."),
            )
        if self._on_end is not None:
            self._on_end(result)
