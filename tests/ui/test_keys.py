"""Every command can have another key: typed in the dialog, shown everywhere, kept for next time."""

from __future__ import annotations

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from tests.ui.labelling.data import add_pairs
from workbench.app.settings import UserSettings
from workbench.app.workspace import Workspace
from workbench.errors import UserError
from workbench.ui.actions import COMMANDS
from workbench.ui.keymap import Keymap, normal
from workbench.ui.keys_dialog import KeyRow, KeysDialog
from workbench.ui.main_window import MainWindow
from workbench.ui.widgets.palette import Palette

CTRL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def dialog(qtbot: QtBot, window: MainWindow) -> KeysDialog:
    """The dialog, opened by its key."""
    qtbot.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_F1)
    qtbot.waitUntil(lambda: bool(window.findChildren(KeysDialog)))
    (opened,) = window.findChildren(KeysDialog)
    qtbot.waitUntil(opened.isVisible)
    return opened


def press(
    qtbot: QtBot,
    row: KeyRow,
    key: Qt.Key,
    modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Press a key in the field of a row, as a person does."""
    row.edit.setFocus()
    qtbot.keyClick(row.edit, key, modifiers)


def shortcut(window: MainWindow, command_id: str) -> str:
    return window.actions_[command_id].shortcut().toString()


# The map


def keymap(**own: str) -> Keymap:
    return Keymap(COMMANDS, {name.replace("__", "."): key for name, key in own.items()})


def test_no_two_commands_share_a_key() -> None:
    keys = [key for c in COMMANDS if (key := keymap().key(c.id))]
    assert len(set(keys)) == len(keys)
    assert keys == [c.shortcut for c in COMMANDS if c.shortcut]
    assert all(normal(key) == key for key in keys)


@pytest.mark.parametrize(
    ("command_id", "key", "message"),
    [
        ("view.log", "Ctrl+K", "“Command palette”"),
        ("view.log", "F6", "“Rank answers”"),
        ("rank.tie", "1", "“A better”"),
        ("rank.tie", "s", "“Skip”"),
        ("rank.tie", "Ctrl+T", "single"),
        ("rank.tie", "Tab", "single"),
        ("rank.tie", "Esc", "single"),
        ("view.log", "L", "typing"),
        ("view.log", "Shift+L", "typing"),
        ("view.log", "Esc", "typing"),
        ("view.log", "Del", "typing"),
        ("view.log", "Ctrl+C", "text fields"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    command_id: str, key: str, message: str
) -> None:
    keys = keymap()
    before = keys.key(command_id)
    with pytest.raises(UserError, match=message):
        keys.set(command_id, key)
    assert keys.key(command_id) == before
    assert keys.own() == {}


@pytest.mark.parametrize(
    ("command_id", "key"),
    [
        ("view.log", "Ctrl+Shift+G"),
        ("view.log", "F7"),
        ("view.log", "Alt+L"),
        ("rank.tie", "X"),
        ("rank.tie", "+"),
        ("rank.tie", "ß"),
        ("rank.tie", ""),
    ],
)
def test_what_is_free_is_given(command_id: str, key: str) -> None:
    keys = keymap()
    keys.set(command_id, key)
    assert keys.key(command_id) == normal(key)
    assert keys.own() == {command_id: normal(key)}
    keys.set(command_id, next(c.shortcut for c in COMMANDS if c.id == command_id))
    assert keys.own() == {}


def test_a_key_that_was_given_up_is_free_for_another() -> None:
    keys = keymap()
    keys.set("rank.first", "Q")
    keys.set("rank.tie", "1")
    with pytest.raises(UserError, match="“Tie”"):
        keys.set("rank.first", "1")  # its default belongs to another now
    keys.reset_all()
    assert (keys.key("rank.first"), keys.key("rank.tie")) == ("1", "=")


def test_saved_keys_that_cannot_be_are_left_out() -> None:
    keys = keymap(
        view__log="Ctrl+J",
        rank__first="Ctrl+1",  # not a single key
        rank__tie="Q",
        rank__skip="Q",  # twice
        edit__redo="no key at all",
        no__command="Ctrl+M",
        job__stop="",
    )
    assert keys.own() == {"view.log": "Ctrl+J", "rank.tie": "Q", "job.stop": ""}
    assert keys.key("rank.skip") == "S"
    assert keys.key("edit.redo") == "Ctrl+Y"


def test_a_chosen_key_goes_before_the_default_of_another() -> None:
    """A later version may give a new command a key that the user has chosen for something else."""
    keys = keymap(view__log="Ctrl+K")
    assert keys.key("view.log") == "Ctrl+K"
    assert keys.key("view.palette") == ""
    assert keys.own() == {"view.log": "Ctrl+K"}


# The window


def test_the_dialog_lists_every_command(dialog: KeysDialog) -> None:
    assert {name: row.edit.keySequence().toString() for name, row in dialog.rows.items()} == {
        command.id: command.shortcut for command in COMMANDS
    }


def test_a_typed_key_works_at_once_and_is_kept(
    qtbot: QtBot, window: MainWindow, dialog: KeysDialog
) -> None:
    row = dialog.rows["view.log"]
    assert not row.reset_button.isVisible()
    with qtbot.waitSignal(window.actions_.keys_changed):
        press(qtbot, row, Qt.Key.Key_J, CTRL)
    assert row.edit.keySequence().toString() == "Ctrl+J"
    assert row.reset_button.isVisible()
    assert window.actions_.key("view.log") == "Ctrl+J"
    assert UserSettings.load().keys == {"view.log": "Ctrl+J"}
    dialog.accept()
    qtbot.waitUntil(lambda: not window.findChildren(KeysDialog))
    window.activateWindow()
    qtbot.waitUntil(window.isActiveWindow)
    qtbot.keyClick(window, Qt.Key.Key_L, CTRL)
    assert not window.log_panel.isVisible()
    qtbot.keyClick(window, Qt.Key.Key_J, CTRL)
    assert window.log_panel.isVisible()


def test_a_clash_is_refused_beside_the_row(
    qtbot: QtBot, window: MainWindow, dialog: KeysDialog
) -> None:
    row = dialog.rows["view.log"]
    press(qtbot, row, Qt.Key.Key_K, CTRL)
    assert row.problem.isVisible()
    assert "Ctrl+K is the key of “Command palette”." in row.problem.text()
    assert row.edit.keySequence().toString() == "Ctrl+L"
    assert shortcut(window, "view.log") == "Ctrl+L"
    assert UserSettings.load().keys == {}
    assert not window.findChildren(Palette)
    press(qtbot, row, Qt.Key.Key_J, CTRL)
    assert not row.problem.isVisible()
    rank = dialog.rows["rank.first"]
    press(qtbot, rank, Qt.Key.Key_2)
    assert "2 is the key of “B better”." in rank.problem.text()


def test_a_key_can_be_taken_away(qtbot: QtBot, window: MainWindow, dialog: KeysDialog) -> None:
    row = dialog.rows["view.log"]
    press(qtbot, row, Qt.Key.Key_Backspace)
    assert window.actions_.key("view.log") == ""
    assert shortcut(window, "view.log") == ""
    assert UserSettings.load().keys == {"view.log": ""}
    assert "(" not in window.actions_["view.log"].toolTip()
    qtbot.mouseClick(row.reset_button, Qt.MouseButton.LeftButton)
    assert shortcut(window, "view.log") == "Ctrl+L"
    assert UserSettings.load().keys == {}


def test_all_keys_go_back_together(qtbot: QtBot, window: MainWindow, dialog: KeysDialog) -> None:
    assert not dialog.reset_button.isEnabled()
    press(qtbot, dialog.rows["rank.first"], Qt.Key.Key_Q)
    press(qtbot, dialog.rows["rank.tie"], Qt.Key.Key_1)
    press(qtbot, dialog.rows["page.runs"], Qt.Key.Key_F9)
    qtbot.mouseClick(dialog.reset_button, Qt.MouseButton.LeftButton)
    assert not dialog.reset_button.isEnabled()
    assert dialog.rows["rank.tie"].edit.keySequence().toString() == "="
    assert window.actions_.own_keys() == {}
    assert UserSettings.load().keys == {}


def test_a_reset_that_would_clash_is_refused(qtbot: QtBot, dialog: KeysDialog) -> None:
    first = dialog.rows["rank.first"]
    press(qtbot, first, Qt.Key.Key_Q)
    press(qtbot, dialog.rows["rank.tie"], Qt.Key.Key_1)
    qtbot.mouseClick(first.reset_button, Qt.MouseButton.LeftButton)
    assert "“Tie”" in first.problem.text()
    assert first.edit.keySequence().toString() == "Q"


def test_commands_are_found_by_name_and_by_key(qtbot: QtBot, dialog: KeysDialog) -> None:
    def found() -> set[str]:
        return {name for name, row in dialog.rows.items() if row.isVisibleTo(dialog)}

    qtbot.keyClicks(dialog.search, "label tie")
    assert found() == {"rank.tie"}
    dialog.search.setText("ctrl+k")
    assert found() == {"view.palette"}
    dialog.search.setText("nothing like it")
    assert found() == set()
    dialog.search.clear()
    assert found() == {command.id for command in COMMANDS}


def test_menus_tooltips_palette_and_keycaps_follow(qtbot: QtBot, window: MainWindow) -> None:
    actions = window.actions_
    window.page("answers")  # built before: its keycap follows; the other page is built after
    for command_id, key in (
        ("view.log", "Ctrl+J"),
        ("job.pause", "Ctrl+Alt+P"),
        ("rank.focus", "F7"),
        ("answers.generate", "Ctrl+Shift+R"),
        ("train.settings", "F3"),
        ("rank.maximise", "F12"),
        ("rank.tie", "X"),
        ("edit.undo", "Ctrl+U"),
        ("view.palette", "Ctrl+P"),
    ):
        actions.set_key(command_id, key)
    assert actions["view.log"].toolTip().endswith("(Ctrl+J)")
    assert actions["rank.tie"].text().endswith("\tX")
    reward, answers = window.page("reward"), window.page("answers")
    shown = {
        "Ctrl+J": window.job_bar.log_button,
        "Ctrl+Alt+P": window.job_bar.pause_button,
        "F7": window.menu_end._rank,
        "F12": window.rank.header.restore,
        "X": window.rank.buttons.by_verdict["tie"],
        "Ctrl+U": window.rank.buttons.undo,
        "Ctrl+Shift+R": answers.generate_button,  # type: ignore[attr-defined]
        "F3": reward.column.button,  # type: ignore[attr-defined]
    }
    assert {key: made._own_key for key, made in shown.items()} == {key: key for key in shown}
    assert window.dock._button.toolTip().endswith("(F12)")
    qtbot.keyClick(QApplication.focusWidget() or window, Qt.Key.Key_P, CTRL)
    qtbot.waitUntil(lambda: bool(window.findChildren(Palette)))


def test_a_chosen_key_judges_and_the_old_one_does_not(qtbot: QtBot, window: MainWindow) -> None:
    add_pairs(window.ws, 2)
    window.bridge.experiment_changed.emit()
    window.actions_.set_key("rank.tie", "X")
    window.rank.setFocus()
    judgements = window.ws.experiment.judgements
    qtbot.keyClick(window.rank, Qt.Key.Key_Equal)
    assert judgements.count() == 0
    qtbot.keyClick(window.rank, Qt.Key.Key_X)
    assert [pair.judgement.verdict for pair in judgements.list()] == ["tie"]


def test_chosen_keys_are_there_in_the_next_window(qtbot: QtBot, window: MainWindow) -> None:
    window.actions_.set_key("view.log", "Ctrl+J")
    window.actions_.set_key("rank.first", "Q")
    window.close()
    ws = Workspace.open(window.ws.path)
    later = MainWindow(ws)
    qtbot.addWidget(later)
    assert shortcut(later, "view.log") == "Ctrl+J"
    assert later.actions_.key("rank.first") == "Q"
    later.finish()


def test_only_a_whole_combination_counts(qtbot: QtBot, dialog: KeysDialog) -> None:
    row = dialog.rows["view.log"]
    press(qtbot, row, Qt.Key.Key_Control, CTRL)
    assert row.edit.keySequence().toString() == "Ctrl+L"
    press(qtbot, row, Qt.Key.Key_J, CTRL)
    press(qtbot, row, Qt.Key.Key_M, CTRL)
    assert row.edit.keySequence().toString() == "Ctrl+M"


def test_the_rank_panel_takes_characters(qtbot: QtBot, dialog: KeysDialog) -> None:
    row = dialog.rows["rank.first"]
    # On a German keyboard "*" is Shift and the plus key.
    event = QKeyEvent(
        QEvent.Type.KeyPress, Qt.Key.Key_Asterisk, Qt.KeyboardModifier.ShiftModifier, "*"
    )
    QApplication.sendEvent(row.edit, event)
    assert row.edit.keySequence().toString() == "*"
    press(qtbot, row, Qt.Key.Key_7, Qt.KeyboardModifier.KeypadModifier)
    assert row.edit.keySequence().toString() == "7"


def test_tab_and_escape_lead_out_of_a_field(qtbot: QtBot, dialog: KeysDialog) -> None:
    row = dialog.rows["view.log"]
    row.edit.setFocus()
    qtbot.waitUntil(row.edit.hasFocus)
    qtbot.keyClick(row.edit, Qt.Key.Key_Tab)
    assert not row.edit.hasFocus()
    row.edit.setFocus()
    qtbot.keyClick(row.edit, Qt.Key.Key_Backtab)
    assert not row.edit.hasFocus()
    row.edit.setFocus()
    qtbot.keyClick(row.edit, Qt.Key.Key_Escape)
    assert not dialog.isVisible()
