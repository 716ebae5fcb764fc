"""The Answers page in the real window, with the tiny model behind it."""

from __future__ import annotations

import time

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pair, answer, prompt
from workbench.app import labelling, library
from workbench.app.workspace import Workspace


def test_answers_of_the_chosen_prompt_are_shown(ws: Workspace, open_page) -> None:
    add_pair(ws, "First question", "One.", "Two, cut off", group="demo")
    add_pair(ws, "Second question", "<b>Three</b>", "")
    page = open_page("answers")
    assert [card.text.toPlainText() for card in page.grid.cards] == ["One.", "Two, cut off"]
    assert [card.ending.text() for card in page.grid.cards] == ["stopped by itself", "cut at 64"]
    page.table.selectRow(1)
    texts = [card.text.toPlainText() for card in page.grid.cards]
    assert texts == ["<b>Three</b>", "(empty answer)"]
    assert page.prompt.text.toPlainText() == "Second question"


def test_counts_stand_in_list_and_header(ws: Workspace, open_page) -> None:
    first = add_pair(ws, "First question", "One.", "Two.")
    ws.experiment.prompts.add_many([prompt("Without answers")])
    page = open_page("answers")
    assert [row.n_answers for row in page.model.rows] == [2, 0]
    ws.experiment.completions.add_many([answer(first, "Three.", 2)])
    page.refresh()
    assert [row.n_answers for row in page.model.rows] == [3, 0]
    assert len(page.grid.cards) == 3


def test_cards_stay_while_new_ones_come(ws: Workspace, open_page) -> None:
    first = add_pair(ws, "First question", "One.", "Two.")
    page = open_page("answers")
    before = list(page.grid.cards)
    ws.experiment.completions.add_many([answer(first, "Three.", 2)])
    page.refresh()
    assert page.grid.cards[:2] == before


def test_button_says_how_many_answers(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt(f"Prompt {i}") for i in range(3)])
    ws.experiment.prompts.add_many([prompt("Held", split="heldout")])
    page = open_page("answers")
    n = page.sampling.n_answers()
    assert f" {3 * n} " in page.generate_button.text()
    page.sampling.targets.setCurrentIndex(1)
    page.sampling.targets.activated.emit(1)
    assert f" {n} " in page.generate_button.text()
    page.sampling.form.set_values({"n_answers": 5})
    assert " 5 " in page.generate_button.text()


def test_without_a_model_a_sentence_says_so(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt("Prompt")])
    page = open_page("answers")
    qtbot.mouseClick(page.generate_button, Qt.MouseButton.LeftButton)
    assert "No model is chosen" in page.window().banner.text()
    assert page.generate_button.isEnabled()


def test_answers_stream_in_and_reach_the_rank_panel(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt("Say hello."), prompt("Say good night.")])
    library.select_model(ws, "tiny")
    page = open_page("answers")
    page.sampling.form.set_values({"n_answers": 2, "max_new_tokens": 12, "batch_size": 1})
    page.setFocus()
    qtbot.keyClick(page, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert not page.generate_button.isEnabled()
    qtbot.waitUntil(lambda: len(page.grid.cards) == 2, timeout=60_000)
    qtbot.waitUntil(page.generate_button.isEnabled, timeout=60_000)
    assert [row.n_answers for row in page.model.rows] == [2, 2]
    panel = page.window().rank
    qtbot.waitUntil(lambda: panel.item is not None)
    qtbot.mouseClick(page.send, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(panel.hasFocus)
    qtbot.keyClick(panel, Qt.Key.Key_1)
    assert labelling.progress(ws).n_judged == 1


def test_stop_keeps_what_ended(qtbot: QtBot, ws: Workspace, open_page) -> None:
    ws.experiment.prompts.add_many([prompt(f"Prompt {i}") for i in range(40)])
    library.select_model(ws, "tiny")
    page = open_page("answers")
    page.sampling.form.set_values({"n_answers": 8, "max_new_tokens": 200, "batch_size": 2})
    page.generate()
    qtbot.waitUntil(lambda: ws.experiment.completions.count() > 1, timeout=60_000)
    start = time.monotonic()
    qtbot.mouseClick(page.stop, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: ws.runner.current is None, timeout=10_000)
    # Half a second is the promise; the machine of the tests is shared.
    assert time.monotonic() - start < 2.0
    n = ws.experiment.completions.count()
    assert 1 < n < 320
    qtbot.waitUntil(page.generate_button.isEnabled)
