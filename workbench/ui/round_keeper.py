"""Lets a run go on that has the labels it asked for."""

from __future__ import annotations

from PySide6.QtCore import QObject

from workbench.app import label_rounds
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.pages.page import UiContext


class RoundKeeper(QObject):
    """Looks whenever the experiment changed. Calls app.label_rounds; the work is done by jobs."""

    def __init__(self, ws: Workspace, context: UiContext, parent: QObject) -> None:
        super().__init__(parent)
        self._ws, self._context = ws, context
        self._refused: set[int] = set()
        if not ws.is_read_only:
            context.bridge.experiment_changed.connect(self.look)

    def look(self) -> None:
        """Train and go on where all labels are there; what cannot is told once."""
        found = label_rounds.due(self._ws)
        if found is None or found.round.id in self._refused:
            return
        try:
            jobs = label_rounds.go_on(self._ws, found.run.id)
        except WorkbenchError as error:
            self._refused.add(found.round.id)
            self._context.notify("warn", error.message, error.hint)
            return
        for job in jobs:
            self._context.bridge.watch(job)
