"""Reward model, Evaluate, Runs, Models and Overview in the real window, on a tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from tests import ready, tinymodels
from workbench.app import library, runs
from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.config.dpo import DPOSettings
from workbench.config.ppo import PPOSettings
from workbench.data.folders import verify
from workbench.ui.main_window import MainWindow
from workbench.ui.pages.evaluate import EvaluatePage
from workbench.ui.pages.export_dialog import ExportDialog
from workbench.ui.pages.models import HubDialog, ModelsPage
from workbench.ui.pages.overview import OverviewPage
from workbench.ui.pages.page import Page
from workbench.ui.pages.reward import RewardPage
from workbench.ui.pages.reward_import_dialog import RewardImportDialog
from workbench.ui.pages.run_facts import kind_of_reward
from workbench.ui.pages.runs import RunsPage

LONG = 60_000
LEFT = Qt.MouseButton.LeftButton
DPO = DPOSettings(epochs=1, batch_size=4)
PPO = PPOSettings(updates=4, batch_size=4, micro_batch_tokens=256, max_new_tokens=8)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One experiment at its stages: judged, trained, or trained without a reward model.

    Made once and copied for each test.
    """
    root = tmp_path_factory.mktemp("stages")
    model = tinymodels.write(root / "random-llama", "llama")
    ws = ready.new_experiment(root / "judged", str(model))
    ready.add_answers(ws)
    ready.add_judgements(ws)
    assert ws.close(60)
    shutil.copytree(root / "judged", root / "trained")
    ws = Workspace.open(root / "trained")
    ready.add_reward_model(ws)
    ready.end(runs.train(ws, "ppo", PPO))
    assert ws.close(60)
    shutil.copytree(root / "judged", root / "without_reward")
    ws = Workspace.open(root / "without_reward")
    ready.end(runs.train(ws, "dpo", DPO))
    assert ws.close(60)
    return root


@pytest.fixture
def open_page(qtbot: QtBot, tmp_path: Path, stages: Path) -> Iterator[Callable[..., Page]]:
    opened: list[Workspace] = []

    def open_(key: str, stage: str) -> Page:
        shutil.copytree(stages / stage, tmp_path / "experiment")
        ws = Workspace.open(tmp_path / "experiment")
        opened.append(ws)
        window = MainWindow(ws)
        qtbot.addWidget(window)
        window.resize(1440, 900)
        window.show()
        qtbot.waitExposed(window)
        window.show_page(key)
        page = window.page(key)
        assert isinstance(page, Page)
        return page

    yield open_
    for ws in opened:
        assert ws.close(60)


def test_a_reward_model_is_trained_and_judged(qtbot: QtBot, open_page) -> None:
    page = open_page("reward", "judged")
    assert isinstance(page, RewardPage)
    qtbot.waitUntil(page.doubts_card.isVisible, timeout=LONG)
    assert "pairs" in page.doubts.text()
    qtbot.mouseClick(page.train_button, LEFT)
    assert page.job() is not None
    qtbot.waitUntil(lambda: page.job() is None and page.banner.isVisible(), timeout=LONG)
    assert "of held-out pairs right, 95 % interval" in page.banner.text()
    for chart in page.charts.charts.values():
        qtbot.waitUntil(lambda series=chart.series: len(series) > 0)
    assert [r.status for r in page.table.rows()] == ["done"]
    assert page.next_button.isVisible()


def test_too_few_judgements_are_told_and_nothing_starts(qtbot: QtBot, open_page) -> None:
    page = open_page("reward", "judged")
    assert isinstance(page, RewardPage)
    while page.ws.experiment.undo.undo():
        pass
    page.refresh()
    assert not page.train_button.isEnabled()
    qtbot.waitUntil(lambda: "at least 8" in page.doubts.text(), timeout=LONG)
    page.train()
    assert page.job() is None
    assert "at least 8" in page.banner.text() + page.banner.detail()
    assert page.table.rows() == []


def test_rewards_of_every_kind_come_and_go(
    qtbot: QtBot, open_page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base to choose, doubts that follow the loss, the kinds in the table, import, export."""
    theirs = tinymodels.write_classifier(tmp_path / "theirs", "bert")
    UserSettings.load().with_model_folder(tinymodels.write(tmp_path / "another", "gpt2")).save()
    page = open_page("reward", "trained")
    assert isinstance(page, RewardPage)
    box = page.inputs.base_box
    qtbot.waitUntil(lambda: box.findData("another") > 0, timeout=LONG)
    assert "ranked pairs" in page.inputs.data.text()
    box.setCurrentIndex(box.findData("another"))
    assert page.inputs.base() == "another"
    page.form.set_values({"loss": "regression"})
    assert "regression needs at least 8" in page.train_button.toolTip()
    assert not page.train_button.isEnabled()
    page.form.set_values({"loss": "rao-kupper"})
    qtbot.waitUntil(lambda: "No judged pair is a tie" in page.doubts.text(), timeout=LONG)
    assert page.train_button.isEnabled()
    assert [kind_of_reward(run) for run in page.table.rows()] == ["network"]

    monkeypatch.setattr(ExportDialog, "exec", lambda dialog: bool(dialog.folder()))
    qtbot.mouseClick(page.export_button, LEFT)
    exports = page.ws.path / "exports"
    qtbot.waitUntil(lambda: exports.is_dir() and any(exports.glob("reward-*")), timeout=LONG)

    def choose(dialog: RewardImportDialog) -> bool:
        assert not dialog.take.isEnabled()
        dialog.path.setText(str(tmp_path / "nothing"))
        assert dialog.problem.text()
        dialog.path.setText(str(theirs))
        assert dialog.is_copied.isChecked()
        return dialog.take.isEnabled()

    monkeypatch.setattr(RewardImportDialog, "exec", choose)
    qtbot.mouseClick(page.import_button, LEFT)
    qtbot.waitUntil(lambda: "none of which it has seen" in page.banner.detail(), timeout=LONG)
    assert [kind_of_reward(run) for run in page.table.rows()] == ["imported", "network"]
    monkeypatch.setattr(RewardImportDialog, "exec", lambda dialog: dialog.path.setText("/") is None)
    page.import_model()
    assert "no sequence classifier" in page.banner.text()


def test_before_and_after_with_intervals(qtbot: QtBot, open_page) -> None:
    page = open_page("evaluate", "trained")
    assert isinstance(page, EvaluatePage)
    # Answers are drawn as in training unless the user says otherwise.
    assert page.form.settings().max_new_tokens == PPO.max_new_tokens
    qtbot.mouseClick(page.start_button, LEFT)
    qtbot.waitUntil(lambda: page.job() is None and page.banner.isVisible(), timeout=LONG)
    assert "95 % interval" in page.banner.text()
    assert "simulated annotator" in page.banner.text()
    assert "Reward model" in page.plot.accessibleDescription()
    assert page.stack.currentIndex() == 1
    names = [m.name for m in page.measures.rows()]
    assert names[0] == "Reward"
    assert "[" in page.measures.rows()[0].before
    rows = page.pairs.table.rows()
    assert len(rows) == 8
    page.pairs.table.selectRow(3)
    assert page.pairs.before.toPlainText() == rows[3].base.text
    assert page.pairs.after.toPlainText() == rows[3].trained.text


def test_without_a_reward_model_the_annotator_alone_judges(qtbot: QtBot, open_page) -> None:
    page = open_page("evaluate", "without_reward")
    assert isinstance(page, EvaluatePage)
    page.form.set_values({"max_new_tokens": 8})
    page.is_judged.setChecked(False)
    assert not page.start_button.isEnabled()
    assert "the simulated annotator must judge" in page.start_button.toolTip()
    page.is_judged.setChecked(True)
    qtbot.mouseClick(page.start_button, LEFT)
    qtbot.waitUntil(lambda: page.job() is None and page.banner.isVisible(), timeout=LONG)
    assert "95 % interval" in page.banner.text()
    assert "Reward model" not in page.plot.accessibleDescription()
    assert [m.name for m in page.measures.rows()] == ["Length, tokens", "KL, nats"]
    table = page.pairs.table
    hidden = {
        column.title for i, column in enumerate(table.rows_model.columns) if table.isColumnHidden(i)
    }
    assert hidden >= {"Reward before", "Reward after"}
    assert all(
        table.rows_model.index(row, 1).data() in ("base", "trained", "tie") for row in (0, 1)
    )


def test_runs_are_listed_opened_and_exported(qtbot: QtBot, open_page, tmp_path: Path) -> None:
    page = open_page("runs", "trained")
    assert isinstance(page, RunsPage)
    assert [r.run.kind for r in page.table.rows()] == ["policy", "reward"]
    model = page.table.model()
    qtbot.waitUntil(lambda: "4 / 4" in [model.index(0, c).data() for c in range(8)])
    page.table.selectRow(0)
    assert page.export_button.isEnabled()
    run = page.current()
    assert run is not None
    target = tmp_path / "out" / "adapter"
    page.export(run, target, False)
    qtbot.waitUntil(page.banner.isVisible, timeout=LONG)
    assert str(target) in page.banner.detail()
    assert verify(target) == []
    assert (target / "README.md").is_file()
    page.table.selectRow(1)
    assert not page.export_button.isEnabled()
    page.table.selectRow(0)
    qtbot.mouseClick(page.open_button, LEFT)
    window = page.window()
    assert isinstance(window, MainWindow)
    assert window.stack.currentWidget().key == "train"


def test_an_export_never_overwrites(qtbot: QtBot, open_page, tmp_path: Path) -> None:
    page = open_page("runs", "trained")
    assert isinstance(page, RunsPage)
    run = page.table.rows()[0].run
    dialog = ExportDialog(page, run, tmp_path)
    dialog.path.setText(str(tmp_path))
    assert not dialog.write.isEnabled()
    assert "exists already" in dialog.problem.text()
    dialog.path.setText(str(tmp_path / "new"))
    assert dialog.write.isEnabled()


def test_a_model_is_loaded_and_a_broken_one_says_why(
    qtbot: QtBot, open_page, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.json").write_text("{")
    page = open_page("models", "judged")
    assert isinstance(page, ModelsPage)
    models = [library.find(page.ws.selected_model), library.find(str(broken))]
    page.table.set_rows(models)
    page.table.selectRow(1)
    assert not page.load_button.isEnabled()
    assert models[1].problems[0] in page.details.text.text()
    page.table.selectRow(0)
    qtbot.mouseClick(page.load_button, LEFT)
    qtbot.waitUntil(lambda: page.ws.is_model_loaded, timeout=LONG)
    qtbot.waitUntil(lambda: not page.progress.isVisible(), timeout=LONG)


def test_the_hub_is_asked_only_for_a_whole_name(qtbot: QtBot) -> None:
    dialog = HubDialog()
    qtbot.addWidget(dialog)
    assert not dialog.download.isEnabled()
    qtbot.keyClicks(dialog.repo, "owner/model")
    assert dialog.download.isEnabled()


def test_the_overview_has_one_filled_button_and_it_leads_on(qtbot: QtBot, open_page) -> None:
    page = open_page("overview", "judged")
    assert isinstance(page, OverviewPage)
    go = page.steps.next_button()
    assert go is not None
    qtbot.mouseClick(go, LEFT)
    window = page.window()
    assert isinstance(window, MainWindow)
    assert window.stack.currentWidget().key == "reward"
