"""Starting the window: first the picture, then torch; one experiment per window."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from PySide6.QtCore import QObject, QTimer
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox, QWidget

from workbench import places
from workbench.app.demo import create_demo
from workbench.app.settings import UserSettings
from workbench.app.warmup import import_torch
from workbench.app.workspace import Workspace
from workbench.config.tour import TourSettings
from workbench.errors import WorkbenchError
from workbench.store.lock import ExperimentHeld
from workbench.ui import crash
from workbench.ui.collector import Collector
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme
from workbench.ui.tour import Tour

log = logging.getLogger(__name__)


def run(path: Path | None = None, tour: TourSettings | None = None) -> int:
    """Open the window on an experiment and stay until it is closed.

    Args:
        path: The experiment, made when there is none; None takes the last one, else the demo.
        tour: Play the tour with these settings; without a path in a folder of its own.
    """
    # Spinning at OpenMP barriers on the core that draws the window costs a factor of 7 to 40.
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    app = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(app, QApplication)
    app.setApplicationName("RLHF Workbench")
    app.setDesktopFileName(places.APP_NAME)
    settings = UserSettings.load()
    theme().set_mode(settings.theme)
    crash.install()
    ws = open_or_ask(path or (_tour_folder() if tour else _last(settings)))
    if ws is None:
        return 1
    windows = Windows(collect_in_gui_thread(app))
    window = windows.show(ws)
    if tour:
        Tour(window, tour).start()
    _close_on_signals(app)
    code = app.exec()
    if windows.must_be_ended():
        # All is written. A thread inside torch would abort the process at the interpreter's end.
        log.info("leaving while a thread still computes")
        logging.shutdown()
        os._exit(code)
    return code


def collect_in_gui_thread(app: QApplication) -> Collector:
    """Collect cyclic garbage from here on in the GUI thread only, for as long as `app` lives."""
    return Collector(app)


def _close_on_signals(app: QApplication) -> None:
    """End as by the window's own cross; Python sees a signal when a timer runs next."""

    def close(_number: int, _frame: object) -> None:
        for window in app.topLevelWidgets():
            if isinstance(window, MainWindow):
                window.finish()
        app.quit()

    signal.signal(signal.SIGINT, close)
    signal.signal(signal.SIGTERM, close)


def _last(settings: UserSettings) -> Path:
    found = next((path for path in settings.recent if (path / "experiment.db").is_file()), None)
    return found or demo_folder()


def demo_folder() -> Path:
    """Where the experiment of the first start is."""
    return places.home_dir() / "demo"


def _tour_folder() -> Path:
    return places.home_dir() / time.strftime("tour-%Y%m%d-%H%M%S")


def open_or_ask(path: Path, parent: QWidget | None = None) -> Workspace | None:
    """The experiment, made when there is none; asks when another program holds it.

    Returns:
        None when it cannot be opened, or the user did not want it read-only; both were said.
    """
    try:
        if (path / "experiment.db").exists():
            return Workspace.open(path)
        if path == demo_folder():
            return create_demo(path)
        return Workspace.open(path, create=True)
    except ExperimentHeld as held:
        return _ask_read_only(path, held, parent)
    except WorkbenchError as error:
        _refuse(error, parent)
    return None


def _ask_read_only(path: Path, held: ExperimentHeld, parent: QWidget | None) -> Workspace | None:
    box = _box(held, parent)
    read_only = box.addButton(box.tr("Open read-only"), QMessageBox.ButtonRole.AcceptRole)
    box.addButton(box.tr("Do not open"), QMessageBox.ButtonRole.RejectRole)
    box.exec()
    if box.clickedButton() is not read_only:
        return None
    try:
        return Workspace.open(path, is_read_only=True)
    except WorkbenchError as error:
        _refuse(error, parent)
    return None


def _refuse(error: WorkbenchError, parent: QWidget | None) -> None:
    box = _box(error, parent)
    box.addButton(box.tr("Close"), QMessageBox.ButtonRole.RejectRole)
    box.exec()


def _box(error: WorkbenchError, parent: QWidget | None) -> QMessageBox:
    box = QMessageBox(parent)
    box.setIcon(QMessageBox.Icon.Warning)
    box.setWindowTitle("RLHF Workbench")
    box.setText(error.message)
    box.setInformativeText(error.hint)
    return box


class Windows(QObject):
    """Keeps the window alive and changes it for one on another experiment."""

    def __init__(self, collector: Collector | None = None) -> None:
        super().__init__()
        self._collector = collector
        self._window: MainWindow | None = None
        self._importing: threading.Thread | None = None
        self._is_stuck = False

    def show(self, ws: Workspace) -> MainWindow:
        """Show a window on an experiment in place of the one shown before."""
        settings = UserSettings.load()
        window = MainWindow(ws)
        if settings.geometry:
            window.restoreGeometry(settings.geometry)
        window.actions_.on("file.new", lambda: self._choose(window, is_new=True))
        window.actions_.on("file.open", lambda: self._choose(window, is_new=False))
        window.closed.connect(self._on_closed)
        self._remember(ws)
        before, self._window = self._window, window
        window.show()
        if before is not None:
            before.close()
            before.deleteLater()
        if self._importing is None and not ws.is_read_only:
            # After the first paint, which has a place in the event queue already.
            QTimer.singleShot(0, self, self._prefetch)
        return window

    def must_be_ended(self) -> bool:
        """Whether a thread still computes: the process must end by `os._exit`."""
        return self._is_stuck or (self._importing is not None and self._importing.is_alive())

    def _prefetch(self) -> None:
        self._importing = import_torch(keeps_core_free=True)
        if self._collector is not None:
            self._collector.freeze_after(self._importing)

    def _on_closed(self, has_ended: bool) -> None:
        self._is_stuck = self._is_stuck or not has_ended

    @staticmethod
    def _remember(ws: Workspace) -> None:
        try:
            UserSettings.load().with_recent(ws.path).save()
        except WorkbenchError as error:
            log.warning("the settings cannot be written: %s", error)

    def _choose(self, window: MainWindow, *, is_new: bool) -> None:
        title = (
            window.tr("New experiment: choose an empty folder")
            if is_new
            else window.tr("Open experiment")
        )
        chosen = QFileDialog.getExistingDirectory(window, title, str(places.home_dir()))
        if chosen:
            self.open(Path(chosen), is_new=is_new)

    def open(self, path: Path, *, is_new: bool = False) -> None:
        """Change to another experiment, unless a job still runs in this one."""
        window = self._window
        assert window is not None
        if path.resolve() == window.ws.path.resolve():
            window.notify("info", window.tr("This experiment is open already."), "")
            return
        if not is_new and not (path / "experiment.db").exists():
            window.notify(
                "warn",
                window.tr("{folder} holds no experiment.").format(folder=path.name),
                window.tr("Choose a folder with the file experiment.db, or make a new one."),
            )
            return
        if (job := window.ws.runner.current) is not None:
            window.notify(
                "warn",
                window.tr("{job} is still going on.").format(job=job.title),
                window.tr("Let it finish or stop it, then open another experiment."),
            )
            return
        ws = open_or_ask(path, window)
        if ws is not None:
            self.show(ws)
