"""The keys of all commands, to read and to change."""

from __future__ import annotations

from PySide6.QtCore import QKeyCombination, Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from workbench.errors import UserError
from workbench.ui.actions import MENUS, Actions, Command, translate
from workbench.ui.theme import theme
from workbench.ui.widgets import button, label, line

_KEY_WIDTH = 150


_MODIFIERS = (Qt.Key.Key_Control, Qt.Key.Key_Shift, Qt.Key.Key_Alt, Qt.Key.Key_Meta)
_REMOVING = (Qt.Key.Key_Backspace, Qt.Key.Key_Delete)


class KeyField(QKeySequenceEdit):
    """Takes the next key press. Qt's own field keeps Shift+Tab and Esc, so nobody gets out of it.

    Args:
        is_character: What counts is the character that the keyboard layout makes, as in the
            rank panel: "=" needs Shift on some.
    """

    typed = Signal(str)
    """A key was pressed; empty: none is wanted."""

    def __init__(self, is_character: bool) -> None:
        super().__init__()
        self._is_character = is_character

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if event.key() == Qt.Key.Key_Escape:
            event.ignore()
        elif event.key() in _REMOVING and plain:
            self.typed.emit("")
        elif event.key() not in _MODIFIERS:
            self.typed.emit(self._key(event))

    def _key(self, event: QKeyEvent) -> str:
        text = event.text().upper()
        if self._is_character and len(text) == 1 and text.isprintable() and not text.isspace():
            return text
        held = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        return QKeySequence(QKeyCombination(held, Qt.Key(event.key()))).toString()


class KeyRow(QWidget):
    """A command, its key in a field that takes the next key press, and the way to the default."""

    def __init__(self, command: Command, actions: Actions) -> None:
        super().__init__()
        self._command, self._actions = command, actions
        self.name = label(translate(command.text))
        self.edit = KeyField(is_character=command.context == "rank")
        self.edit.setFixedWidth(_KEY_WIDTH)
        self.edit.setAccessibleName(self.tr("Key of {name}").format(name=self.name.text()))
        self.edit.typed.connect(self.try_key)
        self.reset_button = button(self.tr("Reset"), "quiet")
        self.reset_button.setAccessibleName(
            self.tr("Reset the key of {name}").format(name=self.name.text())
        )
        policy = self.reset_button.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.reset_button.setSizePolicy(policy)
        self.reset_button.clicked.connect(lambda: self.try_key(command.shortcut))
        self.problem = label("", wrap=True)
        self.problem.setProperty("status", "bad")
        self._sign = QLabel()
        self._sign.setPixmap(theme().pixmap("bad", "bad", 14))
        said = QHBoxLayout()
        said.setSpacing(6)
        said.addWidget(self._sign, 0, Qt.AlignmentFlag.AlignTop)
        said.addWidget(self.problem, 1)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setHorizontalSpacing(8)
        grid.setColumnStretch(0, 1)
        for column, part in enumerate((self.name, self.edit, self.reset_button)):
            grid.addWidget(part, 0, column)
        grid.addLayout(said, 1, 0, 1, 3)
        self._say("")
        self.show_key()

    def try_key(self, key: str) -> None:
        """Give the command this key; what another one has is refused, and it is said why."""
        said = ""
        try:
            self._actions.set_key(self._command.id, key)
        except UserError as error:
            said = f"{error.message} {error.hint}".strip()
        self.show_key()
        self._say(said)

    def _say(self, problem: str) -> None:
        self.problem.setText(problem)
        for part in (self.problem, self._sign):
            part.setVisible(bool(problem))

    def show_key(self) -> None:
        """Show the key in use."""
        key = self._actions.key(self._command.id)
        self.edit.setKeySequence(QKeySequence(key))
        default = self._command.shortcut
        self.reset_button.setVisible(key != default)
        self.reset_button.setToolTip(
            self.tr("Back to {key}").format(key=default) if default else self.tr("Back to no key")
        )

    def forget_problem(self) -> None:
        """Say no more what was refused."""
        self._say("")

    def fits(self, words: list[str]) -> bool:
        """Whether the command is looked for: by its name, its menu or its key."""
        command = self._command
        menu = translate(command.menu.lstrip("-"))
        said = f"{menu} {self.name.text()} {self._actions.key(command.id)}".lower()
        return all(word in said for word in words)


class KeysDialog(QDialog):
    """Every command of the window with its key. A change works at once and is remembered."""

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        self._actions = actions
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Find a command or a key"))
        self.search.setAccessibleName(self.tr("Find a command or a key"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        self.reset_button = button(self.tr("Reset all keys"), "quiet", icon="undo")
        # Enter in the search field must not press a button.
        self.reset_button.setAutoDefault(False)
        self.reset_button.clicked.connect(actions.reset_keys)
        close = button(self.tr("Close"), "outlined")
        close.setAutoDefault(False)
        close.clicked.connect(self.accept)
        foot = QHBoxLayout()
        foot.addWidget(self.reset_button)
        foot.addStretch(1)
        foot.addWidget(close)
        hint = self.tr(
            "Click a key and press another one, or Backspace for none. It works at once. Those of "
            "the rank panel work while the panel has the focus."
        )
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(8)
        layout.addWidget(label(hint, "muted", wrap=True))
        layout.addWidget(self.search)
        layout.addWidget(self._build_rows(), 1)
        layout.addLayout(foot)
        actions.keys_changed.connect(self._show_keys)
        self._show_keys()
        self.resize(560, 640)
        self.search.setFocus()

    def _build_rows(self) -> QWidget:
        self.rows: dict[str, KeyRow] = {}
        self._groups: list[tuple[QWidget, list[KeyRow]]] = []
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 12, 0)
        column.setSpacing(6)
        for menu in MENUS:
            head = QWidget()
            place = QVBoxLayout(head)
            place.setContentsMargins(0, 8, 0, 0)
            place.setSpacing(4)
            place.addWidget(label(translate(menu), "card-title"))
            place.addWidget(line())
            column.addWidget(head)
            rows = []
            for command, _ in self._actions.listed():
                if command.menu.lstrip("-") == menu:
                    rows.append(KeyRow(command, self._actions))
                    self.rows[command.id] = rows[-1]
                    column.addWidget(rows[-1])
            self._groups.append((head, rows))
        column.addStretch(1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        return area

    def _show_keys(self) -> None:
        for row in self.rows.values():
            row.show_key()
            row.forget_problem()
        n = len(self._actions.own_keys())
        self.reset_button.setEnabled(n > 0)
        self.reset_button.setToolTip("" if n else self.tr("All keys are as they were at first."))

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        for head, rows in self._groups:
            fitting = [row for row in rows if row.fits(words)]
            for row in rows:
                row.setVisible(row in fitting)
            head.setVisible(bool(fitting))
