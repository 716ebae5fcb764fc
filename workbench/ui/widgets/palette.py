"""The command palette: any command by a few letters of its name."""

from __future__ import annotations

from PySide6.QtCore import (
    QEvent,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QPoint,
    QRect,
    QSize,
    Qt,
)
from PySide6.QtGui import QKeyEvent, QPainter, QStandardItem, QStandardItemModel
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
    QWidget,
)

from workbench.ui.actions import Actions, Command, translate
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import Keycap, key_size, label, paint_key

_COMMAND = Qt.ItemDataRole.UserRole
_WIDTH, _HEIGHT = 480, 380


class _Row(QStyledItemDelegate):
    """A command's words, its menu in muted, its key as a keycap at the right."""

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self._actions = actions

    def sizeHint(
        self, option: QStyleOptionViewItem, _index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        """One row as high as the font needs."""
        return QSize(100, max(28, option.fontMetrics.height() + 10))

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        """Draw the row."""
        look, command = theme(), index.data(_COMMAND)
        area = QRect(option.rect)
        painter.save()
        painter.setFont(option.font)
        if option.state & QStyle.StateFlag.State_Selected:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(look.color("selected"))
            painter.drawRoundedRect(area, 4, 4)
        area.adjust(8, 0, -8, 0)
        middle = int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft)
        painter.setPen(look.color("text"))
        words = translate(command.text)
        painter.drawText(area, middle, words)
        if key := self._actions.key(command.id):
            size = key_size(painter.font(), key)
            corner = QPoint(area.right() - size.width(), area.center().y() - size.height() // 2 + 1)
            cap = QRect(corner, size)
            paint_key(painter, cap, key, look.color("text-2"), look.color("sunken"))
            area.setRight(cap.left() - 8)
        area.setLeft(area.left() + painter.fontMetrics().horizontalAdvance(words) + 10)
        painter.setPen(look.color("muted"))
        painter.drawText(area, middle, translate(command.menu.lstrip("-")))
        painter.restore()


class Palette(QFrame):
    """Type, choose with the arrows, Enter does it; Esc or a click elsewhere closes it.

    It lies inside the window: a window of its own would wait for a window manager's focus.
    """

    def __init__(self, actions: Actions, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setProperty("overlay", True)
        self.setAccessibleName(self.tr("Command palette"))
        self._before: QWidget | None = parent.focusWidget()
        self._actions = actions
        self._all = [
            command
            for command, action in actions.listed()
            if command.context == "window" and action.isEnabled() and command.id != "view.palette"
        ]
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Type a command"))
        self.search.setAccessibleName(self.tr("Command"))
        self.search.textChanged.connect(self._filter)
        self.search.installEventFilter(self)
        self._model = QStandardItemModel(self)
        self.list = QListView()
        self.list.setProperty("list", True)
        self.list.setAccessibleName(self.tr("Commands that fit"))
        self.list.setEditTriggers(QListView.EditTrigger.NoEditTriggers)
        self.list.setUniformItemSizes(True)
        self.list.setItemDelegate(_Row(actions, self.list))
        self.list.setModel(self._model)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.clicked.connect(self._run)
        head = QHBoxLayout()
        head.addWidget(label(self.tr("Command palette"), "card-title"), 1)
        if key := actions.key("view.palette"):
            head.addWidget(Keycap(key))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 12, 12)
        layout.addLayout(head)
        layout.addWidget(self.search)
        layout.addWidget(self.list)
        self.resize(_WIDTH, _HEIGHT)
        self.move((parent.width() - _WIDTH) // 2, 64)
        self._filter("")

    def open(self) -> None:
        """Show it over everything and take the keys."""
        self.show()
        self.raise_()
        self.search.setFocus(Qt.FocusReason.PopupFocusReason)

    def _filter(self, text: str) -> None:
        words = text.lower().split()
        self._model.clear()
        for command in self._all:
            name = f"{translate(command.menu.lstrip('-'))} {translate(command.text)}"
            if all(word in name.lower() for word in words):
                item = QStandardItem(name)
                item.setData(command, _COMMAND)
                self._model.appendRow(item)
        self.list.setCurrentIndex(self._model.index(0, 0))

    def _run(self) -> None:
        command: Command | None = self.list.currentIndex().data(_COMMAND)
        if command is not None:
            self._leave()
            self._actions[command.id].trigger()

    def _leave(self) -> None:
        before, self._before = self._before, None
        if before is not None:
            before.setFocus(Qt.FocusReason.PopupFocusReason)
        self.close()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Arrows move in the list while the cursor stays in the field."""
        if event.type() == QEvent.Type.FocusOut and self.isVisible():
            self.close()
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            if event.key() == Qt.Key.Key_Escape:
                self._leave()
                return True
            if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
                self._run()
                return True
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None:
                row = self.list.currentIndex().row() + step
                if 0 <= row < self._model.rowCount():
                    self.list.setCurrentIndex(self._model.index(row, 0))
                return True
        return super().eventFilter(watched, event)
