"""The command palette: any command by a few letters of its name. And the page of all keys."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QStringListModel, Qt
from PySide6.QtGui import QAction, QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QLineEdit,
    QListView,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from workbench.ui.actions import Actions, translate


class Palette(QDialog):
    """Type, choose with the arrows, Enter does it."""

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Commands"))
        self._all: list[tuple[str, QAction]] = []
        for command, action in actions.listed():
            if command.context == "window" and action.isEnabled() and command.id != "view.palette":
                key = f"   {command.shortcut}" if command.shortcut else ""
                menu = translate(command.menu.lstrip("-"))
                self._all.append((f"{menu}: {translate(command.text)}{key}", action))
        self._shown: list[QAction] = []
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Type a command"))
        self.search.setAccessibleName(self.tr("Command"))
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self._model = QStringListModel(self)
        self.list = QListView()
        self.list.setProperty("list", True)
        self.list.setAccessibleName(self.tr("Commands that fit"))
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setUniformItemSizes(True)
        self.list.setModel(self._model)
        self.list.activated.connect(lambda _index: self._run())
        layout = QVBoxLayout(self)
        layout.addWidget(self.search)
        layout.addWidget(self.list)
        self.resize(480, 360)
        self._filter("")

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        found = [(name, a) for name, a in self._all if all(w in name.lower() for w in words)]
        self._shown = [action for _, action in found]
        self._model.setStringList([name for name, _ in found])
        if found:
            self.list.setCurrentIndex(self._model.index(0))

    def _run(self) -> None:
        row = self.list.currentIndex().row()
        if 0 <= row < len(self._shown):
            action = self._shown[row]
            self.accept()
            action.trigger()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Arrows move in the list while the cursor stays in the field."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run()
                return True
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None:
                row = self.list.currentIndex().row() + step
                if 0 <= row < self._model.rowCount():
                    self.list.setCurrentIndex(self._model.index(row))
                return True
        return super().eventFilter(watched, event)


class ShortcutPage(QDialog):
    """All keys, from the command list."""

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Keyboard shortcuts"))
        rows = [command for command, _ in actions.listed() if command.shortcut]
        table = QTableWidget(len(rows), 3)
        table.setAccessibleName(self.tr("Keyboard shortcuts"))
        table.setHorizontalHeaderLabels([self.tr("Command"), self.tr("Key"), self.tr("Where")])
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.verticalHeader().hide()
        where = {"window": self.tr("everywhere"), "rank": self.tr("rank panel")}
        for i, command in enumerate(rows):
            for j, text in enumerate(
                (translate(command.text), command.shortcut, where[command.context])
            ):
                table.setItem(i, j, QTableWidgetItem(text))
        table.setColumnWidth(0, 240)
        QVBoxLayout(self).addWidget(table)
        self.resize(520, 560)
