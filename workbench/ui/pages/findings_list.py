"""Sentences with the icon of their state, one under the other."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from workbench.ui.theme import Theme
from workbench.ui.widgets import label
from workbench.ui.widgets.basics import Status


class FindingsList(QScrollArea):
    """What was found, in plain sentences that can be read on with the arrow keys."""

    def __init__(self, theme: Theme, name: str) -> None:
        super().__init__()
        self._theme = theme
        self._rows: list[tuple[Status, str]] = []
        self._icons: list[tuple[QLabel, Status]] = []
        self.setAccessibleName(name)
        self.setProperty("plain", True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        theme.changed.connect(self._tint)

    def sentences(self) -> list[str]:
        """All that is said."""
        return [sentence for _, sentence in self._rows]

    def set_rows(self, rows: Sequence[tuple[Status, str]]) -> None:
        """Say other things; the same ones again stay where they are scrolled to."""
        if list(rows) == self._rows:
            return
        self._rows, self._icons = list(rows), []
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(8)
        for state, sentence in rows:
            icon = QLabel()
            self._icons.append((icon, state))
            line = QHBoxLayout()
            line.setSpacing(8)
            line.addWidget(icon, 0, Qt.AlignmentFlag.AlignTop)
            line.addWidget(label(sentence, wrap=True), 1)
            column.addLayout(line)
        column.addStretch(1)
        self.setWidget(inner)
        self.setAccessibleDescription(" ".join(self.sentences()))
        self._tint()

    def _tint(self) -> None:
        for icon, state in self._icons:
            icon.setPixmap(self._theme.status_icon(state, 16).pixmap(16, 16))
