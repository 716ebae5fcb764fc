"""What the policy doctor says of a chosen run, in one line, with the way to its samples."""

from __future__ import annotations

from typing import cast

from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from workbench.app import doctor
from workbench.app.doctor import Finding
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.asking import Asking
from workbench.ui.pages.samples_browser import SamplesBrowser
from workbench.ui.plural import counted
from workbench.ui.theme import theme
from workbench.ui.widgets import ElidedLabel, button
from workbench.ui.widgets.basics import Status


class DoctorNote(QWidget):
    """Reads beside the window; hidden for what trains nothing."""

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        self._run: Run | None = None
        self._status: Status = "neutral"
        self._icon = QLabel()
        self._words = ElidedLabel()
        self.samples_button = button(self.tr("Samples and tokens"), "outlined", icon="answers")
        self.samples_button.clicked.connect(self.open_samples)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_found)
        self._asking.failed.connect(lambda sentence: self._say("neutral", sentence))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._icon)
        layout.addWidget(self._words, 1)
        layout.addWidget(self.samples_button)
        theme().changed.connect(self._tint)
        self.show_run(None)

    def sentence(self) -> str:
        """What is said."""
        return self._words.text()

    def show_run(self, run: Run | None) -> None:
        """Examine another run."""
        self._run = run
        is_trained = run is not None and run.kind != "evaluation"
        self.setVisible(is_trained)
        self.samples_button.setVisible(run is not None and run.kind == "policy")
        if run is None or not is_trained:
            self._asking.forget()
            return
        self._say("neutral", self.tr("The policy doctor is looking"))
        ws, run_id = self._ws, run.id
        self._asking.ask(lambda: doctor.examine(ws, run_id))

    def _on_found(self, answer: object) -> None:
        found = [f for f in cast("list[Finding]", answer) if f.level != "info"]
        if not found:
            self._say("ok", self.tr("The policy doctor has found nothing."))
            return
        told = counted(len(found), self.tr("1 finding:"), self.tr("{n} findings:"))
        status: Status = "bad" if any(f.level == "bad" for f in found) else "warn"
        self._say(status, f"{told} {'; '.join(f.title for f in found)}")

    def _say(self, status: Status, words: str) -> None:
        self._status = status
        self._words.setText(words)
        self._tint()

    def _tint(self) -> None:
        self._icon.setPixmap(theme().status_icon(self._status, 16).pixmap(16, 16))

    def open_samples(self) -> None:
        """Open the window that shows all samples of the run."""
        if self._run is not None:
            SamplesBrowser(self.window(), self._ws, self._run).show()
