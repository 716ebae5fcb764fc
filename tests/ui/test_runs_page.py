"""The table of runs, comparing and lineage in the real window, on records without training."""

from __future__ import annotations

import math

import pytest
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtWidgets import QApplication, QDialog
from pytestqt.qtbot import QtBot

from workbench.app import runs as app_runs
from workbench.app.workspace import Workspace
from workbench.config.ppo import PPOSettings
from workbench.events import Step
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.memory_card import MemoryCard
from workbench.ui.pages.rows import RowsView
from workbench.ui.pages.runs import RunsPage
from workbench.ui.pages.runs_dialogs import DeleteDialog, FiguresDialog, NoteDialog
from workbench.ui.pages.train import TrainPage

LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier
SHIFT = Qt.KeyboardModifier.ShiftModifier


def add_run(
    ws: Workspace, name: str, kl: list[float], status: str = "done", **settings: object
) -> int:
    """A policy run with a KL per update, and a reward that is a tenth of it."""
    runs = ws.experiment.runs
    values = {**PPOSettings(updates=len(kl) or 4).model_dump(), **settings}
    run_id = runs.create("policy", "ppo", name, values, {"reward_run": 1})
    steps = [
        Step(i, len(kl), {"objective/kl": v, "objective/scores": v / 10}, 1.0)
        for i, v in enumerate(kl, start=1)
    ]
    runs.append_events(run_id, steps)
    runs.finish(run_id, status, error="Memory ran out." if status == "failed" else "")  # type: ignore[arg-type]
    return run_id


@pytest.fixture
def page(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> RunsPage:
    """A reward model, three policies of which one crashed, and an evaluation; run 1 to 5.

    The Train page plans no memory, for which it would load torch.
    """
    monkeypatch.setattr(MemoryCard, "plan_for", lambda *_, **__: None)
    ws = window.ws
    runs = ws.experiment.runs
    runs.finish(
        runs.create("reward", "reward", "Reward 1", {}, {"labels_digest": "a" * 64}), "done"
    )
    add_run(ws, "PPO 1", [1.0, 2.0, 3.0], seed=3)
    add_run(ws, "PPO 2", [4.0, math.nan], learning_rate=3e-4)
    add_run(ws, "PPO 3", [], "failed")
    runs.finish(
        runs.create("evaluation", "evaluation", "Evaluation 1", {}, {"policy_run": 2}), "done"
    )
    window.resize(1440, 900)
    window.show_page("runs")
    shown = window.page("runs")
    assert isinstance(shown, RunsPage)
    return shown


def names(page: RunsPage) -> list[str]:
    return [row.run.name for row in page.table.rows()]


def to_row(qtbot: QtBot, page: RunsPage, row: int) -> None:
    """With the focus: a dialog that closes leaves no window active on this platform."""
    page.table.selectRow(row)
    page.window().activateWindow()
    page.table.setFocus()
    qtbot.waitUntil(page.table.hasFocus)


def answer(dialog_type: type[QDialog], do) -> None:
    """Do something with the dialog that is about to open."""

    def look() -> None:
        dialog = QApplication.activeModalWidget()
        if isinstance(dialog, dialog_type):
            do(dialog)
        else:
            QTimer.singleShot(10, look)

    QTimer.singleShot(0, look)


def test_runs_are_found_ordered_annotated_deleted_and_cloned(qtbot: QtBot, page: RunsPage) -> None:
    ws, table, filters = page.ws, page.table, page.filters
    assert names(page) == ["Evaluation 1", "PPO 3", "PPO 2", "PPO 1", "Reward 1"]
    titles = [column.title for column in table.run_columns]

    def cell(row: int, title: str) -> str:
        return str(table.rows_model.index(row, titles.index(title)).data())

    # Figures are read beside the window; one that ended as NaN is a dash.
    qtbot.waitUntil(lambda: cell(3, "KL, nats") == "3.00")
    assert (cell(2, "KL, nats"), cell(2, "Updates"), cell(1, "Updates")) == ("–", "2 / 2", "0 / 4")
    assert (cell(3, "Seed"), cell(4, "Kind"), cell(3, "Algorithm")) == ("3", "Reward model", "PPO")

    # In the order of a column by its head, and by the keyboard.
    header = table.horizontalHeader()
    x = header.sectionViewportPosition(titles.index("KL, nats")) + 8
    qtbot.mouseClick(header.viewport(), LEFT, pos=QPoint(x, 8))
    assert names(page)[0] == "PPO 1"
    assert filters.order.currentText() == "By KL, nats"
    filters.order.setFocus()
    qtbot.keyClick(filters.order, Qt.Key.Key_Home)
    qtbot.keyClick(filters.order, Qt.Key.Key_Down)
    qtbot.keyClick(filters.turn, Qt.Key.Key_Space)
    assert names(page) == ["Evaluation 1", "PPO 1", "PPO 2", "PPO 3", "Reward 1"]

    # Filters: by kind, by state, by words.
    filters.kind.setCurrentIndex(filters.kind.findData("policy"))
    filters.status.setCurrentIndex(filters.status.findData("failed"))
    assert names(page) == ["PPO 3"]
    assert page.header.facts() == "1 of 5 runs shown"
    filters.kind.setCurrentIndex(0)
    filters.status.setCurrentIndex(0)

    # A note and tags, and one taken back.
    to_row(qtbot, page, 1)

    def write(dialog: NoteDialog) -> None:
        dialog.note.setPlainText("the best so far 最好")
        dialog.tags.setText("paper, best, paper")
        dialog.accept()

    answer(NoteDialog, write)
    qtbot.keyClick(table, Qt.Key.Key_F2)
    assert (ws.run(2).note, ws.run(2).tags) == ("the best so far 最好", ("paper", "best"))
    qtbot.keyClicks(filters.search, "far paper")
    assert names(page) == ["PPO 1"]
    filters.search.clear()
    filters.tag.setCurrentIndex(filters.tag.findData("paper"))
    assert names(page) == ["PPO 1"]
    filters.tag.setCurrentIndex(0)

    # Deleting tells what was made from it, and comes back by Ctrl+Z.
    to_row(qtbot, page, 1)
    told: list[str] = []

    def agree(dialog: DeleteDialog) -> None:
        told.append(dialog.words.text())
        dialog.delete_button.click()

    answer(DeleteDialog, agree)
    qtbot.keyClick(table, Qt.Key.Key_Delete)
    assert told[0].startswith("Evaluation 1 stays")
    assert "PPO 1" not in names(page)
    to_row(qtbot, page, 0)
    qtbot.keyClick(table, Qt.Key.Key_Z, CTRL)
    qtbot.waitUntil(lambda: "PPO 1" in names(page))

    # Several at once: their figures in one folder.
    to_row(qtbot, page, 1)
    qtbot.keyClick(table, Qt.Key.Key_Down, SHIFT)
    assert [run.name for run in page.chosen()] == ["PPO 1", "PPO 2"]
    assert page.bar.words() == "2 runs chosen"
    assert not page.bar.note_button.isEnabled()

    def export(dialog: FiguresDialog) -> None:
        assert dialog.form.count() == 4
        dialog.form.setCurrentIndex(dialog.form.findData("jsonl"))
        dialog.write.click()

    answer(FiguresDialog, export)
    qtbot.mouseClick(page.bar.figures_button, LEFT)
    qtbot.waitUntil(lambda: "Figures of 2 runs is done" in page.banner.text())
    assert len([*(ws.path / "exports" / "metrics-jsonl").glob("*.jsonl")]) == 2

    # Its settings in the form of a new run; what it was made with and is gone is told.
    table.selectRow(1)
    qtbot.mouseClick(page.bar.clone_button, LEFT)
    train = page.window().page("train")  # type: ignore[attr-defined]
    assert isinstance(train, TrainPage)
    assert train.shown is None
    assert train.form.settings().seed == 3
    assert train.inputs.chosen()["reward_run"] == 1
    assert "PPO 1, for a new run" in train.banner.text()


def test_chosen_runs_are_compared(qtbot: QtBot, page: RunsPage) -> None:
    ws, view = page.ws, page.compare
    table = page.table
    to_row(qtbot, page, 1)
    assert not page.compare_button.isEnabled()
    for _ in range(2):
        qtbot.keyClick(table, Qt.Key.Key_Down, SHIFT)
    qtbot.keyClick(table, Qt.Key.Key_D, CTRL)
    qtbot.waitUntil(lambda: len(view.charts) == 2)
    assert view.isVisible()
    told = [chart.accessibleDescription() for chart in view.charts]
    # A curve that ends as NaN is drawn to its last number; a run that crashed at once has none.
    assert [chart.accessibleName() for chart in view.charts] == ["Reward", "KL to reference, nats"]
    assert told[1].startswith("PPO 2: 4 → 4; PPO 1: 1 → ")
    assert page.grab().toImage().width() > 0

    def rows(name: str) -> dict[str, tuple[str, ...]]:
        found = [t for t in view.findChildren(RowsView) if t.accessibleName() == name]
        return dict(found[-1].rows())

    differing = rows("Settings that differ")
    assert differing["Learning rate"][0] != differing["Learning rate"][1] == "0.0003"
    assert differing["Seed"] == ("0", "0", "3")
    assert "KL coefficient" not in differing
    ended = rows("How they ended")
    assert ended["Why"] == ("Memory ran out.", "–", "–")
    assert ended["KL to reference, nats"] == ("–", "4 at 1, then no number", "3")

    # Other smoothing, fewer figures, in numbers.
    view.smoothing.setCurrentIndex(0)
    qtbot.waitUntil(lambda: "PPO 1: 1 → 3" in view.charts[-1].accessibleDescription())
    view.figures_menu.actions()[0].trigger()
    qtbot.waitUntil(lambda: len(view.charts) == 1)
    qtbot.mouseClick(view.table_button, LEFT)
    numbers = [t for t in view.findChildren(RowsView) if t.isVisible()]
    assert ("KL to reference, nats", ("PPO 1", "1", "1", "3", "3")) in numbers[0].rows()

    # Five runs: a chart for each, on the same axes. One alone cannot be compared.
    ids = [add_run(ws, f"PPO {i}", [1.0, float(i)]) for i in range(4, 7)]
    page.refresh()
    table.choose([2, 3, *ids])
    qtbot.waitUntil(lambda: len(view.charts) == 5)
    assert len({(chart.x_axis, chart.y_axis) for chart in view.charts}) == 1
    table.choose([2])
    qtbot.waitUntil(view.problem.isVisible)
    assert view.problem.text() == "1 run is chosen. Choose 2 to 6 runs to compare."
    qtbot.mouseClick(page.compare_button, LEFT)
    assert page.details.isVisible()


def test_the_lineage_is_walked_through_by_keys_and_mouse(qtbot: QtBot, page: RunsPage) -> None:
    graph = page.lineage.graph
    app_runs.delete(page.ws, [1])
    to_row(qtbot, page, 3)
    qtbot.mouseClick(page.lineage_button, LEFT)
    qtbot.waitUntil(lambda: graph.current() is not None)
    words = graph.accessibleDescription()
    assert words == (
        "Policies: PPO 1, finished. Made from Reward 1 (scores). Went into Evaluation 1 (policy)."
    )
    qtbot.keyClick(graph, Qt.Key.Key_Left)
    assert "Reward 1, deleted or gone" in graph.accessibleDescription()
    opened: list[str] = []
    graph.opened.connect(lambda node: opened.append(node.title))
    qtbot.keyClick(graph, Qt.Key.Key_Return)
    window = page.window()
    assert isinstance(window, MainWindow)
    assert "was deleted" in window.banner.text()
    qtbot.keyClick(graph, Qt.Key.Key_Right)
    qtbot.keyClick(graph, Qt.Key.Key_Down)
    assert "PPO 2" in page.lineage.words.text()
    assert page.grab().toImage().width() > 0
    # Only what hangs together with the run that was chosen in the table.
    page.lineage.only.click()
    assert "PPO 2" not in page.lineage.words.text()
    place = graph.box("run:2").center().toPoint()
    qtbot.mouseClick(graph, LEFT, pos=place)
    assert "PPO 1" in page.lineage.words.text()
    qtbot.mouseDClick(graph, LEFT, pos=place)
    assert opened == ["Reward 1", "PPO 1"]
    assert window.stack.shown == "train"
    train = window.page("train")
    assert isinstance(train, TrainPage)
    assert train.shown == 2
