"""Cyclic garbage collection, taken away from worker threads."""

from __future__ import annotations

import gc
import threading

from PySide6.QtCore import QObject, QTimer

_INTERVAL_MS = 5000
_FULL_EVERY = 60


class Collector(QObject):
    """Collects from a timer of the GUI thread only.

    A collection in a worker can destroy Qt objects, and a full one over everything that torch
    and transformers bring holds the interpreter for half a second. So what the imports made is
    frozen once they are through; after that full collections are cheap.
    """

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        gc.disable()
        self._importing: threading.Thread | None = None
        self._n = 0
        self._timer = QTimer(self)
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self.collect)
        self._timer.start()

    def freeze_after(self, importing: threading.Thread) -> None:
        """Freeze once when this thread has ended; until then only the young are collected."""
        self._importing = importing

    def collect(self) -> None:
        """The young generations; all of them every five minutes."""
        if self._importing is not None:
            if self._importing.is_alive():
                gc.collect(0)
                return
            self._importing = None
            gc.freeze()
        self._n += 1
        gc.collect(2 if self._n % _FULL_EVERY == 0 else 1)
