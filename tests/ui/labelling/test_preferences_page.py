"""The Preferences page in the real window."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, QPoint, Qt
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pair, add_pairs
from workbench.app import feedback, judgements_list, labelling
from workbench.app.workspace import Workspace
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.main_window import MainWindow
from workbench.ui.models import keyset
from workbench.ui.pages.judgement_words import annotator_text


def judge_all(ws: Workspace, verdicts: list[str]) -> None:
    for verdict in verdicts:
        item = labelling.next_item(ws)
        assert item is not None
        labelling.judge(ws, item.comparison.id, verdict, 2.0)  # type: ignore[arg-type]


def choose(box: QComboBox, value: object) -> None:
    """Choose an entry as a person does."""
    # QComboBox.findData compares False and None as equal to each other.
    [index] = [
        i
        for i in range(box.count())
        if box.itemData(i) is value or (value is not None and box.itemData(i) == value)
    ]
    box.setCurrentIndex(index)
    box.activated.emit(index)


def ids(page: Any) -> list[int]:
    return [row.judgement.id for row in page.model.rows]


def test_newest_judgement_stands_first(ws: Workspace, open_page) -> None:
    add_pairs(ws, 4)
    judge_all(ws, ["first", "tie", "skip"])
    page = open_page("preferences")
    assert [p.judgement.verdict for p in page.model.rows] == ["skip", "tie", "first"]
    assert page.progress.done_text() == "2 of 4 ranked"


def test_filter_and_search(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pair(ws, "什么是奖励模型？", "一种打分的模型。", "不知道。")
    add_pair(ws, "What is a tide?", "Water that rises.", "A soap.")
    labelling.make_comparisons(ws)
    judge_all(ws, ["first", "both_bad"])
    page = open_page("preferences")
    choose(page.filters.verdict, "both_bad")
    assert [p.judgement.verdict for p in page.model.rows] == ["both_bad"]
    choose(page.filters.verdict, None)
    page.filters.search.setText("打分")
    qtbot.waitUntil(lambda: len(page.model.rows) == 1)
    assert page.model.rows[0].prompt.text == "什么是奖励模型？"


def test_a_judgement_can_be_given_again(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 2)
    judge_all(ws, ["first", "second"])
    page = open_page("preferences")
    page.table.selectRow(1)
    wanted = page.model.rows[1].judgement.comparison_id
    qtbot.mouseClick(page.detail.again, Qt.MouseButton.LeftButton)
    panel = page.window().rank
    assert panel.item.comparison.id == wanted
    qtbot.keyClick(panel, Qt.Key.Key_Equal)
    latest = ws.experiment.judgements.latest(wanted, ws.annotator)
    assert latest is not None
    assert latest.verdict == "tie"
    qtbot.waitUntil(lambda: len(page.model.rows) == 3)


def test_simulated_judgements_are_marked(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 3)
    page = open_page("preferences")
    qtbot.mouseClick(page.simulate_button, Qt.MouseButton.LeftButton)
    (dialog,) = page.window().findChildren(SettingsDialog)
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(page.model.rows) == 3, timeout=10_000)
    assert all("simulated" in annotator_text(p.judgement) for p in page.model.rows)
    assert labelling.progress(ws).n_left == 3


def test_export_and_import_give_back_the_rows(
    qtbot: QtBot, ws: Workspace, open_page, tmp_path: Path
) -> None:
    add_pairs(ws, 3)
    judge_all(ws, ["first", "second", "tie"])
    page = open_page("preferences")
    page.export_to(tmp_path / "preferences")
    qtbot.waitUntil(lambda: page.window().banner.text().startswith("2 pairs exported"))
    (file,) = tmp_path.rglob("preferences.jsonl")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 2
    n_before = ws.experiment.judgements.count()
    page.import_file(file)
    qtbot.waitUntil(lambda: "added" in page.window().banner.text())
    assert ws.experiment.judgements.count() >= n_before
    assert len(ws.experiment.judgements.preferences()) == 2


def test_empty_page_says_what_to_do(ws: Workspace, open_page) -> None:
    page = open_page("preferences")
    assert not page.export_button.isEnabled()
    assert not page.table.isVisible()


# Filters and orders


@pytest.fixture
def said(ws: Workspace) -> Workspace:
    """Four judgements: each has something that the others lack."""
    add_pair(ws, "Why is it wet?", "Rain.", "Because.", group="weather")
    add_pair(ws, "What is two?", "One and one.", "Three.", group="sums")
    add_pair(ws, "What is three?", "Two and one.", "Four.", group="sums")
    add_pair(ws, "Name a fish.", "Cod.", "Cat.")
    labelling.make_comparisons(ws)
    add = ws.experiment.judgements.add
    pairs = {c.prompt_id: c.id for c in map(ws.experiment.comparisons.get, range(1, 5))}
    add(pairs[1], "first", ws.annotator, "person", 3.0, strength=1)
    add(pairs[2], "second", ws.annotator, "person", 9.0, strength=2, is_revealed=True)
    add(pairs[3], "tie", "judge", "ai", 0.0)
    add(pairs[4], "skip", ws.annotator, "person", 1.0)
    feedback.tag(ws, 1, None, "天气")
    second = ws.experiment.comparisons.get(pairs[2]).second_id
    feedback.rate(ws, ws.experiment.completions.get(second), 4)
    feedback.comment(ws, 2, second, "counts well")
    return ws


@pytest.mark.parametrize(
    ("box", "value", "wanted"),
    [
        ("verdict", "tie", [3]),
        ("strength", 1, [1]),
        ("strength", 0, [4, 3]),
        ("annotator", "judge", [3]),
        ("kind", "ai", [3]),
        ("group", "sums", [3, 2]),
        ("group", "", [4]),
        ("tag", "天气", [1]),
        ("rating", 4, [2]),
        ("rating", 5, []),
        ("comment", True, [2]),
        ("comment", False, [4, 3, 1]),
        ("order_box", "oldest", [1, 2, 3, 4]),
        ("order_box", "longest", [2, 1, 4, 3]),
        ("order_box", "prompt", [1, 2, 3, 4]),
    ],
)
def test_each_filter_and_order(
    said: Workspace, open_page, box: str, value: object, wanted: list[int]
) -> None:
    page = open_page("preferences")
    page.filters.toggle_more()
    choose(getattr(page.filters, box), value)
    assert ids(page) == wanted
    assert page._table_card._fact.text().startswith(str(len(wanted)))


def test_filters_are_counted_and_cleared_together(qtbot: QtBot, said: Workspace, open_page) -> None:
    page = open_page("preferences")
    filters = page.filters
    assert not filters.clear_button.isVisible()
    qtbot.mouseClick(filters.more_button, Qt.MouseButton.LeftButton)
    choose(filters.group, "sums")
    choose(filters.rating, 4)
    filters.search.setText("three")
    qtbot.waitUntil(lambda: ids(page) == [2])
    assert filters.more_button.text() == "Filters (2)"
    # What is chosen outlives new choices and a closed drawer.
    feedback.tag(said, 3, None, "new")
    page.context.bridge.experiment_changed.emit()
    assert filters.tag.findData("new") > 0
    assert filters.group.currentData() == "sums"
    qtbot.mouseClick(filters.more_button, Qt.MouseButton.LeftButton)
    assert ids(page) == [2]
    qtbot.mouseClick(filters.more_button, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(filters.clear_button, Qt.MouseButton.LeftButton)
    assert ids(page) == [4, 3, 2, 1]
    assert filters.more_button.text() == "Filters"


def test_columns_and_card_say_all_of_a_judgement(said: Workspace, open_page) -> None:
    page = open_page("preferences")
    titles = [column.title for column in page.model.columns]
    assert titles == ["Verdict", "Prompt", "Annotator", "Time", "Tags", "When"]
    texts = {
        row.judgement.id: [column.text(row) for column in page.model.columns[:5]]
        for row in page.model.rows
    }
    assert texts[1] == ["A slightly better", "Why is it wet?", said.annotator, "3.0 s", "天气"]
    assert texts[3] == ["Tie", "What is three?", "AI: judge", "–", ""]
    page.table.selectRow(2)  # the second judgement, newest first
    detail = page.detail
    assert detail._fact.text() == "B clearly better"
    assert "models were revealed" in detail.facts.text()
    assert "9.0 s" in detail.facts.text()
    remarks = detail.remarks[2].text()
    assert remarks == f"★★★★☆  {said.annotator}\n{said.annotator}: counts well"
    assert not detail.remarks[1].isVisible()
    page.table.selectRow(3)
    assert "models were hidden" in detail.facts.text()
    assert detail.remarks[0].text() == "Tags: 天气"


# Many at once


def pick(page: Any, *rows: int) -> None:
    flags = QItemSelectionModel.SelectionFlag
    page.table.selectRow(rows[0])
    for row in rows[1:]:
        page.table.selectionModel().select(page.model.index(row, 0), flags.Select | flags.Rows)


def test_chosen_pairs_are_deleted_and_come_back(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 6)
    judge_all(ws, ["first", "second", "tie", "first"])
    page = open_page("preferences")
    pick(page, 1, 3)
    assert page.bar.words() == "2 chosen"
    qtbot.mouseClick(page.bar.delete_button, Qt.MouseButton.LeftButton)
    assert ids(page) == [4, 2]
    assert page.window().banner.text() == "2 pairs deleted."
    assert page.table.current().judgement.id == 2
    assert labelling.progress(ws).n_total == 4
    assert labelling.undo_name(ws) == "deleted 2 pairs"
    page.window().rank.steps.undo()
    qtbot.waitUntil(lambda: ids(page) == [4, 3, 2, 1])
    assert labelling.progress(ws).n_total == 6


def test_the_delete_key_deletes(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 3)
    judge_all(ws, ["first", "second", "tie"])
    page = open_page("preferences")
    place = page.table.visualRect(page.model.index(0, 0)).center()
    qtbot.mouseClick(page.table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(place))
    qtbot.keyClick(page.table, Qt.Key.Key_Delete)
    assert ids(page) == [2, 1]


def test_chosen_judgements_are_queued_again(qtbot: QtBot, ws: Workspace, open_page) -> None:
    add_pairs(ws, 4)
    judge_all(ws, ["first", "second", "tie"])
    page = open_page("preferences")
    wanted = {page.model.rows[i].judgement.comparison_id for i in (0, 1)}
    pick(page, 0, 1)
    qtbot.mouseClick(page.bar.again_button, Qt.MouseButton.LeftButton)
    assert ids(page) == [1]
    assert all(labelling.is_pending(ws, pair) for pair in wanted)
    assert labelling.undo_name(ws) == "took back 2 judgements"
    labelling.undo(ws)
    assert not any(labelling.is_pending(ws, pair) for pair in wanted)


def test_all_that_match_are_changed_and_not_only_what_is_loaded(
    qtbot: QtBot, ws: Workspace, open_page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "PAGE", 5)
    monkeypatch.setattr(judgements_list, "BATCH", 4)
    add_pairs(ws, 20)
    judge_all(ws, ["first"] * 14 + ["tie"] * 2)
    page = open_page("preferences")
    page.table.setMaximumHeight(80)  # or the view would load all of them
    choose(page.filters.verdict, "first")
    assert len(page.model.rows) < 14
    assert page.bar.all_button.text() == "Choose all 14"
    qtbot.mouseClick(page.bar.all_button, Qt.MouseButton.LeftButton)
    assert page.bar.words() == "All 14 that match are chosen"
    page.model.fetchMore(page.model.index(-1, -1))
    assert page.bar.words() == "All 14 that match are chosen"
    assert len(page.chosen()) == len(page.model.rows)
    qtbot.mouseClick(page.bar.delete_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: not page.model.rows, timeout=10_000)
    assert ws.experiment.judgements.count() == 2
    assert labelling.undo(ws) == "deleted 14 pairs"
    assert ws.experiment.judgements.count() == 16


def test_a_choice_of_all_ends_when_something_else_matches(
    qtbot: QtBot, ws: Workspace, open_page
) -> None:
    add_pairs(ws, 4)
    judge_all(ws, ["first", "second", "tie"])
    page = open_page("preferences")
    page.table.setFocus()
    qtbot.keyClick(page.table, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert page.bar.words() == "All 3 that match are chosen"
    assert not page.bar.all_button.isVisible()
    judge_all(ws, ["skip"])
    page.context.bridge.experiment_changed.emit()
    assert page.bar.words() == "3 chosen"
    page.choose_all()
    choose(page.filters.verdict, "tie")
    assert page.bar.words() == "1 chosen"
    choose(page.filters.verdict, "both_bad")
    assert page.bar.words() == "0 chosen"
    assert not page.bar.delete_button.isEnabled()
    page.delete_chosen()
    assert labelling.undo_name(ws) == "skipped a pair"


def test_nothing_can_be_changed_read_only(ws: Workspace, qtbot: QtBot) -> None:
    add_pairs(ws, 2)
    judge_all(ws, ["first"])
    other = Workspace.open(ws.path, is_read_only=True)
    window = MainWindow(other)
    qtbot.addWidget(window)
    window.show()
    window.show_page("preferences")
    page: Any = window.page("preferences")
    assert not page.bar.delete_button.isEnabled()
    assert "read-only" in page.bar.delete_button.toolTip()
    page.delete_chosen()
    page.queue_chosen_again()
    assert len(page.model.rows) == 1
    window.finish()
