"""The real window on a real experiment folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from workbench.app.workspace import Workspace
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.page import Page
from workbench.ui.rank_panel import RankPanel


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace.open(tmp_path / "experiment", create=True)
    yield workspace
    workspace.close()


@pytest.fixture
def open_window(qtbot: QtBot, ws: Workspace) -> Callable[[], MainWindow]:
    """Opens the window, once it is wanted: what the test stored before is shown at the start."""

    def open_() -> MainWindow:
        window = MainWindow(ws)
        qtbot.addWidget(window)
        with qtbot.waitActive(window):
            window.show()
            window.activateWindow()
        return window

    return open_


@pytest.fixture
def open_page(open_window: Callable[[], MainWindow]) -> Callable[[str], Page]:
    """Opens the window on a page."""

    def open_(key: str) -> Page:
        window = open_window()
        window.show_page(key)
        return window.page(key)

    return open_


@pytest.fixture
def open_panel(qtbot: QtBot, open_window: Callable[[], MainWindow]) -> Callable[[], RankPanel]:
    """Opens the window and gives its rank panel with the keyboard focus."""

    def open_() -> RankPanel:
        panel = open_window().rank
        panel.setFocus()
        qtbot.waitUntil(panel.hasFocus)
        return panel

    return open_
