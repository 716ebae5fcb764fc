"""The Preferences page in the real window."""

from __future__ import annotations

import json
from pathlib import Path

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pair, add_pairs
from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.ui.pages.annotator_dialog import AnnotatorDialog


def judge_all(ws: Workspace, verdicts: list[str]) -> None:
    for verdict in verdicts:
        item = labelling.next_item(ws)
        assert item is not None
        labelling.judge(ws, item.comparison.id, verdict, 2.0)  # type: ignore[arg-type]


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
    page.verdict.setCurrentIndex(page.verdict.findData("both_bad"))
    page.verdict.activated.emit(page.verdict.currentIndex())
    assert [p.judgement.verdict for p in page.model.rows] == ["both_bad"]
    page.verdict.setCurrentIndex(0)
    page.verdict.activated.emit(0)
    page.search.setText("打分")
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
    (dialog,) = page.window().findChildren(AnnotatorDialog)
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(page.model.rows) == 3, timeout=10_000)
    assert all("simulated" in page.annotator_text(p) for p in page.model.rows)
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
