"""Undo and redo: at once where little changes, beside the window where much does."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QWidget

from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.asking import Asking
from workbench.ui.pages.page import UiContext


class Stepping(QWidget):
    """Takes the last change back, or does it again.

    Signals:
        stepped: It is done.
        waiting: Whether a long step goes on: nothing must be judged meanwhile.
    """

    stepped = Signal()
    waiting = Signal(bool)

    def __init__(self, ws: Workspace, context: UiContext, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self._ws, self._context = ws, context
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._after_long)
        self._asking.failed.connect(self._fail)
        self._nothing = ""

    def undo(self) -> None:
        """Take back the last change."""
        self._step(self.tr("There is nothing to undo."), is_undo=True)

    def redo(self) -> None:
        """Do the last undone change again."""
        self._step(self.tr("There is nothing to redo."), is_undo=False)

    def _step(self, nothing: str, *, is_undo: bool) -> None:
        if self._asking.is_waiting:
            return
        step = labelling.undo if is_undo else labelling.redo
        self._nothing = nothing
        if labelling.is_long(self._ws, is_undo=is_undo):
            self.waiting.emit(True)
            name = labelling.undo_name(self._ws) if is_undo else labelling.redo_name(self._ws)
            what = self.tr("Undoing: {name}") if is_undo else self.tr("Doing again: {name}")
            self._context.notify("info", what.format(name=name), "")
            self._asking.ask(partial(step, self._ws))
            return
        try:
            self._tell(step(self._ws))
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)

    def _after_long(self, name: object) -> None:
        self.waiting.emit(False)
        self._context.notify("ok", self.tr("Done: {name}").format(name=name), "")
        self._tell(name)

    def _fail(self, sentence: str) -> None:
        self.waiting.emit(False)
        self._context.notify("bad", sentence, "")

    def _tell(self, name: object) -> None:
        if name is None:
            self._context.notify("info", self._nothing, "")
        else:
            self.stepped.emit()
