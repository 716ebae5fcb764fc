"""The Train page in the real window: settings, a real run on a tiny model, and its ends."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit, QPushButton
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from workbench.app import label_rounds
from workbench.app import runs as app_runs
from workbench.app.workspace import Workspace
from workbench.data.folders import verify
from workbench.data.records import NewCompletion
from workbench.jobs.runner import Job
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.train import TrainPage

LONG = 60_000
LEFT = Qt.MouseButton.LeftButton
ENDLESS = {
    "updates": 5000,
    "batch_size": 4,
    "micro_batch_tokens": 256,
    "epochs": 1,
    "max_new_tokens": 8,
    "learning_rate": 1e-3,
    "checkpoint_every": 0,
    "n_samples": 3,
}


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment up to its reward model, made once and copied for each test."""
    root = tmp_path_factory.mktemp("trained")
    model = tinymodels.write(root / "random-llama", "llama")
    ws = ready.new_experiment(root / "experiment", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    # The panel shall have something to rank while the run goes on.
    prompt = ws.experiment.prompts.list(split="train")[0].id
    pair = ws.experiment.completions.add_many(
        [NewCompletion(prompt, text) for text in ("a good one", "a bad one")]
    )
    ws.experiment.comparisons.add_many([(prompt, pair[0], pair[1])])
    assert ws.close(60)
    return root / "experiment"


@pytest.fixture
def open_train(
    qtbot: QtBot, tmp_path: Path, trained_folder: Path
) -> Iterator[Callable[..., TrainPage]]:
    opened: list[Workspace] = []

    def open_(folder: Path | None = None, width: int = 1440) -> TrainPage:
        if folder is None:
            folder = tmp_path / "experiment"
            shutil.copytree(trained_folder, folder)
        ws = Workspace.open(folder, create=not folder.exists())
        opened.append(ws)
        window = MainWindow(ws)
        qtbot.addWidget(window)
        window.resize(width, 900)
        window.show()
        qtbot.waitExposed(window)
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        window.show_page("train")
        page = window.page("train")
        assert isinstance(page, TrainPage)
        return page

    yield open_
    for ws in opened:
        assert ws.close(60)


def start(qtbot: QtBot, page: TrainPage, **settings: object) -> Job:
    page.form.set_values(ENDLESS | settings)
    qtbot.mouseClick(page.start_button, LEFT)
    job = page.job()
    assert job is not None
    return job


def control(page: TrainPage, name: str) -> QLineEdit:
    edit = page.form.fields[name].control
    assert isinstance(edit, QLineEdit)
    return edit


def press(qtbot: QtBot, button: QPushButton | None) -> None:
    assert button is not None
    qtbot.mouseClick(button, LEFT)


def told(page: TrainPage) -> str:
    return f"{page.banner.text()} {page.banner.detail()}"


def n_points(page: TrainPage, name: str = "objective/kl") -> int:
    return len(page.view.charts.charts[name].series)


def test_a_run_from_the_page_to_the_saved_adapter(qtbot: QtBot, open_train) -> None:
    page = open_train()
    window = page.window()
    assert isinstance(window, MainWindow)
    job = start(qtbot, page)
    qtbot.waitUntil(lambda: n_points(page) >= 3, timeout=LONG)
    qtbot.waitUntil(lambda: len(page.view.samples.table.rows()) == 3, timeout=LONG)
    assert not page.start_button.isEnabled()
    assert page.badge.isVisible()

    # A pair is ranked by key while the model trains.
    judged = page.ws.overview().n_judged
    window.rank.setFocus()
    qtbot.keyClick(window.rank, Qt.Key.Key_1)
    qtbot.waitUntil(lambda: page.ws.overview().n_judged == judged + 1)

    qtbot.mouseClick(window.job_bar.pause_button, LEFT)
    qtbot.waitUntil(lambda: job.token.is_paused)
    qtbot.mouseClick(window.job_bar.pause_button, LEFT)
    seen = n_points(page)
    qtbot.waitUntil(lambda: n_points(page) > seen, timeout=LONG)

    qtbot.mouseClick(window.job_bar.stop_button, LEFT)
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)
    run = page.run()
    assert run is not None
    assert run.status == "stopped"
    adapter = page.ws.artifact_folder(run.id, "adapter")
    assert verify(adapter) == []
    assert json.loads((adapter / "adapter_config.json").read_text())["peft_type"] == "LORA"
    qtbot.waitUntil(lambda: "was stopped at update" in page.banner.text())
    stored = page.ws.experiment.runs.metrics(run.id)["objective/kl"]
    qtbot.waitUntil(lambda: n_points(page) == len(stored))


def test_a_stopped_run_goes_on_where_it_ended(qtbot: QtBot, open_train) -> None:
    page = open_train()
    job = start(qtbot, page, checkpoint_every=2)
    qtbot.waitUntil(lambda: n_points(page) >= 4, timeout=LONG)
    job.token.request_stop()
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)
    # The worker is done before the window has been told.
    qtbot.waitUntil(lambda: page.banner.action_button is not None)
    before = n_points(page)
    press(qtbot, page.banner.action_button)
    job = page.job()
    assert job is not None
    qtbot.waitUntil(lambda: n_points(page) >= before + 2, timeout=LONG)
    assert len(page.runs()) == 1
    page.ws.runner.cancel(job)
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)


def test_wrong_values_are_told_at_their_fields_and_hinder_the_start(
    qtbot: QtBot, open_train
) -> None:
    page = open_train()
    rate, batch = control(page, "learning_rate"), control(page, "batch_size")
    for editor, text in ((rate, "7"), (batch, "0")):
        editor.setFocus()
        editor.selectAll()
        qtbot.keyClicks(editor, text)
    assert page.form.n_problems() == 2
    assert not page.start_button.isEnabled()
    assert page.banner.isVisible()
    assert "2 settings must be corrected" in page.banner.text()
    assert "between 0 and 0.01" in page.form.fields["learning_rate"].problem()
    assert "between 1 and" in page.form.fields["batch_size"].problem()
    page.setFocus()
    press(qtbot, page.banner.action_button)
    assert control(page, "learning_rate").hasFocus()
    rate.selectAll()
    qtbot.keyClicks(rate, "1e-4")
    assert "1 setting must be corrected" in page.banner.text()
    # A start by key leads to the field as well, and starts nothing.
    page.start()
    assert batch.hasFocus()
    page.form.set_values({"batch_size": 60, "minibatches": 8})
    assert "56 or 64" in page.form.fields["batch_size"].problem()
    page.form.set_values({"batch_size": 64})
    assert page.start_button.isEnabled()
    assert not page.banner.isVisible()
    assert page.runs() == []


def test_live_settings_can_change_while_the_others_are_locked(qtbot: QtBot, open_train) -> None:
    page = open_train()
    job = start(qtbot, page)
    qtbot.waitUntil(lambda: n_points(page) >= 2, timeout=LONG)
    assert not control(page, "batch_size").isEnabled()
    rate = control(page, "learning_rate")
    assert rate.isEnabled()
    rate.setFocus()
    rate.selectAll()
    qtbot.keyClicks(rate, "0.002")
    qtbot.keyClick(rate, Qt.Key.Key_Return)

    def has_changed() -> bool:
        rates = page.record(page.run()).series["optim/lr"][1]
        return rates[-1] > 0.00101

    qtbot.waitUntil(has_changed, timeout=LONG)
    page.ws.runner.cancel(job)
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)


def test_a_failed_run_shows_its_sentence_and_is_kept(qtbot: QtBot, open_train) -> None:
    page = open_train()
    (scorer,) = page.ws.experiment.runs.list("reward")
    weights = page.ws.artifact_folder(scorer.id, "reward_model") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    qtbot.mouseClick(page.start_button, LEFT)
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)
    qtbot.waitUntil(lambda: "failed" in page.banner.text())
    assert "is damaged" in told(page)
    run = page.run()
    assert run is not None
    assert run.status == "failed"
    assert page.start_button.isEnabled()


def test_an_empty_experiment_shows_the_way_to_the_first_run(
    qtbot: QtBot, tmp_path: Path, open_train
) -> None:
    page = open_train(tmp_path / "empty")
    assert not page.start_button.isEnabled()
    assert "Models page" in page.start_button.toolTip()
    assert page.steps.isVisible()
    go = page.steps.next_button()
    assert go is not None
    qtbot.mouseClick(go, LEFT)
    assert page.window().stack.currentWidget().key == "models"


def test_on_a_small_window_the_settings_wait_behind_f4(qtbot: QtBot, open_train) -> None:
    page = open_train(width=1100)
    assert not page.column.isVisible()
    qtbot.keyClick(page.window(), Qt.Key.Key_F4)
    assert page.column.isVisible()
    qtbot.keyClick(page.window(), Qt.Key.Key_F4)
    assert not page.column.isVisible()


def test_a_run_asks_for_labels_and_goes_on_by_itself(
    qtbot: QtBot, open_train: Callable[..., TrainPage]
) -> None:
    page = open_train()
    ws = page.ws
    box = page.inputs.held_back
    assert [box.itemData(i) for i in range(box.count())] == ["", "annotator", "run:1"]
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Down)
    job = start(qtbot, page, updates=2, labels_every=1, labels_wanted=2)
    qtbot.waitUntil(lambda: job.outcome == "stopped", timeout=LONG)
    qtbot.waitUntil(page.round.isVisible, timeout=LONG)
    assert "stopped after update 1" in page.round.text.text()
    wanted = label_rounds.waiting(ws)[0].n_wanted
    assert not page.round.go_on.isEnabled()

    press(qtbot, page.round.rank)
    panel = page.context.rank_panel()
    for n in range(wanted):
        asked = ws.experiment.label_rounds.waiting()[0].comparison_ids
        qtbot.waitUntil(lambda: panel.item is not None and panel.item.comparison.id in asked)  # noqa: B023
        assert ws.experiment.label_rounds.n_judged(ws.experiment.label_rounds.waiting()[0]) == n
        before = panel.item
        qtbot.keyClick(panel, Qt.Key.Key_1)
        qtbot.waitUntil(lambda: panel.item is not before)  # noqa: B023
    qtbot.waitUntil(lambda: ws.run(job.run_id or 0).status == "done", timeout=LONG)
    qtbot.waitUntil(page.round.isHidden, timeout=LONG)
    assert ws.run(3).kind == "reward"
    [label_round] = ws.experiment.label_rounds.of_run(2)
    assert label_round.outcome in ("accepted", "refused")
    assert label_round.reward_run_trained == 3
    assert [step for step, _ in app_runs.metrics(ws, 2)["judge/score"]] == [1]
