"""Closing the window while a model trains: nothing learned is thrown away without a question."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.bridge import JobBridge
from workbench.ui.widgets import button, label

_TRAINING = ("reward", "policy")


def running_training(bridge: JobBridge) -> Job | None:
    """The training that would lose steps if the window closed now."""
    going_on = (job for job in bridge.jobs if job.kind in _TRAINING and job.started_at)
    return next((job for job in going_on if job.outcome is None), None)


class LeaveDialog(QDialog):
    """Stop and save, close at once, or stay; its window closes when the job has ended."""

    def __init__(self, job: Job, bridge: JobBridge, window: QWidget) -> None:
        super().__init__(window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("Close RLHF Workbench"))
        self._job, self._window = job, window
        text = label(self.tr("{job} is still running.").format(job=job.title), "prompt", wrap=True)
        self.detail = label(
            self.tr(
                "Stop and save ends it after this step and keeps what it has learned. Closing now "
                "keeps only its last checkpoint. Judgements are safe in any case."
            ),
            "text-2",
            wrap=True,
        )
        self.save = button(self.tr("Stop and save"), "filled", icon="save")
        self.now = button(self.tr("Close now"), "danger")
        self.stay = button(self.tr("Keep running"), "outlined")
        self.save.clicked.connect(self._stop_and_save)
        self.now.clicked.connect(self._close_now)
        self.stay.clicked.connect(self.reject)
        row = QHBoxLayout()
        row.addStretch(1)
        for made in (self.stay, self.now, self.save):
            row.addWidget(made)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(text)
        layout.addWidget(self.detail)
        layout.addLayout(row)
        self.setMinimumWidth(460)
        bridge.finished.connect(self._on_finished)

    def _stop_and_save(self) -> None:
        self._job.token.request_stop()
        self.save.setEnabled(False)
        self.detail.setText(self.tr("Stopping after this step. The window closes then."))

    def _close_now(self) -> None:
        self._job.token.cancel()
        self.setEnabled(False)

    def _on_finished(self, job: Job, _finished: Finished) -> None:
        if job is self._job:
            self.accept()
            self._window.close()
