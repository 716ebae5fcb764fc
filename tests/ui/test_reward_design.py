"""Scoring a text and designing a reward, by keyboard and mouse in the real window."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QDialog, QLineEdit
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from tests.ui.conftest import Script
from tests.ui.test_every_page import spilled
from workbench.app import design_draft, designs, user_functions
from workbench.app.workspace import Workspace
from workbench.config.reward_parts.kinds import FunctionPart
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.answer_picker import AnswerPicker
from workbench.ui.pages.design import DesignPage
from workbench.ui.pages.design_add import AddPartDialog
from workbench.ui.pages.design_allow import AllowDialog
from workbench.ui.pages.design_compare import CompareDialog
from workbench.ui.pages.page import Page
from workbench.ui.pages.reward import RewardPage
from workbench.ui.pages.reward_score import ScoreTab
from workbench.ui.widgets import Banner

LONG = 60_000
LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier
D = TypeVar("D", bound=QDialog)


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With answers and a reward model."""
    root = tmp_path_factory.mktemp("design")
    model = tinymodels.write(root / "random-llama", "llama")
    ws = ready.new_experiment(root / "experiment", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    assert ws.close(60)
    return root / "experiment"


@pytest.fixture
def open_page(qtbot: QtBot, tmp_path: Path, judged: Path) -> Iterator[Callable[[str], Page]]:
    opened: list[MainWindow] = []

    def open_(key: str) -> Page:
        folder = tmp_path / "experiment"
        if not folder.exists():
            shutil.copytree(judged, folder)
        window = MainWindow(Workspace.open(folder))
        opened.append(window)
        qtbot.addWidget(window)
        with qtbot.waitActive(window):
            window.show()
            window.activateWindow()
        window.show_page(key)
        return window.page(key)

    yield open_
    for window in opened:
        window.finish()
        assert window.ws.close(60)


def dialog(kind: type[D]) -> D:
    """The open dialog of a kind."""
    return next(w for w in QApplication.topLevelWidgets() if isinstance(w, kind) and w.isVisible())


def test_a_typed_text_is_scored_and_compared(qtbot: QtBot, open_page) -> None:
    page = open_page("reward")
    assert isinstance(page, RewardPage)
    tab = next(part for part in page.parts if isinstance(part, ScoreTab))
    page.tabs.setCurrentWidget(tab)
    assert not tab.score_button.isEnabled()
    assert "Type a prompt" in tab.score_button.toolTip()

    def score() -> None:
        qtbot.keyClick(tab.answer, Qt.Key.Key_Return, CTRL)
        qtbot.waitUntil(tab.score_button.isEnabled, timeout=LONG)

    # While something else has the worker, the text waits and says for whom.
    other = Script()
    busy = page.ws.submit("PPO 1", "policy", other.work)
    page.context.bridge.watch(busy)
    qtbot.keyClicks(tab.prompt, "w1 w2")
    qtbot.keyClicks(tab.answer, "w3 w4 w5")
    qtbot.keyClick(tab.answer, Qt.Key.Key_Return, CTRL)
    assert "waits until PPO 1 has ended" in tab.remark.text()
    assert tab.cancel_button.isVisible()
    assert page.ws.runner.queued[0].kind == "score"
    other.end()
    qtbot.waitUntil(lambda: len(tab.table.rows()) == 1, timeout=LONG)
    assert tab.remark.text() == ""
    first = tab.table.rows()[0]
    assert tab.view.total.text().replace("−", "-") == f"{first.score:.3f}"
    assert tab.view.tokens.words(0).startswith("“w3”")
    assert "score so far" in tab.view.tokens.words(0)
    assert "no cause" in tab.view._meaning.text()
    tab.view.way.setFocus()
    qtbot.keyClick(tab.view.way, Qt.Key.Key_Down)
    assert "do not add up" in tab.view._meaning.text()
    assert "so far" not in tab.view.tokens.words(0)

    # One that is chosen from the experiment, and then one that is too long.
    qtbot.mouseClick(tab.choose, LEFT)
    picker = dialog(AnswerPicker)
    wanted = picker.answers.current()
    assert wanted is not None
    qtbot.mouseClick(picker.take, LEFT)
    assert tab.answer.toPlainText() == wanted.text
    score()
    assert [s.text.answer for s in tab.table.rows()] == [wanted.text, "w3 w4 w5"]
    beside = tab.table.rows_model.index(1, 1).data()
    assert beside[0] == ("+" if first.score > tab.table.rows()[0].score else "−")
    tab.answer.setPlainText("w1 " * 90)
    score()
    assert "random-llama reads 64 at most" in tab.remark.text()
    assert len(tab.table.rows()) == 2


def test_a_reward_is_designed_measured_saved_and_taken_up_again(qtbot: QtBot, open_page) -> None:
    page = open_page("design")
    assert isinstance(page, DesignPage)
    view = page.view
    rows = view.parts.rows

    def add(kind: str) -> None:
        made = next(b for b in view.add_buttons if b.isVisible())
        qtbot.mouseClick(made, LEFT)
        asked = dialog(AddPartDialog)
        asked.choose(kind)
        qtbot.keyClick(asked.table, Qt.Key.Key_Return)
        qtbot.waitUntil(lambda: not asked.isVisible())

    def kept() -> list[str]:
        return [p["kind"] for p in design_draft.load(page.ws).parts]

    add("reward-model")
    add("brevity")
    add("keywords")
    assert kept() == ["reward-model", "brevity", "keywords"]
    rows = view.parts.rows
    assert rows[0].name.text() == "Reward model 1"
    assert rows[0].run.currentText() == "Reward model 1"

    # What is wrong stands beside its row, and the rest is measured all the same.
    qtbot.waitUntil(lambda: "no word yet" in rows[2].problem.text(), timeout=LONG)
    assert not view.save.isEnabled()
    assert "marked" in view.save.toolTip()
    qtbot.mouseClick(view.measure, LEFT)
    qtbot.waitUntil(lambda: bool(page.measuring.columns.rows), timeout=LONG)
    n = view.table.totals.rowCount()
    assert n == page.ws.experiment.completions.count()
    qtbot.mouseClick(rows[2].fold, LEFT)
    assert rows[2].form is not None
    words = rows[2].form.fields["words"].control
    words.setFocus()
    qtbot.keyClicks(words, "w5")
    # The values of the new words come by themselves: the worker is free, the model is there.
    values = page.edits.now.parts[2]
    assert values["words"] == "w5"
    qtbot.waitUntil(lambda: page.measuring.columns.is_measured(values), timeout=LONG)
    qtbot.waitUntil(view.save.isEnabled, timeout=LONG)

    # Nothing is cut in a small window, with a row that is open.
    window = page.window()
    window.resize(1100, 700)
    QApplication.processEvents()
    assert (window.width(), window.height()) == (1100, 700), "the page pushes the window larger"
    assert not spilled(page, (QAbstractButton, QLineEdit, QComboBox))

    # A weight by keyboard: the order follows without another measurement.
    def order() -> list[int]:
        return [view.table.totals.row_at(i).completion_id for i in range(n)]

    rows[2].number.setFocus()
    rows[2].number.selectAll()
    qtbot.keyClicks(rows[2].number, "-9")
    for row in rows[:2]:
        row.slider.setFocus()
        row.slider.set_weight(0.05)
        qtbot.keyClick(row.slider, Qt.Key.Key_Left)
        assert row.number.text() == "0.0"
    assert not page.measuring.is_busy
    has_word = ["w5" in view.table.totals.row_at(i).text.split() for i in range(n)]
    assert has_word == sorted(has_word)
    assert 0 < sum(has_word) < n
    assert "decides 100 %" in rows[2].fact.text()
    assert "others hardly count" in rows[2].note.text()
    before = order()
    qtbot.keyClick(rows[0].slider, Qt.Key.Key_PageUp)
    assert rows[0].number.text() == "0.5"
    assert order() != before
    assert view.table.totals.headerData(2, Qt.Orientation.Horizontal) == "Reward model 1"
    # By mouse, one step for undo; what is kept is what is let go.
    slider = rows[1].slider
    y = slider.height() // 2
    qtbot.mousePress(slider, LEFT, pos=QPoint(slider.width() // 2 + 20, y))
    qtbot.mouseMove(slider, QPoint(slider.width() - 30, y))
    qtbot.mouseMove(slider, QPoint(slider.width() - 4, y))
    qtbot.mouseRelease(slider, LEFT, pos=QPoint(slider.width() - 4, y))
    assert rows[1].number.text() == "3.0"
    assert design_draft.load(page.ws).parts[1]["weight"] == 3.0
    qtbot.keyClick(slider, Qt.Key.Key_Z, CTRL)
    assert rows[1].number.text() == "0.0"
    qtbot.keyClick(rows[1].number, Qt.Key.Key_Y, CTRL)
    assert rows[1].number.text() == "3.0"

    qtbot.mouseClick(rows[0].normalise, LEFT)
    part = page.edits.now.parts[0]
    raw = page.measuring.columns.raw(page.measuring.columns.find([part]))[:, 0]
    assert part["shift"] == pytest.approx(raw.mean())
    assert part["scale"] == pytest.approx(raw.std())
    view.shown.setCurrentIndex(1)
    view.shown.activated.emit(1)
    assert view.table.totals.sized(0, 2)[1] == 0.0

    # Saved as a version that opens again; what was changed since is compared with it.
    page.window().activateWindow()
    qtbot.waitUntil(page.window().isActiveWindow)
    qtbot.keyClick(page, Qt.Key.Key_S, CTRL)
    qtbot.waitUntil(lambda: bool(designs.designs(page.ws)), timeout=LONG)
    qtbot.waitUntil(lambda: not page.ws.runner.jobs, timeout=LONG)
    run = designs.designs(page.ws)[0]
    assert view.header.facts() == "Designed reward, version 1"
    assert not view.save.isEnabled()
    qtbot.mouseClick(rows[2].up, LEFT)
    assert kept() == ["reward-model", "keywords", "brevity"]
    assert view.parts.rows[1].up.hasFocus()
    qtbot.mouseClick(view.parts.rows[2].remove, LEFT)
    assert kept() == ["reward-model", "keywords"]
    assert "changed since" in view.header.facts()
    qtbot.mouseClick(view.compare, LEFT)
    compared = dialog(CompareDialog)
    assert compared.first.currentText() == run.name
    assert "Rank correlation" in compared.banner.text()
    moved = compared.table.rows()
    assert len(moved) == n
    changes = [abs(m.after - m.before) for m in moved]
    assert changes == sorted(changes, reverse=True)
    assert changes[0] > 0
    compared.accept()
    page.open_version(run.id)
    assert kept() == ["reward-model", "brevity", "keywords"]
    qtbot.mouseClick(view.undo, LEFT)
    assert kept() == ["reward-model", "keywords"]

    # The window is closed without saving: the draft is there again.
    assert isinstance(window, MainWindow)
    window.finish()
    again = open_page("design")
    assert isinstance(again, DesignPage)
    assert [r.kind for r in again.view.parts.rows] == ["reward-model", "keywords"]
    assert not again.edits.can_undo


def test_a_function_runs_only_when_it_is_allowed(qtbot: QtBot, open_page, tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("def reward(prompt, answer):\n    return len(answer)\n", encoding="utf-8")
    page = open_page("design")
    assert isinstance(page, DesignPage)
    part = {**design_draft.fresh("python-function"), "file": str(mine)}
    page._edit(page.edits.now.added(part))
    row = page.view.parts.rows[0]
    qtbot.waitUntil(lambda: "not allowed to run yet" in row.problem.text(), timeout=LONG)
    qtbot.mouseClick(row.allow, LEFT)
    asked = dialog(AllowDialog)
    assert asked.findChildren(Banner)[0].detail() == FunctionPart.about.warning
    asked.reject()
    assert not user_functions.is_allowed(mine)
    qtbot.mouseClick(row.allow, LEFT)
    qtbot.mouseClick(dialog(AllowDialog).allow, LEFT)
    assert user_functions.is_allowed(mine)
    qtbot.waitUntil(lambda: not row.problem.text(), timeout=LONG)
