"""How far a report is: a meter, the time left, and the button that ends it."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from workbench.events import Event, Progress
from workbench.jobs.runner import Job
from workbench.ui.widgets import Meter, button, label
from workbench.ui.widgets.job_bar import Pace, duration


class ReportProgress(QWidget):
    """Shown while a report is made."""

    cancelled = Signal()

    def __init__(self, name: str) -> None:
        super().__init__()
        self.meter = Meter()
        self.meter.setAccessibleName(name)
        self.words = label("", "text-2")
        self.cancel_button = button(self.tr("Cancel report"), "outlined", icon="stop")
        self.cancel_button.clicked.connect(self.cancelled)
        self._pace = Pace()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self.meter, 1)
        layout.addWidget(self.words, 2)
        layout.addWidget(self.cancel_button)

    def start(self, job: Job) -> None:
        """Begin with a new report."""
        self._pace = Pace()
        self.meter.set_value(0, 0)
        waits = job.started_at is None
        self.words.setText(self.tr("Waiting for what runs now") if waits else "")

    def take(self, event: Event) -> None:
        """Show one event of the report."""
        if not isinstance(event, Progress):
            return
        words = event.note
        if event.total:
            self.meter.set_value(event.done, event.total)
            words = self.tr("{what}, {done} / {total}").format(
                what=event.note, done=event.done, total=event.total
            )
            left = self._pace.seconds_left(event.done, event.total)
            if left is not None:
                words = self.tr("{what}, ETA {time}").format(what=words, time=duration(left))
        self.words.setText(words)
