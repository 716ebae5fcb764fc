"""Timers that belong to a widget and end with it."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, QTimer


def single_shot(owner: QObject, action: Callable[[], None], after_ms: int) -> QTimer:
    """A timer that fires once after each start; starting it again begins the wait anew."""
    timer = every(owner, action, after_ms)
    timer.setSingleShot(True)
    return timer


def every(owner: QObject, action: Callable[[], None], ms: int) -> QTimer:
    """A timer that fires again and again once it is started."""
    timer = QTimer(owner)
    timer.setInterval(ms)
    timer.timeout.connect(action)
    return timer
