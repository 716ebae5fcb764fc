"""Order of the queue: from the menu to the pair on the screen, in the real window."""

from __future__ import annotations

import importlib
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pairs
from workbench.app import filling, library, queueing
from workbench.app.workspace import Workspace
from workbench.config.queueing import FillSettings, QueueSettings
from workbench.jobs.runner import Job
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.queue_dialog import QueueDialog

WAIT_MS = 60_000


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    """As elsewhere, but its worker is waited for: two that load models at once break both."""
    workspace = Workspace.open(tmp_path / "experiment", create=True)
    yield workspace
    assert workspace.close(90)


@pytest.fixture
def tiny(ws: Workspace) -> Workspace:
    # Not within a job that a test waits for: on a busy machine it takes minutes.
    importlib.import_module("workbench.rewards.neural")
    library.select_model(ws, "tiny")
    ws.keeps_core_free = True
    return ws


def ask(window: MainWindow) -> QueueDialog:
    window.actions_["rank.order"].trigger()
    (dialog,) = window.findChildren(QueueDialog)
    return dialog


def queue_of(ws: Workspace) -> list[int]:
    rows = ws.experiment.database.rows(
        "SELECT comparison_id FROM queue WHERE annotator_id ="
        " (SELECT id FROM annotators WHERE name = ?) ORDER BY priority, comparison_id",
        (ws.annotator,),
    )
    return [row["comparison_id"] for row in rows]


def finished(qtbot: QtBot, window: MainWindow, kind: str) -> list[Job]:
    """The jobs of a kind that end until one has."""
    ended: list[Job] = []
    window.bridge.finished.connect(lambda job, _: ended.append(job) if job.kind == kind else None)
    qtbot.waitUntil(lambda: bool(ended), timeout=WAIT_MS)
    return ended


def test_the_order_changes_behind_the_pair_on_the_screen(
    qtbot: QtBot, ws: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    add_pairs(ws, 12)
    window = open_window()
    shown = window.rank.item
    dialog = ask(window)
    dialog.form.set_values({"strategy": "random", "seed": 3})
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    (job,) = finished(qtbot, window, queueing.KIND)
    assert job.outcome == "done"
    assert window.job_bar.job is job  # its progress was in the job bar
    assert window.rank.item == shown
    queue = queue_of(ws)
    assert shown is not None
    assert queue[0] == shown.comparison.id
    assert queue[1:] != sorted(queue[1:])
    # Pair after pair comes in the new order.
    seen = []
    for _ in range(4):
        assert window.rank.item is not None
        seen.append(window.rank.item.comparison.id)
        qtbot.waitUntil(lambda: window.rank.is_idle)
        window.rank.judge("first")
    assert seen == queue[:4]


def test_after_so_many_labels_the_order_is_worked_out_again(
    qtbot: QtBot, tiny: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    add_pairs(tiny, 14)
    window = open_window()
    tiny.experiment.settings.set(
        "queue", QueueSettings(strategy="uncertainty", reorder_every=8).model_dump()
    )
    before = queue_of(tiny)
    rng = random.Random(1)
    for n in range(8):
        qtbot.waitUntil(lambda: window.rank.is_idle)
        assert not [j for j in window.bridge.jobs if j.kind == queueing.KIND], n
        window.rank.judge(rng.choice(["first", "second"]))
    shown = window.rank.item
    (job,) = finished(qtbot, window, queueing.KIND)
    assert job.outcome == "done"
    assert window.rank.item == shown
    assert len(queue_of(tiny)) == 6
    assert queue_of(tiny) != before[8:]
    assert not queueing.is_due(tiny)


def test_the_queue_is_kept_filled_until_it_is_stopped(
    qtbot: QtBot, tiny: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    add_pairs(tiny, 3)
    window = open_window()
    dialog = ask(window)
    assert not dialog.fill_form.isEnabled()
    qtbot.mouseClick(dialog.keep_filled, Qt.MouseButton.LeftButton)
    assert dialog.fill_form.isEnabled()
    dialog.fill_form.set_values({"n_pending": 6, "max_new_tokens": 8, "batch_size": 2})
    qtbot.mouseClick(dialog.start, Qt.MouseButton.LeftButton)
    pending = lambda: tiny.experiment.comparisons.counts(tiny.annotator).pending  # noqa: E731
    qtbot.waitUntil(lambda: pending() >= 6, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.bridge.jobs, timeout=WAIT_MS)
    assert filling.is_on(tiny)
    # One less, and another comes by itself.
    window.rank.judge("first")
    (job,) = finished(qtbot, window, filling.KIND)
    assert job.outcome == "done"
    assert pending() >= 6
    # Stopped by hand it stays stopped.
    filling.switch(
        tiny, True, FillSettings(n_pending=100, max_new_tokens=64, temperature=5.0, batch_size=1)
    )
    window.bridge.experiment_changed.emit()
    qtbot.waitUntil(lambda: bool(window.bridge.jobs), timeout=WAIT_MS)
    window.bridge.jobs[0].token.request_stop()
    qtbot.waitUntil(lambda: not filling.is_on(tiny), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not window.bridge.jobs, timeout=WAIT_MS)
    assert "not kept filled" in window.banner.text()
    n = pending()
    window.rank.judge("first")
    # What tells the window of a judgement is what a new job would follow from, at once.
    with qtbot.waitSignal(window.bridge.experiment_changed, timeout=WAIT_MS):
        pass
    assert not window.bridge.jobs
    assert pending() == n - 1


def test_without_a_model_nothing_is_filled_and_a_sentence_says_why(
    ws: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    window = open_window()
    filling.switch(ws, True, FillSettings())
    window.bridge.experiment_changed.emit()
    assert not filling.is_on(ws)
    assert "No model is chosen" in window.banner.text()


def test_wrong_settings_cannot_be_started(
    ws: Workspace, open_window: Callable[[], MainWindow]
) -> None:
    dialog = ask(open_window())
    assert not dialog.form.fields["share_random"].control.isEnabled()
    dialog.form.set_values({"strategy": "mix"})
    assert dialog.form.fields["share_random"].control.isEnabled()
    assert dialog.start.isEnabled()
    dialog.form.set_values({"candidates": 0})
    assert not dialog.start.isEnabled()
