"""The list of stages at the left: it is the progress of the experiment."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QAbstractButton, QButtonGroup, QFrame, QVBoxLayout

from workbench.ui.theme import theme
from workbench.ui.widgets.basics import line

WIDTH, RAIL = 200, 56
_ROW = 32
_TEXT_AT = 38

NavState = Literal["", "ok", "warn", "bad", "running"]
_STATES: dict[NavState, tuple[str, str]] = {
    "ok": ("check", "ok"),
    "warn": ("warn", "warn"),
    "bad": ("bad", "bad"),
    "running": ("dot", "focus"),
}


class NavRow(QAbstractButton):
    """One stage: icon, name, count at the right."""

    def __init__(self, key: str, text: str, icon: str) -> None:
        super().__init__()
        self.key = key
        self._icon = icon
        self.count = ""
        self.state: NavState = ""
        self.is_rail = False
        self.setText(text)
        self.setCheckable(True)
        # The ring is for those who come by key; a click shows its effect anyway.
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setAccessibleName(text)
        self.setObjectName(f"nav-{key}")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.toggled.connect(lambda _on: self.update())
        theme().changed.connect(self.update)

    def set_count(self, count: str, state: NavState = "") -> None:
        """The muted figure at the right, and the icon of a state behind it."""
        self.count, self.state = count, state
        self.setAccessibleDescription(f"{count} {self._state_word()}".strip())
        self.set_rail(self.is_rail)

    def _state_word(self) -> str:
        words: dict[NavState, str] = {
            "ok": self.tr("done"),
            "warn": self.tr("look here"),
            "bad": self.tr("to be corrected"),
            "running": self.tr("running"),
        }
        return words.get(self.state, "")

    def set_rail(self, is_rail: bool) -> None:
        """Icon only; name and count go into the tooltip."""
        self.is_rail = is_rail
        rail = f"{self.text()} {self.count}".strip()
        self.setToolTip(rail if is_rail else self._state_word())
        self.update()

    def sizeHint(self) -> QSize:
        """A row as high as the font needs."""
        # A wide font gets a wider column: count and state icon stand behind the name.
        needed = self.fontMetrics().horizontalAdvance(f"{self.text()}71 %") + _TEXT_AT + 36
        width = RAIL - 16 if self.is_rail else max(WIDTH - 16, needed)
        return QSize(width, max(_ROW, self.fontMetrics().height() + 10))

    def paintEvent(self, _event: QPaintEvent) -> None:
        """Row, accent bar, icon, words."""
        look, painter = theme(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self.rect()
        painter.setPen(Qt.PenStyle.NoPen)
        if self.isChecked() or self.underMouse():
            painter.setBrush(look.color("selected" if self.isChecked() else "hover"))
            painter.drawRoundedRect(area, 4, 4)
        if self.isChecked():
            painter.setBrush(look.color("accent"))
            painter.drawRoundedRect(0, 6, 3, area.height() - 12, 1.5, 1.5)
        side = 16
        x = (area.width() - side) // 2 if self.is_rail else 12
        token = "accent" if self.isChecked() and not look.is_dark else "text-2"
        icon = look.icon(self._icon, token, side)
        icon.paint(painter, x, (area.height() - side) // 2, side, side)
        if not self.is_rail:
            self._paint_words(painter)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            pen = painter.pen()
            pen.setStyle(Qt.PenStyle.SolidLine)
            pen.setColor(look.color("focus"))
            pen.setWidth(2)
            painter.setPen(pen)
            painter.drawRoundedRect(area.adjusted(1, 1, -1, -1), 4, 4)

    def _paint_words(self, painter: QPainter) -> None:
        look = theme()
        font = self.font()
        painter.setFont(font)
        painter.setPen(look.color("muted"))
        words = self.rect().adjusted(_TEXT_AT, 0, -7, 0)
        if self.state:
            name, token = _STATES[self.state]
            look.icon(name, token, 14).paint(
                painter, words.right() - 13, (self.height() - 14) // 2, 14, 14
            )
            words.setRight(words.right() - 18)
        middle = int(Qt.AlignmentFlag.AlignVCenter)
        painter.drawText(words, middle | int(Qt.AlignmentFlag.AlignRight), self.count)
        words.setRight(words.right() - painter.fontMetrics().horizontalAdvance(self.count) - 5)
        if self.isChecked():
            font.setWeight(font.Weight.DemiBold)
            painter.setFont(font)
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        shown = painter.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideRight, words.width()
        )
        painter.drawText(words, middle | int(Qt.AlignmentFlag.AlignLeft), shown)


class Navigation(QFrame):
    """Groups of stages split by lines; arrow keys move inside. Counts make it the progress."""

    chosen = Signal(str)

    def __init__(self, groups: list[list[tuple[str, str, str]]]) -> None:
        super().__init__()
        self.setProperty("column", True)
        self.rows: dict[str, NavRow] = {}
        self._group = QButtonGroup(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.setSpacing(2)
        for i, stages in enumerate(groups):
            if i:
                layout.addSpacing(6)
                layout.addWidget(line())
                layout.addSpacing(6)
            for key, text, icon in stages:
                row = NavRow(key, text, icon)
                row.clicked.connect(lambda _on, k=key: self.chosen.emit(k))
                self._group.addButton(row)
                self.rows[key] = row
                layout.addWidget(row)
        layout.addStretch(1)
        self.set_rail(False)

    def select(self, key: str) -> None:
        """Mark the stage that is shown."""
        self.rows[key].setChecked(True)

    def set_count(self, key: str, count: str, state: NavState = "") -> None:
        """Say how much a stage holds, and its state."""
        self.rows[key].set_count(count, state)

    def set_rail(self, is_rail: bool) -> None:
        """Shrink to icons, or back."""
        for row in self.rows.values():
            row.set_rail(is_rail)
        self.setFixedWidth(16 + max(row.sizeHint().width() for row in self.rows.values()))
