"""What holds for each page: nothing clipped, everything named, all of it by keyboard."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractScrollArea,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QWidget,
)
from pytestqt.qtbot import QtBot

from tests import ready
from workbench.app.workspace import Workspace
from workbench.ui.main_window import MainWindow
from workbench.ui.pages import GROUPS
from workbench.ui.plots.metric_chart import MetricChart
from workbench.ui.theme import theme

KEYS = [entry.key for group in GROUPS for entry in group]
INTERACTIVE = (
    QAbstractButton,
    QLineEdit,
    QComboBox,
    QAbstractSpinBox,
    QAbstractItemView,
    MetricChart,
)
every_page = pytest.mark.parametrize("key", KEYS)


@pytest.fixture(scope="module")
def judged_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With answers, judgements and a reward model: pages show lists, charts and reports."""
    folder = tmp_path_factory.mktemp("pages") / "experiment"
    ws = ready.new_experiment(folder, "tiny")
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    assert ws.close(60)
    return folder


@pytest.fixture
def window(qtbot: QtBot, judged_folder: Path, tmp_path: Path) -> Iterator[MainWindow]:
    folder = tmp_path / "experiment"
    shutil.copytree(judged_folder, folder)
    made = MainWindow(Workspace.open(folder))
    qtbot.addWidget(made)
    with qtbot.waitActive(made):
        made.show()
        made.activateWindow()
    yield made
    made.finish()


def visible(page: QWidget, kinds: tuple[type, ...]) -> list[QWidget]:
    return [w for w in page.findChildren(QWidget) if isinstance(w, kinds) and w.isVisible()]


def is_scrolled(widget: QWidget, page: QWidget) -> bool:
    """Whether it lies in a scroll area, which may cut it."""
    parent = widget.parentWidget()
    while parent is not None and parent is not page:
        if isinstance(parent, QAbstractScrollArea):
            return True
        parent = parent.parentWidget()
    return False


def spilled(page: QWidget, kinds: tuple[type, ...]) -> list[str]:
    """What reaches over the edge of the page, or is smaller than its words."""
    found = []
    for widget in visible(page, kinds):
        if is_scrolled(widget, page):
            continue
        area = widget.rect().translated(widget.mapTo(page, QPoint()))
        name = widget.accessibleName() or getattr(widget, "text", lambda: "")() or str(widget)
        if not page.rect().contains(area):
            found.append(f"{name} leaves the page: {area}")
        if widget.width() < widget.minimumSizeHint().width() - 1:
            found.append(f"{name} is {widget.width()} wide")
        if widget.height() < widget.minimumSizeHint().height() - 1:
            found.append(f"{name} is {widget.height()} high")
    return found


@every_page
def test_nothing_is_clipped(qtbot: QtBot, window: MainWindow, key: str) -> None:
    window.show_page(key)
    page = window.page(key)
    for mode, size in (("light", (1440, 900)), ("light", (1100, 700)), ("dark", (1100, 700))):
        theme().set_mode(mode)
        window.resize(*size)
        QApplication.processEvents()
        qtbot.waitUntil(lambda: page.minimumSizeHint().width() <= page.width(), timeout=2000)
        assert (window.width(), window.height()) == size, "the page pushes the window larger"
        assert page.minimumSizeHint().height() <= page.height()
        assert not spilled(page, (QAbstractButton, QLineEdit, QComboBox))
        cut = [
            label.text()
            for label in visible(page, (QLabel,))
            if label.text()
            and not label.wordWrap()
            and label.width() < label.fontMetrics().horizontalAdvance(label.text())
        ]
        assert not cut


@every_page
def test_controls_are_named_and_dead_ones_say_why_and_one_is_filled(
    window: MainWindow, key: str
) -> None:
    window.show_page(key)
    page = window.page(key)
    nameless = [
        f"{type(w).__name__} {w.objectName()} in {type(w.parentWidget()).__name__}"
        for w in page.findChildren(QWidget)
        if isinstance(w, INTERACTIVE)
        and w.objectName() not in ("qt_toolbar_ext_button", "qt_spinbox_lineedit")
        and not isinstance(w.parentWidget(), QComboBox | QAbstractItemView | QLineEdit)
        and not isinstance(w.parentWidget().parentWidget(), QComboBox)
        and type(w).__name__ not in ("QHeaderView", "QTableCornerButton")
        and not (w.accessibleName() or (isinstance(w, QAbstractButton) and w.text()))
    ]
    assert not nameless
    buttons = [b for b in visible(page, (QAbstractButton,)) if b.property("kind")]
    assert not [b.text() for b in buttons if not b.isEnabled() and not b.toolTip()]
    assert len([b for b in buttons if b.property("kind") == "filled"]) <= 1


@every_page
def test_tab_reaches_every_control(window: MainWindow, key: str) -> None:
    window.show_page(key)
    page = window.page(key)
    wanted = {
        w
        for w in visible(page, INTERACTIVE)
        if w.isEnabled()
        and w.focusPolicy() & Qt.FocusPolicy.TabFocus
        and not isinstance(w.parentWidget(), QComboBox)
    }
    page.setFocus()
    reached: set[QWidget] = set()
    for _ in range(200):
        if not window.focusNextPrevChild(True):
            break
        now = window.focusWidget()
        if now in reached:
            break
        reached.add(now)
    missed = {w.accessibleName() or str(w) for w in wanted - reached}
    assert not missed
