"""Starting the window: first the picture, then torch; one experiment per window."""

from __future__ import annotations

import argparse
import gc
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox, QWidget

from workbench import places
from workbench.app.settings import UserSettings
from workbench.app.tour import TourFailed, steps
from workbench.app.workspace import Workspace
from workbench.config.tour import TourSettings, defaults_for
from workbench.errors import Cancelled, EnvironmentProblem, WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui import crash
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme

_GC_INTERVAL_MS = 5000
_PHASE_PAGES = {
    "generate": "answers",
    "simulate": "preferences",
    "reward": "reward",
    "ppo": "train",
    "evaluation": "evaluate",
    "export": "runs",
}


def main(argv: Sequence[str]) -> int:
    """Open the window on an experiment: the one named, the last one, or the demo.

    Args:
        argv: Program name, then `[EXPERIMENT] [--tour]`.
    """
    parser = argparse.ArgumentParser(prog="rlhf-workbench")
    parser.add_argument("experiment", nargs="?", type=Path)
    parser.add_argument("--tour", action="store_true")
    options = parser.parse_args(list(argv[1:]))
    # Spinning at OpenMP barriers on the core that draws the window costs a factor of 7 to 40.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    app = QApplication.instance() or QApplication(list(argv[:1]))
    assert isinstance(app, QApplication)
    app.setApplicationName("RLHF Workbench")
    app.setDesktopFileName(places.APP_NAME)
    settings = UserSettings.load()
    theme().set_mode(settings.theme)
    crash.install()
    collect_in_gui_thread(app)
    ws = open_or_ask(options.experiment or _last(settings))
    if ws is None:
        return 1
    settings.with_recent(ws.path).save()
    windows = Windows()
    window = windows.show(ws)
    if settings.geometry:
        window.restoreGeometry(settings.geometry)
    if options.tour:
        Tour(window, defaults_for("starter")).start()
    return app.exec()


def collect_in_gui_thread(app: QApplication) -> None:
    """Take cyclic garbage collection away from worker threads.

    A collection there can destroy Qt objects, and a full one holds the interpreter for half a
    second; so it runs from a timer here, and only the two young generations.
    """
    gc.disable()
    timer = QTimer(app)
    timer.setInterval(_GC_INTERVAL_MS)
    timer.timeout.connect(lambda: gc.collect(1))
    timer.start()


def _last(settings: UserSettings) -> Path:
    found = next((path for path in settings.recent if (path / "experiment.db").is_file()), None)
    return found or places.home_dir() / "demo"


def open_or_ask(path: Path) -> Workspace | None:
    """The experiment, made when there is none; asks when another program holds it."""
    try:
        return Workspace.open(path, create=not (path / "experiment.db").exists())
    except EnvironmentProblem as problem:
        box = QMessageBox()
        box.setWindowTitle("RLHF Workbench")
        box.setText(problem.message)
        box.setInformativeText(problem.hint)
        read_only = box.addButton(box.tr("Open read-only"), QMessageBox.ButtonRole.AcceptRole)
        box.addButton(box.tr("Close"), QMessageBox.ButtonRole.RejectRole)
        box.exec()
        if box.clickedButton() is not read_only:
            return None
        try:
            return Workspace.open(path, is_read_only=True)
        except WorkbenchError as error:
            _refuse(error)
    except WorkbenchError as error:
        _refuse(error)
    return None


def _refuse(error: WorkbenchError) -> None:
    QMessageBox.warning(None, "RLHF Workbench", str(error))


class Windows(QObject):
    """Keeps the window alive and changes it for one on another experiment."""

    def __init__(self) -> None:
        super().__init__()
        self._window: MainWindow | None = None

    def show(self, ws: Workspace) -> MainWindow:
        """Show a window on an experiment in place of the one shown before."""
        window = MainWindow(ws)
        window.actions_.on("file.new", lambda: self._choose(window, is_new=True))
        window.actions_.on("file.open", lambda: self._choose(window, is_new=False))
        before, self._window = self._window, window
        window.show()
        if before is not None:
            before.close()
            before.deleteLater()
        return window

    def _choose(self, parent: QWidget, *, is_new: bool) -> None:
        title = (
            parent.tr("New experiment: choose an empty folder")
            if is_new
            else parent.tr("Open experiment")
        )
        chosen = QFileDialog.getExistingDirectory(parent, title, str(places.home_dir()))
        if not chosen:
            return
        ws = open_or_ask(Path(chosen))
        if ws is not None:
            UserSettings.load().with_recent(ws.path).save()
            self.show(ws)


class Tour(QObject):
    """Plays the tour's jobs in the window and goes to the page of each."""

    def __init__(
        self,
        window: MainWindow,
        settings: TourSettings,
        on_end: Callable[[Mapping[str, object] | None], None] | None = None,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._jobs: Generator[Job, None, Mapping[str, object]] = steps(window.ws, settings)
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
        except (TourFailed, Cancelled, WorkbenchError) as error:
            self._window.notify("bad", error.message, error.hint)
            self._end(None)
        else:
            self._window.bridge.watch(self._job)
            page = _PHASE_PAGES.get(self._job.kind)
            if page:
                self._window.show_page(page)

    def _on_finished(self, job: Job, _finished: Finished) -> None:
        if job is self._job:
            QTimer.singleShot(0, self, self._next)

    def _end(self, result: Mapping[str, object] | None) -> None:
        if result is not None:
            self._window.notify(
                "ok",
                self.tr("The tour has ended: every link of the chain has run."),
                self.tr("Look at Evaluate for base and trained side by side."),
            )
        if self._on_end is not None:
            self._on_end(result)
