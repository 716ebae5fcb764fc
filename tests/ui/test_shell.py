"""The window around the pages: menus, keys, navigation, job bar, rank dock, closing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import QApplication, QMenu, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from tests.ui.conftest import Script
from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.data.records import Message, NewPrompt
from workbench.errors import UserError
from workbench.events import Event, Paused, Progress, Step, Warned
from workbench.jobs.runner import Job
from workbench.ui.actions import COMMANDS, MENUS, PAGES
from workbench.ui.leaving import LeaveDialog
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme
from workbench.ui.widgets.job_bar import Pace, duration
from workbench.ui.widgets.navigation import RAIL, WIDTH
from workbench.ui.widgets.palette import Palette

LEFT = Qt.MouseButton.LeftButton
CTRL = Qt.KeyboardModifier.ControlModifier
Submit = Callable[..., tuple[Job, Script]]


def press(qtbot: QtBot, window: MainWindow, keys: str) -> None:
    """Type a key combination wherever the focus is."""
    combination = QKeySequence(keys)[0]
    target = QApplication.focusWidget() or window
    qtbot.keyClick(target, combination.key(), combination.keyboardModifiers())


def shown(window: MainWindow) -> str:
    return window.stack.currentWidget().objectName()


def dialog_of(qtbot: QtBot, window: MainWindow, kind: type[QWidget]) -> QWidget:
    qtbot.waitUntil(lambda: any(d.isVisible() for d in window.findChildren(kind)))
    return next(d for d in window.findChildren(kind) if d.isVisible())


# Commands


def test_commands_are_declared_once_and_their_keys_do_not_collide() -> None:
    ids = [command.id for command in COMMANDS]
    assert len(set(ids)) == len(ids)
    for context in ("window", "rank"):
        keys = [c.shortcut for c in COMMANDS if c.shortcut and c.context == context]
        assert len(set(keys)) == len(keys)
    assert {c.menu.lstrip("-") for c in COMMANDS} == set(MENUS)


def test_every_command_does_something(window: MainWindow) -> None:
    # New and open belong to the application, which changes windows.
    elsewhere = {"file.new", "file.open", "train.settings", "train.next_problem"}
    dead = [c.id for c, action in window.actions_.listed() if not action.isEnabled()]
    assert set(dead) <= elsewhere


def test_menus_hold_every_command_with_its_key(window: MainWindow) -> None:
    texts = [action.text() for action in window.menuBar().actions()]
    assert texts == list(MENUS)
    inside = {
        action.objectName(): action
        for menu in window.menuBar().findChildren(QMenu)
        for action in menu.actions()
        if action.objectName()
    }
    assert set(inside) == {command.id for command in COMMANDS}
    assert inside["view.log"].shortcut().toString() == "Ctrl+L"
    assert inside["rank.tie"].text().endswith("\t=")


@pytest.mark.parametrize(("n", "key"), list(enumerate((key for key, _ in PAGES[:10]), start=1)))
def test_ctrl_and_a_digit_show_a_page(qtbot: QtBot, window: MainWindow, n: int, key: str) -> None:
    """The tenth page has the digit 0."""
    press(qtbot, window, f"Ctrl+{n % 10}")
    assert shown(window) == f"page-{key}"
    assert window.navigation.rows[key].isChecked()


def test_a_page_that_was_never_shown_does_its_commands(qtbot: QtBot, window: MainWindow) -> None:
    assert not window.stack.is_built("train")
    press(qtbot, window, "Ctrl+R")
    assert shown(window) == "page-train"


def test_the_palette_finds_a_command_by_parts_of_its_name(qtbot: QtBot, window: MainWindow) -> None:
    press(qtbot, window, "Ctrl+K")
    palette = dialog_of(qtbot, window, Palette)
    assert isinstance(palette, Palette)
    qtbot.keyClicks(palette.search, "the dark")
    qtbot.keyClick(palette.search, Qt.Key.Key_Return)
    assert theme().is_dark
    assert UserSettings.load().theme == "dark"
    assert not palette.isVisible()


def test_the_palette_says_nothing_found_by_an_empty_list(qtbot: QtBot, window: MainWindow) -> None:
    press(qtbot, window, "Ctrl+K")
    palette = dialog_of(qtbot, window, Palette)
    assert isinstance(palette, Palette)
    qtbot.keyClicks(palette.search, "zzz")
    assert palette.list.model().rowCount() == 0
    qtbot.keyClick(palette.search, Qt.Key.Key_Return)
    assert palette.isVisible()


def test_the_palette_gives_the_keys_back(qtbot: QtBot, window: MainWindow) -> None:
    press(qtbot, window, "F6")
    press(qtbot, window, "Ctrl+K")
    palette = dialog_of(qtbot, window, Palette)
    qtbot.waitUntil(lambda: QApplication.focusWidget() is palette.search)  # type: ignore[attr-defined]
    press(qtbot, window, "Esc")
    qtbot.waitUntil(lambda: not window.findChildren(Palette))
    assert window.rank.hasFocus()


def test_ctrl_l_shows_and_hides_the_log(qtbot: QtBot, window: MainWindow) -> None:
    press(qtbot, window, "Ctrl+L")
    assert window.log_panel.isVisible()
    qtbot.waitUntil(lambda: "RLHF Workbench" in window.log_panel.toPlainText())
    press(qtbot, window, "Ctrl+L")
    assert not window.log_panel.isVisible()


# Navigation


def test_the_navigation_counts_what_there_is(window: MainWindow) -> None:
    rows = window.navigation.rows
    assert (rows["models"].count, rows["models"].state) == ("1", "ok")
    assert rows["prompts"].count == "6"
    assert rows["answers"].count == ""
    window.ws.experiment.prompts.add_many(
        [NewPrompt((Message("user", "more"),), "", "en", "train")]
    )
    window.bridge.experiment_changed.emit()
    assert rows["prompts"].count == "7"


def test_a_narrow_window_has_a_rail_with_tooltips(qtbot: QtBot, window: MainWindow) -> None:
    assert window.navigation.width() >= WIDTH
    window.resize(1100, 700)
    qtbot.waitUntil(lambda: window.navigation.width() == RAIL)
    assert window.navigation.rows["prompts"].toolTip() == "Prompts 6"
    window.resize(1440, 900)
    qtbot.waitUntil(lambda: window.navigation.width() >= WIDTH)


def test_wrong_settings_are_told_in_the_navigation(window: MainWindow) -> None:
    window.show_page("train")
    form = window.page("train").form  # type: ignore[attr-defined]
    form.fields["learning_rate"].control.setText("7")
    row = window.navigation.rows["train"]
    assert (row.count, row.state) == ("1 problem", "bad")
    form.fields["learning_rate"].control.setText("1e-5")
    assert row.state == ""


# Rank dock


def test_f6_goes_to_the_rank_panel_and_back(qtbot: QtBot, window: MainWindow) -> None:
    assert not window.dock.has_focus()
    press(qtbot, window, "F6")
    assert window.rank.hasFocus()
    press(qtbot, window, "F6")
    assert not window.dock.has_focus()
    assert window.dock.isVisible()


def test_showing_a_page_leaves_the_keys_with_the_rank_panel(
    qtbot: QtBot, window: MainWindow
) -> None:
    press(qtbot, window, "F6")
    window.show_page("train")
    assert window.rank.hasFocus()


def test_f11_reads_in_the_whole_window_and_escape_leads_back(
    qtbot: QtBot, window: MainWindow
) -> None:
    window.show_page("answers")
    press(qtbot, window, "F11")
    assert window.stack.currentWidget() is window.rank
    assert window.rank.hasFocus()
    assert not window.dock.isVisible()
    press(qtbot, window, "Esc")
    assert shown(window) == "page-answers"
    assert window.dock.isVisible()
    assert window.rank.isVisible()
    assert not window.dock.has_focus()


def test_in_a_narrow_window_the_rank_panel_waits_behind_f6(
    qtbot: QtBot, window: MainWindow
) -> None:
    window.resize(1100, 700)
    qtbot.waitUntil(lambda: not window.dock.isVisible())
    (way,) = [b for b in window.menu_end.findChildren(QPushButton) if b.isVisible()]
    qtbot.mouseClick(way, LEFT)
    assert window.dock.isVisible()
    assert window.rank.hasFocus()
    press(qtbot, window, "Esc")
    assert not window.dock.isVisible()
    press(qtbot, window, "F6")
    assert window.rank.hasFocus()
    window.resize(1440, 900)
    qtbot.waitUntil(window.dock.isVisible)


def test_the_dock_has_its_own_width_at_the_start(window: MainWindow) -> None:
    assert window.dock.width() < 400


# Jobs


def test_the_job_bar_follows_a_run(qtbot: QtBot, window: MainWindow, submit: Submit) -> None:
    bar = window.job_bar
    assert bar.sentence() == "Nothing is running"
    job, script = submit()
    metrics = {"objective/scores": 0.62, "objective/kl": -3.1}
    script.say(Step(2, 5, metrics, 0.1))
    qtbot.waitUntil(lambda: window.navigation.rows["train"].count == "2/5")
    assert window.navigation.rows["train"].state == "running"
    texts = [label.text() for label in bar.findChildren(type(bar._name)) if label.isVisible()]
    assert "PPO 1" in texts
    assert "2 / 5 updates" in texts
    assert "Reward 0.62   KL −3.1 nats" in texts
    assert not bar.dismiss_button.isVisible()
    script.end()
    qtbot.waitUntil(lambda: job.outcome == "done")
    qtbot.waitUntil(bar.dismiss_button.isVisible)
    assert bar._name.text() == "PPO 1 finished"
    assert not bar.stop_button.isVisible()
    qtbot.mouseClick(bar.dismiss_button, LEFT)
    assert bar.sentence() == "Nothing is running"


def test_a_job_that_paused_itself_says_why(qtbot: QtBot, window: MainWindow) -> None:
    def work(cancel: CancelToken) -> Iterator[Event]:
        cancel.pause()
        yield Paused("KL is 12 nats.", "Go on, or stop and save.")
        yield Step(2, 2, {}, 0.1)

    job = window.bridge.watch(window.ws.submit("PPO 1", "policy", work, total=2, unit="updates"))
    qtbot.waitUntil(lambda: window.job_bar.pause_button.text() == "Go on")
    assert window.job_bar.sentence() == "KL is 12 nats. Go on, or stop and save."
    assert job.token.is_paused
    window.job_bar.pause_button.click()
    qtbot.waitUntil(lambda: job.outcome == "done")


def test_pause_holds_and_goes_on_by_key(qtbot: QtBot, window: MainWindow, submit: Submit) -> None:
    job, script = submit()
    script.say(Step(1, 5, {}, 0.1))
    qtbot.waitUntil(lambda: window.navigation.rows["train"].count == "1/5")
    press(qtbot, window, "Ctrl+.")
    assert job.token.is_paused
    assert window.job_bar.sentence() == "Paused. Nothing is lost; go on at any time."
    assert window.job_bar.pause_button.text() == "Go on"
    press(qtbot, window, "Ctrl+.")
    assert not job.token.is_paused
    script.say(Step(2, 5, {}, 0.1))
    qtbot.waitUntil(lambda: window.navigation.rows["train"].count == "2/5")


def test_stop_saves_and_a_second_stop_ends_at_once(
    qtbot: QtBot, window: MainWindow, submit: Submit
) -> None:
    job, script = submit()
    script.say(Step(1, 5, {}, 0.1))
    qtbot.waitUntil(lambda: window.navigation.rows["train"].count == "1/5")
    # Held, so that it is still there when the second stop comes.
    with script._changed:
        qtbot.mouseClick(window.job_bar.stop_button, LEFT)
        assert job.token.should_stop
        assert not job.token.is_cancelled
        assert "saved" in window.job_bar.sentence()
        qtbot.mouseClick(window.job_bar.stop_button, LEFT)
        assert job.token.is_cancelled
    qtbot.waitUntil(lambda: window.job_bar._name.text() == "PPO 1 was ended")


def test_a_job_that_cannot_go_on_says_why(qtbot: QtBot, window: MainWindow, submit: Submit) -> None:
    _, script = submit("Load tiny", "load", 0)
    script.say(UserError("The file is broken.", "Get it again."))
    qtbot.waitUntil(window.banner.isVisible)
    assert (window.banner.text(), window.banner.detail()) == (
        "The file is broken.",
        "Get it again.",
    )
    assert window.job_bar.sentence() == "The file is broken."
    assert window.banner.action_button is None


def test_a_bug_in_a_job_offers_the_report(qtbot: QtBot, window: MainWindow, submit: Submit) -> None:
    _, script = submit("Load tiny", "load", 0)
    script.say(ZeroDivisionError("by zero"))
    qtbot.waitUntil(window.banner.isVisible)
    copy = window.banner.action_button
    assert copy is not None
    qtbot.mouseClick(copy, LEFT)
    assert "ZeroDivisionError: by zero" in QApplication.clipboard().text()
    assert not window.banner.isVisible()


def test_warnings_of_a_job_stay_until_dismissed(
    qtbot: QtBot, window: MainWindow, submit: Submit
) -> None:
    _, script = submit("Generate", "generate", 0)
    script.say(Warned("One prompt is longer than the context.", "It was left out."))
    script.say(Progress(1, 2, "going on"))
    qtbot.waitUntil(lambda: window.job_bar.sentence() == "going on")
    assert window.banner.text() == "One prompt is longer than the context."
    assert not window.banner._timer.isActive()


def test_the_next_job_takes_over_the_bar(qtbot: QtBot, window: MainWindow, submit: Submit) -> None:
    _, first = submit("Generate", "generate", 0)
    assert not window.job_bar.waiting()
    submit("PPO 1")
    assert window.job_bar.waiting() == "1 waiting"
    first.end()
    qtbot.waitUntil(lambda: window.job_bar._name.text() == "PPO 1")
    assert not window.job_bar.waiting()
    assert window.job_bar.stop_button.isVisible()


def test_good_news_passes_by_itself(qtbot: QtBot, window: MainWindow) -> None:
    window.banner._timer.setInterval(1)
    window.notify("ok", "Exported.")
    assert window.banner.isVisible()
    qtbot.waitUntil(lambda: not window.banner.isVisible())


def test_the_rest_is_estimated_from_what_was_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("workbench.ui.widgets.job_bar.time.monotonic", lambda: now[0])
    pace = Pace()
    assert pace.seconds_left(40, 50) is None  # a resumed run begins at its old step
    now[0] += 10
    assert pace.seconds_left(42, 50) == pytest.approx(40)
    pace.hold(True)
    now[0] += 1000
    pace.hold(False)
    assert pace.seconds_left(42, 50) == pytest.approx(40)
    assert pace.seconds_left(50, 50) is None


@pytest.mark.parametrize(
    ("seconds", "said"), [(4, "4 s"), (89, "89 s"), (600, "10 min"), (5400, "1 h 30 min")]
)
def test_times_are_said_as_a_person_says_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# Closing


def test_closing_remembers_the_place_and_ends_the_worker(qtbot: QtBot, window: MainWindow) -> None:
    with qtbot.waitSignal(window.closed) as closed:
        window.close()
    assert closed.args == [True]
    assert UserSettings.load().geometry


def test_training_is_not_thrown_away_without_a_question(
    qtbot: QtBot, window: MainWindow, submit: Submit
) -> None:
    job, script = submit()
    script.say(Step(1, 5, {}, 0.1))
    qtbot.waitUntil(lambda: window.navigation.rows["train"].count == "1/5")
    press(qtbot, window, "Ctrl+Q")
    question = dialog_of(qtbot, window, LeaveDialog)
    assert isinstance(question, LeaveDialog)
    qtbot.mouseClick(question.stay, LEFT)
    assert window.isVisible()
    assert not job.token.should_stop

    window.close()
    question = dialog_of(qtbot, window, LeaveDialog)
    assert isinstance(question, LeaveDialog)
    with qtbot.waitSignal(window.closed):
        qtbot.mouseClick(question.save, LEFT)
    assert job.outcome == "stopped"
    assert not window.isVisible()


def test_what_is_stored_as_it_comes_needs_no_question(
    qtbot: QtBot, window: MainWindow, submit: Submit
) -> None:
    job, script = submit("Generate", "generate", 0)
    script.say(Progress(1, 2, "one"))
    qtbot.waitUntil(lambda: window.job_bar.sentence() == "one")
    with qtbot.waitSignal(window.closed) as closed:
        window.close()
    assert closed.args == [True]
    assert job.outcome == "cancelled"


def test_a_window_that_may_not_write_says_so(qtbot: QtBot, ws: Workspace) -> None:
    reader = Workspace.open(ws.path, is_read_only=True)
    window = MainWindow(reader)
    qtbot.addWidget(window)
    window.show()
    assert "read-only" in window.banner.text()
    window.close()


def test_qt_calls_keep_their_hands_off_none() -> None:
    # PySide6 6.12.0 on Python before 3.12 lost one reference of None per call, and aborted.
    timer = QTimer()
    before = sys.getrefcount(None)
    for _ in range(1000):
        timer.setInterval(5)
    assert abs(sys.getrefcount(None) - before) < 500
