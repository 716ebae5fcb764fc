"""Which key does what: each command's own key, and the user's choice in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QKeySequence

from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.ui.actions import Command

_HELD = (
    Qt.KeyboardModifier.ControlModifier
    | Qt.KeyboardModifier.AltModifier
    | Qt.KeyboardModifier.MetaModifier
)
_OF_TEXT_FIELDS = ("Ctrl+C", "Ctrl+X", "Ctrl+V", "Ctrl+A")


class Keymap:
    """The key of every command. No two commands share one, so none is ever ambiguous."""

    def __init__(self, commands: Iterable[Command], own: Mapping[str, str]) -> None:
        """Begin with what was saved; of it, what cannot be is left out."""
        self._commands = {command.id: command for command in commands}
        self._own: dict[str, str] = {}
        for command_id in self._commands:
            key = normal(own.get(command_id, ""))
            is_meant = command_id in own and bool(key) == bool(own[command_id])
            taken = {k for k in self._own.values() if k}
            if is_meant and key not in taken and not self._flaw(command_id, key):
                self._own[command_id] = key

    def key(self, command_id: str) -> str:
        """The key in use, empty for none. What the user chose goes before another's default."""
        if command_id in self._own:
            return self._own[command_id]
        default = self._commands[command_id].shortcut
        return "" if default in self._own.values() else default

    def own(self) -> dict[str, str]:
        """What differs from the defaults, to be saved."""
        return dict(self._own)

    def set(self, command_id: str, key: str) -> None:
        """Give a command another key; empty for none.

        Raises:
            UserError: Another command has it, or it is not of the kind that the command needs.
        """
        key = normal(key)
        if key:
            self._check(command_id, key)
        if key == self._commands[command_id].shortcut:
            self._own.pop(command_id, None)
        else:
            self._own[command_id] = key

    def reset_all(self) -> None:
        """Give every command its default again."""
        self._own.clear()

    def _check(self, command_id: str, key: str) -> None:
        if flaw := self._flaw(command_id, key):
            raise UserError(flaw)
        for other in self._commands.values():
            if other.id != command_id and self.key(other.id) == key:
                name = QCoreApplication.translate("Commands", other.text)
                raise UserError(
                    _tr("{key} is the key of “{name}”.").format(key=key, name=name),
                    _tr("Choose another one, or change that one first."),
                )

    def _flaw(self, command_id: str, key: str) -> str:
        """Why a command cannot have a key, whoever else has it; empty when it can."""
        if not key:
            return ""
        if self._commands[command_id].context == "rank":
            is_single = len(key) == 1
            return "" if is_single else _tr("The rank panel takes single letters, digits or signs.")
        if key in _OF_TEXT_FIELDS:
            return _tr("{key} belongs to text fields.").format(key=key)
        combination = QKeySequence(key)[0]  # type: ignore[index]
        is_function_key = Qt.Key.Key_F1 <= combination.key() <= Qt.Key.Key_F35
        if is_function_key or combination.keyboardModifiers() & _HELD:
            return ""
        return _tr("Hold Ctrl or Alt with it: {key} alone is needed for typing.").format(key=key)


def normal(key: str) -> str:
    """A key as it is stored and compared: one combination, spelled as Qt does; else empty."""
    sequence = QKeySequence(key)
    text = sequence.toString() if sequence.count() == 1 else ""
    # Qt makes something of any word; what it does not know has no name.
    return text if text.isprintable() else ""


def _tr(text: str) -> str:
    return QCoreApplication.translate("keys", text)
