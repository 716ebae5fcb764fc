"""The memory card of the Train page, and what hinders a run, in the real window."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLineEdit
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from workbench.app import planning
from workbench.app.workspace import Workspace
from workbench.config.algorithms import REWARD
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.reward import RewardPage
from workbench.ui.pages.train import TrainPage

LONG = 60_000
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def scored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An experiment up to its reward model, made once and copied for each test."""
    root = tmp_path_factory.mktemp("scored")
    model = tinymodels.write(root / "random-llama", "llama")
    ws = ready.new_experiment(root / "experiment", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    assert ws.close(60)
    return root / "experiment"


@pytest.fixture
def open_train(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[..., TrainPage]]:
    opened: list[Workspace] = []

    def open_(source: Path | None) -> TrainPage:
        folder = tmp_path / "experiment"
        if source is not None:
            shutil.copytree(source, folder)
        ws = Workspace.open(folder, create=source is None)
        opened.append(ws)
        window = MainWindow(ws)
        qtbot.addWidget(window)
        window.resize(1440, 900)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow)
        window.show_page("train")
        page = window.page("train")
        assert isinstance(page, TrainPage)
        return page

    yield open_
    for ws in opened:
        assert ws.close(60)


@pytest.fixture
def page(qtbot: QtBot, open_train, scored_folder: Path) -> TrainPage:
    """The page with its plan drawn."""
    opened: TrainPage = open_train(scored_folder)
    qtbot.waitUntil(opened.memory.isVisible, timeout=LONG)
    return opened


def enter(qtbot: QtBot, page: TrainPage, name: str, text: str) -> None:
    editor = page.form.fields[name].control
    assert isinstance(editor, QLineEdit)
    editor.setFocus()
    editor.selectAll()
    qtbot.keyClicks(editor, text)


def planned(page: TrainPage) -> int:
    settings = page.forms.settings()
    found = page.memory.found()
    assert found is not None
    plan = planning.plan(page.ws, page.inputs.algorithm(), settings, found)
    assert plan is not None
    return plan.memory.peak_bytes


def test_the_bar_ends_at_the_peak_and_follows_the_settings(qtbot: QtBot, page: TrainPage) -> None:
    before = page.memory.bar.total()
    assert before == planned(page)
    assert "Base" in page.memory.bar.accessibleDescription()
    assert "free" in page.memory.accessibleDescription()
    enter(qtbot, page, "batch_size", "4096")
    enter(qtbot, page, "micro_batch_tokens", "1000000")
    qtbot.waitUntil(lambda: page.memory.bar.total() > before, timeout=LONG)
    assert page.memory.bar.total() == planned(page)


def test_another_algorithm_has_another_plan(qtbot: QtBot, page: TrainPage) -> None:
    before = page.memory.bar.total()
    page.inputs.method.setCurrentIndex(page.inputs.method.findData("dpo"))
    qtbot.waitUntil(lambda: page.memory.bar.total() != before, timeout=LONG)
    assert page.memory.bar.total() == planned(page)


def test_what_is_too_large_is_made_to_fit_by_a_click(
    qtbot: QtBot, page: TrainPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(qtbot, page, "batch_size", "4096")
    enter(qtbot, page, "micro_batch_tokens", "1000000")
    needed = planned(page)
    monkeypatch.setattr("workbench.app.memory.psutil.Process", _Holding)
    monkeypatch.setattr("workbench.app.memory.free_ram_bytes", lambda: int(needed * 0.98))
    enter(qtbot, page, "micro_batch_tokens", "1000000")
    qtbot.waitUntil(page.memory.remark.isVisible, timeout=LONG)
    assert page.memory.bar.is_over()
    assert "more than there is" in page.memory.remark.text()
    assert "Micro-batch" in page.memory.remark.text()
    qtbot.mouseClick(page.memory.fit_button, LEFT)
    qtbot.waitUntil(lambda: not page.memory.bar.is_over(), timeout=LONG)
    assert page.form.settings().micro_batch_tokens < 1_000_000
    assert page.form.settings().batch_size == 4096
    assert not page.memory.remark.isVisible()
    # A second click has nothing to do and says so.
    wanted = page.form.values()
    qtbot.mouseClick(page.memory.fit_button, LEFT)
    assert page.form.values() == wanted
    assert "fit already" in page.memory.remark.text()


class _Holding:
    """A process that holds nothing, so that the room is what is free."""

    def memory_info(self) -> _Holding:
        return self

    rss = 0


def test_the_reward_model_has_a_plan_too(qtbot: QtBot, page: TrainPage) -> None:
    window = page.window()
    assert isinstance(window, MainWindow)
    window.show_page("reward")
    reward = window.page("reward")
    assert isinstance(reward, RewardPage)
    qtbot.waitUntil(reward.memory.isVisible, timeout=LONG)
    settings, found = reward.form.settings(), reward.memory.found()
    assert found is not None
    plan = planning.plan(page.ws, REWARD, settings, found)
    assert plan is not None
    assert reward.memory.bar.total() == plan.memory.peak_bytes


def test_no_room_for_any_prompt_is_told_under_the_answer_length(
    qtbot: QtBot, page: TrainPage
) -> None:
    field = page.form.fields["max_new_tokens"]
    context = page.ws.model_info().context_length
    enter(qtbot, page, "max_new_tokens", str(context))
    assert "No prompt fits" in field.problem()
    assert page.form.n_problems() == 1
    assert not page.start_button.isEnabled()
    page.start()
    assert page.runs() == []
    assert field.control.hasFocus()
    enter(qtbot, page, "max_new_tokens", "8")
    assert not field.problem()
    assert page.start_button.isEnabled()


def test_everything_that_is_missing_is_told_where_it_is_missing(qtbot: QtBot, open_train) -> None:
    page = open_train(None)
    told = {where: remark.text() for where, remark in page.inputs.remarks.items()}
    assert "No model is chosen" in told["model"]
    assert "no reward model" in told["reward"]
    assert "no training prompts" in told["data"]
    assert told["start"] == ""
    assert page.inputs.remarks["data"].isVisible()
    assert not page.inputs.remarks["start"].isVisible()
    assert not page.memory.isVisible()
    # What the algorithm does not need is not missed.
    page.inputs.method.setCurrentIndex(page.inputs.method.findData("dpo"))
    assert page.inputs.remarks["reward"].text() == ""
    assert "ranked pairs" in page.inputs.remarks["data"].text()


def test_while_a_run_goes_on_what_it_takes_is_measured(qtbot: QtBot, page: TrainPage) -> None:
    page.form.set_values({"updates": 5000, "batch_size": 4, "max_new_tokens": 8, "minibatches": 1})
    qtbot.mouseClick(page.start_button, LEFT)
    job = page.job()
    assert job is not None
    qtbot.waitUntil(lambda: "measured" in page.memory.accessibleDescription(), timeout=LONG)
    assert not page.memory.fit_button.isVisible()
    page.ws.runner.cancel(job)
    qtbot.waitUntil(lambda: page.job() is None, timeout=LONG)
    qtbot.waitUntil(page.memory.fit_button.isVisible, timeout=LONG)
