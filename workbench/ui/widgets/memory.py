"""The device and its memory, in the corner of the menu bar."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from workbench.app.memory import memory
from workbench.app.workspace import Workspace
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import Meter, label

_INTERVAL_MS = 2000


class MemoryLabel(QWidget):
    """Device, used and whole memory."""

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        self._icon = QLabel()
        self._text = label("", "text-2")
        self._meter = Meter()
        self._meter.setFixedWidth(60)
        self._meter.setAccessibleName(self.tr("Memory"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(8, 0, 16, 0)
        layout.addWidget(self._icon)
        layout.addWidget(self._text)
        layout.addWidget(self._meter)
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.refresh)
        self._timer.start()
        theme().changed.connect(self._tint)
        self._tint()
        self.refresh()

    def refresh(self) -> None:
        """Read the figures again."""
        found = memory(self._ws)
        used, total = found.used_bytes / 2**30, found.total_bytes / 2**30
        self._text.setText(f"{found.device}  {used:.1f} / {total:.0f} GB")
        self._meter.set_value(used, total)

    def stop(self) -> None:
        """Read no more."""
        self._timer.stop()

    def _tint(self) -> None:
        self._icon.setPixmap(theme().icon("chip", "text-2", 16).pixmap(16, 16))
