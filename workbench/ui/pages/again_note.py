"""Whether a run that repeats another gave the same numbers, in one line."""

from __future__ import annotations

from typing import cast

from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from workbench.app import again
from workbench.app.again import Sameness
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.asking import Asking
from workbench.ui.pages.run_facts import is_open
from workbench.ui.theme import theme
from workbench.ui.widgets import ElidedLabel
from workbench.ui.widgets.basics import Status


class AgainNote(QWidget):
    """Reads beside the window; hidden for a run that repeats none."""

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        self._is_open = False
        self._icon = QLabel()
        self._words = ElidedLabel()
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_found)
        self._asking.failed.connect(lambda sentence: self._say("neutral", sentence))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._icon)
        layout.addWidget(self._words, 1)
        self.show_run(None)

    def sentence(self) -> str:
        """What is said."""
        return self._words.text()

    def show_run(self, run: Run | None) -> None:
        """Compare another run with the one that it repeats."""
        is_again = run is not None and again.ORIGINAL in run.inputs
        self.setVisible(is_again)
        if run is None or not is_again:
            self._asking.forget()
            return
        self._is_open = is_open(run)
        ws, run_id = self._ws, run.id
        self._asking.ask(lambda: again.sameness(ws, run_id))

    def _on_found(self, answer: object) -> None:
        found = cast("Sameness", answer)
        equal: Status = "info" if self._is_open or not found.n_values else "ok"
        self._say(equal if not found.gaps else "warn", found.sentence())

    def _say(self, status: Status, words: str) -> None:
        self._words.setText(words)
        self._icon.setPixmap(theme().status_icon(status, 16).pixmap(16, 16))
