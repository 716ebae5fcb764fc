"""What the window keeps for its next start."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow

from workbench.app.settings import UserSettings
from workbench.errors import WorkbenchError

log = logging.getLogger(__name__)


def remember(**changes: Any) -> None:
    """Change the user's settings; a disk that refuses costs them, never the window."""
    try:
        replace(UserSettings.load(), **changes).save()
    except WorkbenchError as error:
        log.warning("the user settings were not saved: %s", error)


def restore_layout(window: QMainWindow, dock: QDockWidget, width: int) -> None:
    """Put the dock where it was; at the first start it gets its own width."""
    if not window.restoreState(UserSettings.load().layout):
        window.resizeDocks([dock], [width], Qt.Orientation.Horizontal)
