"""A sentence beside what it is about, with the icon of its status."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from workbench.ui.theme import repolish, scaled, theme
from workbench.ui.widgets.basics import Status, label


class Remark(QWidget):
    """Hidden while there is nothing to say."""

    def __init__(self) -> None:
        super().__init__()
        self._kind: Status = "bad"
        self._icon = QLabel()
        self._text = label("", wrap=True)
        scaled(self._text, 0.92)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._icon, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self._text, 1)
        theme().changed.connect(self._tint)
        self.tell("")

    def tell(self, text: str, kind: Status = "bad") -> None:
        """Say this, or nothing."""
        self._kind = kind
        self._text.setText(text)
        self._text.setProperty("status", kind)
        repolish(self._text)
        self._tint()
        self.setAccessibleName(text)
        # A widget without a parent would be shown as a window of its own.
        self.setVisible(bool(text) and self.parent() is not None)

    def text(self) -> str:
        """The sentence; empty when there is none."""
        return self._text.text()

    def _tint(self) -> None:
        self._icon.setPixmap(theme().status_icon(self._kind, 14).pixmap(14, 14))
