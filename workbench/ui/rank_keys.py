"""What can be said of a pair with one key, and which key that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeyEvent, QKeySequence

from workbench.data.records import Strength, Verdict
from workbench.ui.actions import COMMANDS, Actions


class Choice(NamedTuple):
    """A verdict with its strength."""

    verdict: Verdict
    strength: Strength


CHOICES: Mapping[str, Choice] = {
    "first": Choice("first", 2),
    "first_slightly": Choice("first", 1),
    "tie": Choice("tie", 0),
    "second_slightly": Choice("second", 1),
    "second": Choice("second", 2),
    "both_bad": Choice("both_bad", 0),
    "skip": Choice("skip", 0),
}
_HELD = (
    Qt.KeyboardModifier.ControlModifier
    | Qt.KeyboardModifier.AltModifier
    | Qt.KeyboardModifier.MetaModifier
)


def command_of(event: QKeyEvent, actions: Actions) -> str:
    """Which command of the rank panel a key press is, such as "first"; empty for none.

    A single character is compared as the character that the keyboard layout makes: "=" needs
    Shift on some.
    """
    is_plain = not event.modifiers() & _HELD
    pressed = QKeySequence(event.keyCombination()).toString()
    for command in COMMANDS:
        if command.context != "rank":
            continue
        key = actions.key(command.id)
        is_it = event.text().upper() == key.upper() if len(key) == 1 else pressed == key
        if key and is_it and (is_plain or len(key) > 1):
            return command.id.removeprefix("rank.")
    return ""
