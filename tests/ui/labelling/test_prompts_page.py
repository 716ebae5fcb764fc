"""The Prompts page in the real window: search, add, import, demo prompts, delete and undo."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pairs, prompt
from workbench.app import exchange, labelling
from workbench.app.workspace import Workspace
from workbench.ui.pages.prompt_dialog import AddPromptsDialog
from workbench.ui.pages.prompts import PromptsPage


def dialog_of(page: PromptsPage) -> AddPromptsDialog:
    found = page.window().findChildren(AddPromptsDialog)
    assert len(found) == 1
    return found[0]


def texts(page: PromptsPage) -> list[str]:
    return [row.prompt.text for row in page.model.rows]


def test_demo_prompts_come_with_one_click(qtbot: QtBot, ws: Workspace, open_page) -> None:
    page = open_page("prompts")
    group = exchange.demo_groups()[0]
    qtbot.waitUntil(page.demo.buttons[0].isVisible)
    qtbot.mouseClick(page.demo.buttons[0], Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(page.model.rows) == group.n)
    assert {row.prompt.group for row in page.model.rows} == {group.name}
    assert labelling.undo(ws) is not None
    assert ws.experiment.prompts.count() == 0


def test_search_finds_words_and_chinese(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many(
        [prompt("Explain the tides."), prompt("请解释奖励模型。"), prompt("Write a haiku.")]
    )
    page = open_page("prompts")
    page.search.setFocus()
    qtbot.keyClicks(page.search, "tide")
    qtbot.waitUntil(lambda: texts(page) == ["Explain the tides."])
    page.search.setText("模型")
    qtbot.waitUntil(lambda: texts(page) == ["请解释奖励模型。"])
    page.search.clear()
    qtbot.waitUntil(lambda: len(texts(page)) == 3)


def test_filters_by_group_and_split(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many(
        [prompt("One", group="a"), prompt("Two", group="b", split="heldout")]
    )
    page = open_page("prompts")
    page.group.setCurrentIndex(page.group.findData("b"))
    page.group.activated.emit(page.group.currentIndex())
    assert texts(page) == ["Two"]
    page.split.setCurrentIndex(page.split.findData("train"))
    page.split.activated.emit(page.split.currentIndex())
    assert texts(page) == []


def test_typed_prompts_are_added(qtbot: QtBot, ws: Workspace, open_page) -> None:
    page = open_page("prompts")
    page.add_text("")
    dialog = dialog_of(page)
    assert not dialog.add.isEnabled()
    qtbot.keyClicks(dialog.text, "First prompt")
    qtbot.keyClick(dialog.text, Qt.Key.Key_Return)
    dialog.text.insertPlainText("第二个提示")  # as an input method commits it
    qtbot.waitUntil(dialog.add.isEnabled)
    dialog.group.setText("mine")
    qtbot.mouseClick(dialog.add, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: texts(page) == ["First prompt", "第二个提示"])
    assert {row.prompt.group for row in page.model.rows} == {"mine"}


def test_paste_opens_the_dialog_on_the_clipboard(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt("There already")])
    page = open_page("prompts")
    QGuiApplication.clipboard().setText("Pasted one\nPasted two")
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    dialog = dialog_of(page)
    assert [row.messages[0].content for row in dialog.preview.rows] == ["Pasted one", "Pasted two"]
    dialog.accept()
    qtbot.waitUntil(lambda: len(texts(page)) == 3)


def test_import_keeps_good_lines_and_names_bad_ones(
    qtbot: QtBot, ws: Workspace, open_page, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.jsonl"
    file.write_text(
        '{"prompt": "Good one"}\nnot json\n{"prompt": ""}\n{"prompt": "Good two"}\n',
        encoding="utf-8",
    )
    page = open_page("prompts")
    page.import_file(file)
    dialog = dialog_of(page)
    assert [problem.line for problem in dialog.preview.problems] == [2, 3]
    assert dialog.problems.isVisible()
    dialog.accept()
    qtbot.waitUntil(lambda: texts(page) == ["Good one", "Good two"])


def test_a_file_that_cannot_be_read_is_told(
    qtbot: QtBot, ws: Workspace, open_page, tmp_path: Path
) -> None:
    page = open_page("prompts")
    page.import_file(tmp_path / "missing.jsonl")
    assert "missing.jsonl" in page.window().banner.text()
    assert page.window().findChildren(AddPromptsDialog) == []


def test_delete_hides_and_undo_brings_back(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 3)
    page = open_page("prompts")
    page.table.setFocus()
    page.table.selectRow(1)
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: len(page.model.rows) == 2)
    assert labelling.progress(ws).n_total == 2
    labelling.undo(ws)
    page.refresh()
    assert len(page.model.rows) == 3


def test_detail_shows_the_whole_prompt(qtbot: QtBot, ws: Workspace, open_page) -> None:
    long = "A long prompt. " * 40
    ws.experiment.prompts.add_many([prompt("Short"), prompt(long, split="heldout")])
    page = open_page("prompts")
    page.table.selectRow(1)
    assert page.detail.text.toPlainText() == long


def test_long_lists_are_read_in_pages(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt(f"Prompt {i}") for i in range(650)])
    page = open_page("prompts")
    assert len(page.model.rows) == 200
    last = page.model.find(650)
    assert page.model.rows[last.row()].prompt.text == "Prompt 649"
    page.table.scrollTo(last)
    page.refresh()
    assert len(page.model.rows) == 650
