"""A part of the reward page that looks at one reward model."""

from __future__ import annotations

from PySide6.QtWidgets import QWidget

from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.pages.page import UiContext


class RewardTab(QWidget):
    """Told which reward is shown; only while it is visible itself, so that it may read for it."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__()
        self.ws = ws
        self.context = context

    def title(self) -> str:
        """On the tab."""
        raise NotImplementedError

    def show_run(self, run: Run | None) -> None:
        """Show a reward run, or None when there is none yet; called again when it has changed."""
        raise NotImplementedError
