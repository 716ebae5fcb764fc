"""The window: menus, stages at the left, the page of the stage, rank panel right, job bar below."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Qt, QUrl, Signal
from PySide6.QtGui import QCloseEvent, QDesktopServices, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QVBoxLayout, QWidget

from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.jobs.runner import Job
from workbench.ui import progress
from workbench.ui.actions import PAGES, Actions, translate
from workbench.ui.annotator_choice import AnnotatorChoice
from workbench.ui.bridge import JobBridge
from workbench.ui.crash import copy_report
from workbench.ui.job_news import JobNews
from workbench.ui.keys_dialog import KeysDialog
from workbench.ui.leaving import LeaveDialog, running_training
from workbench.ui.page_stack import ENTRIES, PageStack
from workbench.ui.pages import GROUPS
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.probe_keeper import ProbeKeeper
from workbench.ui.queue_keeper import QueueKeeper
from workbench.ui.rank_dock import WIDTH, RankDock
from workbench.ui.rank_panel import RankPanel
from workbench.ui.remembering import remember, restore_layout
from workbench.ui.round_keeper import RoundKeeper
from workbench.ui.theme import Mode, theme
from workbench.ui.widgets.about import AboutDialog
from workbench.ui.widgets.corner import Corner
from workbench.ui.widgets.job_bar import JobBar
from workbench.ui.widgets.log_panel import LogPanel
from workbench.ui.widgets.navigation import Navigation
from workbench.ui.widgets.notice import Notice
from workbench.ui.widgets.palette import Palette

NARROW = 1200
"""Below this width the navigation is a rail and the rank panel waits behind F6."""


class MainWindow(QMainWindow):
    """One open experiment. All work is done by app functions; this only shows and connects."""

    closed = Signal(bool)  # whether the worker has ended

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self.ws = ws
        ws.keeps_core_free = True
        self.bridge = JobBridge(ws.runner, self)
        self.actions_ = Actions(
            self, is_read_only=ws.is_read_only, own_keys=UserSettings.load().keys
        )
        self.context = UiContext(
            actions=self.actions_,
            bridge=self.bridge,
            theme=theme(),
            show_page=self.show_page,
            show_run=self.show_run,
            clone_run=self.clone_run,
            notify=self.notify,
            rank_panel=lambda: self.rank,
        )
        self._is_finished = False
        self._build()
        self._connect()
        held = self.tr(" (read-only)") if ws.is_read_only else ""
        self.setWindowTitle(f"{ws.path.name}{held} – RLHF Workbench")
        self.setMinimumSize(900, 600)
        self.resize(1440, 900)
        self.show_page("overview")
        if ws.is_read_only:
            held = self.tr("This experiment is open read-only, because another program holds it.")
            self.notify("warn", held, self.tr("All can be looked at, nothing can be changed."))

    def _build(self) -> None:
        names = {key: translate(text) for key, text in PAGES}
        self.navigation = Navigation([[(e.key, names[e.key], e.icon) for e in g] for g in GROUPS])
        self.banner = Notice()
        self.stack = PageStack(self.ws)
        self.log_panel = LogPanel(self.ws.path / "logs" / "workbench.log")
        self.log_panel.hide()
        room = QVBoxLayout()
        room.setContentsMargins(16, 8, 16, 0)
        room.addWidget(self.banner)
        middle = QVBoxLayout()
        middle.setSpacing(0)
        middle.addLayout(room)
        middle.addWidget(self.stack, 1)
        middle.addWidget(self.log_panel)
        central = QWidget()
        columns = QHBoxLayout(central)
        columns.setContentsMargins(0, 0, 0, 0)
        columns.setSpacing(0)
        columns.addWidget(self.navigation)
        columns.addLayout(middle, 1)
        self.setCentralWidget(central)
        self.rank = RankPanel(self.ws, self.context)
        self.dock = RankDock(self.rank, self.stack, self.actions_)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        # The status bar is the one place that runs under the docks too.
        self.job_bar = JobBar()
        self.statusBar().setSizeGripEnabled(False)
        self.statusBar().addWidget(self.job_bar, 1)
        self.actions_.fill(self.menuBar())
        # A corner widget without a Python reference vanishes.
        self.menu_end = Corner(self.ws, self.menuBar().sizeHint().height(), self.actions_)
        self.menuBar().setCornerWidget(self.menu_end)

    def _connect(self) -> None:
        self._bind_commands()
        JobNews(self.bridge, self.job_bar, self.navigation, self.banner, self.ws.path, self)
        ProbeKeeper(self.ws, self.context, self.dock)
        self._show_keys()
        self.bridge.experiment_changed.connect(self.refresh)
        self.navigation.chosen.connect(self.show_page)
        self.stack.problems_changed.connect(self._count)
        self.job_bar.log_wanted.connect(self.toggle_log)
        self.job_bar.shown_wanted.connect(self._show_job)
        self.menu_end.rank_wanted.connect(self.dock.toggle_focus)
        self.dock.moved.connect(self._fit)
        self.dock.left.connect(self._focus_page)

    def _bind_commands(self) -> None:
        on = self.actions_.on
        for key in ENTRIES:
            on(f"page.{key}", partial(self.show_page, key))
        modes: tuple[Mode, ...] = ("system", "light", "dark")
        for mode in modes:
            on(f"view.theme_{mode}", partial(self.set_theme, mode))
        folder = QUrl.fromLocalFile(str(self.ws.path))
        on("file.open_folder", lambda: QDesktopServices.openUrl(folder))
        on("file.quit", self.close)
        on("rank.focus", self.dock.toggle_focus)
        on("rank.maximise", self.dock.toggle_maximised)
        on("rank.annotator", AnnotatorChoice(self.ws, self.context, self).ask)
        on("rank.order", QueueKeeper(self.ws, self.context, self).ask)
        RoundKeeper(self.ws, self.context, self)
        on("job.pause", self.job_bar.toggle_pause)
        on("job.stop", self.job_bar.stop)
        on("view.log", self.toggle_log)
        on("view.palette", lambda: Palette(self.actions_, self).open())
        on("help.shortcuts", lambda: KeysDialog(self.actions_, self).open())
        on("help.report", self._copy_report)
        on("help.about", lambda: AboutDialog(self).open())
        for command, _ in self.actions_.listed():
            if command.page:
                on(command.id, partial(self._build_and_repeat, command.page, command.id))

    def _show_keys(self) -> None:
        """The keycaps of the job bar follow their commands, and what is chosen is remembered."""
        self.actions_.show_key(self.job_bar.pause_button, "job.pause")
        self.actions_.show_key(self.job_bar.log_button, "view.log")
        self.actions_.keys_changed.connect(lambda: remember(keys=self.actions_.own_keys()))

    # Pages

    def page(self, key: str) -> Page:
        """A page, built when it is first asked for."""
        return self.stack.page(key, self.context)

    def _build_and_repeat(self, key: str, command_id: str) -> None:
        """A page binds its own commands, so one that was never shown is built first."""
        if not self.stack.is_built(key):
            self.page(key).refresh()
            self.actions_[command_id].trigger()

    def show_page(self, key: str) -> None:
        """Go to a stage."""
        if self.dock.is_maximised:
            self.dock.toggle_maximised()
        self.navigation.select(key)
        page = self.page(key)
        self.stack.show_page(page)
        self._count()
        if not self.dock.has_focus():
            page.setFocus(Qt.FocusReason.OtherFocusReason)

    def show_run(self, key: str, run_id: int) -> None:
        """Go to the page of a run and show it there."""
        self.show_page(key)
        shown = self.page(key)
        shown.show_run(run_id)  # type: ignore[attr-defined]

    def clone_run(self, run_id: int) -> None:
        """Go to the form for a new run, filled as that of another one was."""
        self.show_page("train")
        self.page("train").clone(run_id)  # type: ignore[attr-defined]

    def _show_job(self, job: Job | None) -> None:
        if job is not None and job.run_id is not None and job.kind in progress.PAGE_OF_KIND:
            self.show_run(progress.PAGE_OF_KIND[job.kind], job.run_id)

    def _focus_page(self) -> None:
        page = self.page(self.stack.shown)
        self.stack.setCurrentWidget(page)
        page.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def refresh(self) -> None:
        """Read counts, the shown page and the rank panel again."""
        self._count()
        self.page(self.stack.shown).refresh()
        self.rank.refresh()
        self.menu_end.refresh()

    def _count(self) -> None:
        progress.show(self.ws, self.navigation, self.stack.problems())

    # Commands

    def notify(self, kind: str, text: str, detail: str = "") -> None:
        """Say a sentence above the page; trouble stays until it is dismissed."""
        self.banner.tell(kind, text, detail)  # type: ignore[arg-type]

    def set_theme(self, mode: Mode) -> None:
        """Light, dark or as the system; remembered."""
        theme().set_mode(mode)
        remember(theme=mode)

    def toggle_log(self) -> None:
        """Show or hide what jobs said."""
        self.log_panel.setVisible(not self.log_panel.isVisible())

    def _copy_report(self) -> None:
        copy_report(self.ws.path)
        self.notify("ok", self.tr("The report is in the clipboard."))

    # Window

    def showEvent(self, event: QShowEvent) -> None:
        """The dock takes its width only in a window that has its own."""
        super().showEvent(event)
        if not event.spontaneous():
            restore_layout(self, self.dock, WIDTH)
            self.dock.setVisible(self.width() >= NARROW and not self.dock.is_maximised)
            self._fit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Esc leads back from the rank panel."""
        if event.key() == Qt.Key.Key_Escape and self.dock.has_focus():
            self.dock.leave()
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Make room where the window is narrow."""
        super().resizeEvent(event)
        self.dock.set_narrow(self.width() < NARROW)
        self._fit()

    def _fit(self) -> None:
        self.navigation.set_rail(self.dock.is_maximised or self.width() < NARROW)
        self.menu_end.show_rank_button(self.dock.is_away)
        if not self.dock.is_maximised and self.stack.shown:
            self.stack.setCurrentWidget(self.page(self.stack.shown))

    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask when a model trains; else remember the place, end the jobs, write everything."""
        training = running_training(self.bridge)
        if training is not None:
            event.ignore()
            LeaveDialog(training, self.bridge, self).open()
            return
        event.accept()
        self.finish()

    def finish(self) -> None:
        """End the jobs and close the records; the window is not used after this."""
        if self._is_finished:
            return
        self._is_finished = True
        remember(geometry=self.saveGeometry().data(), layout=self.saveState().data())
        self.bridge.stop()
        self.menu_end.stop()
        self.closed.emit(self.ws.close())
