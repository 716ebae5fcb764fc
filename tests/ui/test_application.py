"""The program as a whole: first start, who holds the folder, the tour, and how it ends."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QFileDialog, QMessageBox
from pytestqt.qtbot import QtBot

from tests import ready
from workbench.app import exchange
from workbench.app.demo import create_demo
from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.config.tour import TourSettings, defaults_for
from workbench.ui import application
from workbench.ui.application import Windows, open_or_ask
from workbench.ui.collector import Collector
from workbench.ui.main_window import MainWindow
from workbench.ui.pages import GROUPS
from workbench.ui.tour import Tour

LONG = 120_000


def short_tour() -> TourSettings:
    """The tiny model's tour with as little work as the chain allows."""
    tiny = defaults_for("tiny")
    return tiny.model_copy(
        update={
            "generation": tiny.generation.model_copy(update={"n_answers": 2, "max_new_tokens": 6}),
            "reward": tiny.reward.model_copy(update={"epochs": 1}),
            "ppo": tiny.ppo.model_copy(update={"updates": 2, "max_new_tokens": 6}),
            "evaluation": tiny.evaluation.model_copy(update={"max_new_tokens": 6}),
        }
    )


@pytest.fixture
def opened() -> Iterator[list[Workspace]]:
    spaces: list[Workspace] = []
    yield spaces
    for ws in spaces:
        assert ws.close(60)


@pytest.fixture
def windows(
    qapp: QApplication, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Workspace], tuple[Windows, MainWindow]]]:
    """Windows that leave torch where it is."""
    monkeypatch.setattr(Windows, "_prefetch", lambda _self: None)
    made: list[Windows] = []

    def show(ws: Workspace) -> tuple[Windows, MainWindow]:
        made.append(Windows())
        return made[-1], made[-1].show(ws)

    yield show
    for each in made:
        window = each._window
        assert window is not None
        window.finish()
        window.close()
        window.deleteLater()


@pytest.fixture
def answer_box(qapp: QApplication) -> Iterator[Callable[[str], list[str]]]:
    """Presses the named button of the next message box; gives back what the box said."""
    timers: list[QTimer] = []

    def answer(words: str) -> list[str]:
        said: list[str] = []
        timer = QTimer()
        timer.setInterval(20)

        def press() -> None:
            box = QApplication.activeModalWidget()
            if not isinstance(box, QMessageBox):
                return
            timer.stop()
            said.extend([box.text(), box.informativeText(), *(b.text() for b in box.buttons())])
            next(b for b in box.buttons() if b.text() == words).click()

        timer.timeout.connect(press)
        timer.start()
        timers.append(timer)
        return said

    yield answer
    assert not any(timer.isActive() for timer in timers), "no message box came"


def test_the_first_start_has_something_to_do(home: Path, opened: list[Workspace]) -> None:
    ws = open_or_ask(application.demo_folder())
    assert ws is not None
    opened.append(ws)
    assert ws.path == home / "demo"
    assert ws.selected_model in ("tiny", "starter") or "SmolLM2" in ws.selected_model
    groups = {group.name: group for group in exchange.demo_groups()}
    expected = groups["dialogue"].n + groups["tour"].n
    assert ws.experiment.prompts.count() == expected
    assert ws.overview().next_step == "answers"


def test_the_second_start_takes_the_demo_as_it_was_left(opened: list[Workspace]) -> None:
    first = create_demo(application.demo_folder())
    first.experiment.prompts.delete([p.id for p in first.experiment.prompts.list(limit=5)])
    n = first.experiment.prompts.count()
    assert first.close()
    second = open_or_ask(application.demo_folder())
    assert second is not None
    opened.append(second)
    assert second.experiment.prompts.count() == n


def test_the_last_experiment_comes_first(tmp_path: Path, opened: list[Workspace]) -> None:
    for name in ("one", "two"):
        opened.append(Workspace.open(tmp_path / name, create=True))
        UserSettings.load().with_recent(tmp_path / name).save()
    assert application._last(UserSettings.load()) == tmp_path / "two"
    assert application._last(UserSettings()) == application.demo_folder()


@pytest.mark.parametrize("words", ["Open read-only", "Do not open"])
def test_a_held_experiment_may_be_looked_at(
    tmp_path: Path, opened: list[Workspace], answer_box: Callable[[str], list[str]], words: str
) -> None:
    opened.append(Workspace.open(tmp_path / "held", create=True))
    said = answer_box(words)
    found = open_or_ask(tmp_path / "held")
    assert str(os.getpid()) in said[0]
    if words == "Do not open":
        assert found is None
        return
    assert found is not None
    opened.append(found)
    assert found.is_read_only


def test_another_problem_offers_no_read_only(
    tmp_path: Path, answer_box: Callable[[str], list[str]]
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "experiment.db").write_bytes(b"not a database" * 100)
    said = answer_box("Close")
    assert open_or_ask(folder) is None
    assert "Open read-only" not in said
    assert said[0]


def test_a_read_only_window_says_so_and_binds_nothing_that_writes(
    tmp_path: Path, opened: list[Workspace], windows
) -> None:
    opened.append(Workspace.open(tmp_path / "held", create=True))
    looking = Workspace.open(tmp_path / "held", is_read_only=True)
    _, window = windows(looking)
    assert "held (read-only)" in window.windowTitle()
    assert "read-only" in window.banner.text()
    assert window.banner.isVisible()
    for entry in (e for group in GROUPS for e in group):
        window.show_page(entry.key)
    for command in ("prompts.import", "answers.generate", "train.start", "rank.first", "edit.undo"):
        action = window.actions_[command]
        assert not action.isEnabled(), command
        assert "read-only" in action.toolTip()
    assert window.actions_["preferences.export"].isEnabled()


def test_changing_the_experiment(
    tmp_path: Path, windows, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, first = windows(Workspace.open(tmp_path / "first", create=True))
    assert Workspace.open(tmp_path / "second", create=True).close()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "second"))
    first.actions_["file.open"].trigger()
    second = made._window
    assert second is not first
    assert second.ws.path == tmp_path / "second"
    qtbot.waitUntil(lambda: not first.isVisible())
    # The first one is free for others again.
    assert Workspace.open(tmp_path / "first").close()
    assert UserSettings.load().recent[:2] == (tmp_path / "second", tmp_path / "first")


@pytest.mark.parametrize("wrong", ["same", "empty"])
def test_what_cannot_be_opened_is_said_and_the_window_stays(
    tmp_path: Path, windows, wrong: str
) -> None:
    made, window = windows(Workspace.open(tmp_path / "first", create=True))
    (tmp_path / "empty").mkdir()
    made.open(tmp_path / ("first" if wrong == "same" else "empty"))
    assert made._window is window
    assert window.banner.isVisible()
    assert not list((tmp_path / "empty").iterdir())


def test_the_tour_plays_in_the_window(tmp_path: Path, windows, qtbot: QtBot) -> None:
    _, window = windows(Workspace.open(tmp_path / "tour", create=True))
    results: list[Mapping[str, object] | None] = []
    seen: list[str] = []
    window.bridge.started.connect(lambda job: seen.append(job.kind))
    Tour(window, short_tour(), results.append).start()
    qtbot.waitUntil(lambda: bool(results), timeout=LONG)
    (result,) = results
    assert result is not None, window.banner.text()
    assert result["model"] == "tiny"
    assert seen == ["generate", "simulate", "reward", "policy", "evaluation", "export", "export"]
    assert Path(result["paths"]["adapter"]).is_dir()
    assert "tour has ended" in window.banner.text()
    assert window.navigation.rows["evaluate"].isChecked()
    assert window.ws.overview().next_step == "done"


def test_a_tour_that_is_stopped_says_so(tmp_path: Path, windows, qtbot: QtBot) -> None:
    _, window = windows(Workspace.open(tmp_path / "tour", create=True))
    results: list[object] = []
    Tour(window, short_tour(), results.append).start()
    qtbot.waitUntil(lambda: window.ws.runner.current is not None, timeout=LONG)
    window.ws.runner.current.token.cancel()
    qtbot.waitUntil(lambda: bool(results), timeout=LONG)
    assert results == [None]
    assert window.banner.isVisible()


def test_garbage_is_collected_by_the_timer_only(qapp: QApplication) -> None:
    was = gc.isenabled()
    collector = Collector(qapp)
    try:
        assert not gc.isenabled()
        n = gc.get_stats()[1]["collections"]
        collector.collect()
        assert gc.get_stats()[1]["collections"] == n + 1
    finally:
        collector.deleteLater()
        if was:
            gc.enable()


CLOSING = """
    import os, signal, sys, time
    from pathlib import Path
    from PySide6.QtCore import QTimer
    from PySide6.QtWidgets import QApplication
    from workbench.ui import application
    from workbench.ui.main_window import MainWindow
    from workbench.config.ppo import PPOSettings
    from workbench.app import runs

    def window():
        return next(w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow))

    def start():
        w = window()
        settings = PPOSettings(updates=5000, batch_size=8, max_new_tokens=8, checkpoint_every=1)
        w.bridge.watch(runs.train(w.ws, "ppo", settings))
        timer.start(50)

    def look():
        if any(name.startswith("step-") for name in saved()):
            timer.stop()
            print("closing", time.time(), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)

    def saved():
        return [p.name for p in Path(sys.argv[1]).glob("adapters/*/checkpoints/*")]

    app = QApplication(["test"])
    timer = QTimer()
    timer.timeout.connect(look)
    QTimer.singleShot(0, start)
    code = application.run(Path(sys.argv[1]))
    print("closed", flush=True)
    sys.exit(code)
"""


@pytest.fixture(scope="module")
def trained_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained") / "experiment"
    ws = ready.new_experiment(folder, "tiny")
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    assert ws.close(60)
    return folder


def test_a_signal_while_ppo_runs_ends_cleanly_and_loses_nothing(
    trained_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "experiment"
    shutil.copytree(trained_folder, folder)
    code = textwrap.dedent(CLOSING)
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)],
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(Path.cwd())},
        check=False,
    )
    ended = time.time()
    assert done.returncode == 0, done.stderr
    began = float(done.stdout.split("closing ")[1].split()[0])
    # Two seconds on a machine of its own; tests share theirs.
    assert ended - began < 10
    ws = Workspace.open(folder)
    try:
        (run,) = ws.experiment.runs.list("policy")
        assert run.status in ("interrupted", "stopped", "failed", "cancelled")
        n_updates = len(ws.experiment.runs.metrics(run.id)["objective/kl"])
        saved = sorted(folder.glob("adapters/*/checkpoints/step-*"))
        assert n_updates >= int(saved[-1].name.split("-")[1])
        assert not list(folder.rglob("*.partial*"))
        assert ws.experiment.judgements.count() > 0
    finally:
        assert ws.close()
