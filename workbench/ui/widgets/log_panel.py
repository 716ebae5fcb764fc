"""The last lines of the log, read again while the panel is open."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtGui import QFontDatabase, QHideEvent, QShowEvent
from PySide6.QtWidgets import QPlainTextEdit

_TAIL_BYTES = 20_000
_INTERVAL_MS = 1000


class LogPanel(QPlainTextEdit):
    """Read-only and monospaced; a few kilobytes per second at most, and only while shown."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._size = -1
        self.setReadOnly(True)
        self.setAccessibleName(self.tr("Log"))
        self.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.setFixedHeight(160)
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.read)

    def read(self) -> None:
        """Show the end of the file, if it has grown."""
        try:
            size = self._path.stat().st_size
            if size == self._size:
                return
            with self._path.open("rb") as file:
                file.seek(max(0, size - _TAIL_BYTES))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            text, size = self.tr("There is no log yet."), -1
        self._size = size
        self.setPlainText(text)
        self.verticalScrollBar().setValue(self.verticalScrollBar().maximum())

    def showEvent(self, event: QShowEvent) -> None:
        """Start reading."""
        super().showEvent(event)
        self.read()
        self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        """Stop reading."""
        super().hideEvent(event)
        self._timer.stop()
