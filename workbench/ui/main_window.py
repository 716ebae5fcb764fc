"""The window: menus, stages at the left, the page of the stage, rank panel right, job bar below."""

from __future__ import annotations

import importlib
import logging
import os
from dataclasses import replace
from functools import partial

from PySide6.QtCore import Qt, QTimer, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QResizeEvent
from PySide6.QtWidgets import (
    QApplication,
    QDockWidget,
    QHBoxLayout,
    QMainWindow,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.actions import PAGES as PAGE_TEXTS
from workbench.ui.actions import Actions, translate
from workbench.ui.bridge import JobBridge
from workbench.ui.crash import copy_report
from workbench.ui.pages import GROUPS
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.rank_panel import RankPanel
from workbench.ui.theme import Mode, theme
from workbench.ui.widgets import Banner
from workbench.ui.widgets.job_bar import JobBar
from workbench.ui.widgets.log_panel import LogPanel
from workbench.ui.widgets.memory import MemoryLabel
from workbench.ui.widgets.navigation import Navigation
from workbench.ui.widgets.palette import Palette, ShortcutPage

log = logging.getLogger(__name__)

_RAIL_BELOW = 1200
_DOCK_WIDTH = 328
_RUN_PAGES = {"reward": "reward", "ppo": "train", "evaluation": "evaluate"}


class MainWindow(QMainWindow):
    """One open experiment. All work is done by app functions; this only shows and connects."""

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self.ws = ws
        ws.keeps_core_free = True
        self.bridge = JobBridge(ws.runner, self)
        self.actions_ = Actions(self)
        self.context = UiContext(
            actions=self.actions_,
            bridge=self.bridge,
            theme=theme(),
            show_page=self.show_page,
            show_run=self.show_run,
            notify=self.notify,
            rank_panel=lambda: self.rank,
        )
        self._pages: dict[str, Page] = {}
        self._shown = ""
        self._build()
        self._connect()
        self.setWindowTitle(f"{ws.path.name} – RLHF Workbench")
        self.resize(1440, 900)
        self.setMinimumSize(900, 600)
        self.show_page("overview")

    def _build(self) -> None:
        texts = dict(PAGE_TEXTS)
        self.navigation = Navigation(
            [[(e.key, translate(texts[e.key]), e.icon) for e in group] for group in GROUPS]
        )
        self.banner = Banner("info", "", is_dismissable=True)
        self.banner.hide()
        self.stack = QStackedWidget()
        self.log_panel = LogPanel(self.ws.path / "logs" / "workbench.log")
        self.log_panel.hide()
        middle = QVBoxLayout()
        middle.setContentsMargins(0, 0, 0, 0)
        middle.setSpacing(0)
        room = QVBoxLayout()
        room.setContentsMargins(16, 8, 16, 0)
        room.addWidget(self.banner)
        middle.addLayout(room)
        middle.addWidget(self.stack, 1)
        middle.addWidget(self.log_panel)
        upper = QHBoxLayout()
        upper.setContentsMargins(0, 0, 0, 0)
        upper.setSpacing(0)
        upper.addWidget(self.navigation)
        upper.addLayout(middle, 1)
        self.job_bar = JobBar()
        central = QWidget()
        column = QVBoxLayout(central)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addLayout(upper, 1)
        column.addWidget(self.job_bar)
        self.setCentralWidget(central)
        self.rank = RankPanel(self.ws, self.context)
        self.dock = QDockWidget(self.tr("Rank"), self)
        self.dock.setObjectName("rank-dock")
        self.dock.setFeatures(QDockWidget.DockWidgetFeature.DockWidgetMovable)
        self.dock.setWidget(self.rank)
        self.addDockWidget(Qt.DockWidgetArea.RightDockWidgetArea, self.dock)
        self.resizeDocks([self.dock], [_DOCK_WIDTH], Qt.Orientation.Horizontal)
        self.actions_.fill(self.menuBar())
        # A corner widget without a Python reference vanishes.
        self.memory = MemoryLabel(self.ws)
        self.menuBar().setCornerWidget(self.memory)

    def _connect(self) -> None:
        on = self.actions_.on
        for entry in (e for group in GROUPS for e in group):
            on(f"page.{entry.key}", partial(self.show_page, entry.key))
        modes: tuple[Mode, ...] = ("system", "light", "dark")
        for mode in modes:
            on(f"view.theme_{mode}", partial(self.set_theme, mode))
        on("rank.focus", self.toggle_rank_focus)
        on("rank.maximise", self.toggle_maximised)
        on("job.pause", self.job_bar.toggle_pause)
        on("job.stop", self.job_bar.stop)
        on("view.log", self.toggle_log)
        on("view.palette", lambda: Palette(self.actions_, self).open())
        on("help.shortcuts", lambda: ShortcutPage(self.actions_, self).open())
        on("help.report", self._copy_report)
        on("help.about", self._about)
        on("file.open_folder", self._open_folder)
        on("file.quit", self.close)
        self.navigation.chosen.connect(self.show_page)
        self.job_bar.log_wanted.connect(self.toggle_log)
        self.job_bar.shown_wanted.connect(self._show_job)
        self.rank.restore_wanted.connect(self.toggle_maximised)
        self.bridge.started.connect(self.job_bar.start)
        self.bridge.happened.connect(self.job_bar.take)
        self.bridge.finished.connect(self._on_finished)
        self.bridge.experiment_changed.connect(self.refresh)

    # Pages

    def page(self, key: str) -> Page:
        """A page, built when it is first asked for."""
        if key not in self._pages:
            entry = next(e for group in GROUPS for e in group if e.key == key)
            module = importlib.import_module(f"workbench.ui.pages.{key}")
            page: Page = getattr(module, entry.class_name)(self.ws, self.context)
            self._pages[key] = page
            self.stack.addWidget(page)
        return self._pages[key]

    def show_page(self, key: str) -> None:
        """Go to a stage."""
        if self.rank.parent() is not self.dock:
            self.toggle_maximised()
        page = self.page(key)
        self._shown = key
        self.stack.setCurrentWidget(page)
        self.navigation.select(key)
        self.refresh()

    def show_run(self, key: str, run_id: int) -> None:
        """Go to the page of a run and show it there."""
        self.show_page(key)
        shown = self.page(key)
        shown.show_run(run_id)  # type: ignore[attr-defined]

    def _show_job(self, job: Job) -> None:
        if job.run_id is not None and job.kind in _RUN_PAGES:
            self.show_run(_RUN_PAGES[job.kind], job.run_id)

    def refresh(self) -> None:
        """Read counts, the shown page and the rank panel again."""
        overview = self.ws.overview()
        for key, count in {
            "models": self.ws.model_name and "1",
            "prompts": overview.n_prompts,
            "answers": overview.n_completions,
            "preferences": f"{overview.n_judged}/{overview.n_comparisons}",
            "reward": overview.reward_runs,
            "train": overview.ppo_runs,
            "evaluate": overview.evaluations,
        }.items():
            self.navigation.set_count(key, str(count or ""))
        self.page(self._shown).refresh()
        self.rank.refresh()
        self.memory.refresh()

    def notify(self, kind: str, text: str, detail: str = "") -> None:
        """Say a sentence above the page until it is dismissed."""
        self.banner.set(kind, text, detail)  # type: ignore[arg-type]
        self.banner.show()

    # Commands

    def set_theme(self, mode: Mode) -> None:
        """Light, dark or as the system; remembered."""
        theme().set_mode(mode)
        replace(UserSettings.load(), theme=mode).save()

    def toggle_rank_focus(self) -> None:
        """F6: to the rank panel, and back to the page."""
        if self._rank_has_focus():
            self.page(self._shown).setFocus(Qt.FocusReason.ShortcutFocusReason)
        else:
            self.dock.show()
            self.rank.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def _rank_has_focus(self) -> bool:
        focused = QApplication.focusWidget()
        return focused is not None and (focused is self.rank or self.rank.isAncestorOf(focused))

    def toggle_maximised(self) -> None:
        """F11: the rank panel in the whole window, and back into its dock."""
        if self.dock.widget() is self.rank:
            self.stack.addWidget(self.rank)
            self.stack.setCurrentWidget(self.rank)
            self.dock.hide()
            self.navigation.set_rail(True)
            self.rank.set_maximised(True)
        else:
            self.dock.setWidget(self.rank)
            self.dock.show()
            self.rank.set_maximised(False)
            self.stack.setCurrentWidget(self.page(self._shown))
            self._fit()
        self.rank.show()
        self.rank.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def toggle_log(self) -> None:
        """Show or hide what jobs said."""
        self.log_panel.setVisible(not self.log_panel.isVisible())

    def _copy_report(self) -> None:
        copy_report(self.ws.path)
        self.notify("info", self.tr("The report is in the clipboard."), "")

    def _about(self) -> None:
        from workbench import __version__

        self.notify("info", f"RLHF Workbench {__version__}", self.tr("Apache License 2.0"))

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.ws.path)))

    def _on_finished(self, job: Job, _finished: Finished) -> None:
        following = self.bridge.jobs
        if following and self.job_bar.job is job:
            QTimer.singleShot(0, self, lambda: self.job_bar.start(following[0]))

    # Window

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Below 1200 px the navigation is a rail."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        is_maximised = self.dock.widget() is not self.rank
        self.navigation.set_rail(is_maximised or self.width() < _RAIL_BELOW)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Remember the place, end the jobs, write everything."""
        settings = UserSettings.load()
        replace(
            settings,
            geometry=bytes(self.saveGeometry().data()),
            layout=bytes(self.saveState().data()),
        ).save()
        self.bridge.stop()
        self.memory.stop()
        event.accept()
        if not self.ws.close():
            # The worker sits in a long torch call. All is written; a thread that is killed at
            # the interpreter's end would abort the process instead.
            log.info("leaving while the worker still computes")
            logging.shutdown()
            os._exit(0)
