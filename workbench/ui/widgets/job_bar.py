"""The bar at the bottom: what runs, how far it is, how to hold and end it."""

from __future__ import annotations

import time

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from workbench.events import Event, Finished, Progress, Started, Step, Warned
from workbench.jobs.runner import Job
from workbench.ui.plots.metric_chart import figure
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import ElidedLabel, Meter, button, label

_NARROW = 1200
_FIGURES = (("objective/scores", "Reward", ""), ("objective/kl", "KL", "nats"))


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use: 45 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class JobBar(QFrame):
    """One line about the running job; when it has ended, one sentence until dismissed."""

    log_wanted = Signal()
    shown_wanted = Signal(object)  # Job

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("jobbar", True)
        self.setMinimumHeight(44)
        self.job: Job | None = None
        self._title = ""
        self._steps = (0, 0, "steps")
        self._began = time.monotonic()
        self._icon = QLabel()
        self._name = label("", "card-title")
        self._meter = Meter()
        self._meter.setFixedWidth(220)
        self._meter.setAccessibleName(self.tr("Progress of the job"))
        self._count = label()
        self._words = ElidedLabel("", "text-2")
        self._figures = label("", "text-2")
        self.show_button = button(self.tr("Show"), "outlined")
        self.pause_button = button(self.tr("Pause"), "outlined", icon="pause", key="Ctrl+.")
        self.stop_button = button(self.tr("Stop and save"), "outlined", icon="save")
        self.dismiss_button = button(self.tr("Dismiss"), "quiet")
        self.log_button = button(self.tr("Show log"), "quiet", icon="log")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(16, 6, 16, 6)
        layout.setSpacing(10)
        for widget in (self._icon, self._name, self._meter, self._count):
            layout.addWidget(widget)
        layout.addWidget(self._words, 1)
        layout.addWidget(self._figures)
        for made in (
            self.show_button,
            self.pause_button,
            self.stop_button,
            self.dismiss_button,
            self.log_button,
        ):
            layout.addWidget(made)
        self.pause_button.clicked.connect(self.toggle_pause)
        self.stop_button.clicked.connect(self.stop)
        self.dismiss_button.clicked.connect(self.set_idle)
        self.log_button.clicked.connect(self.log_wanted)
        self.show_button.clicked.connect(lambda: self.shown_wanted.emit(self.job))
        theme().changed.connect(self._tint)
        self._state = "ok"
        self.set_idle()

    def set_idle(self) -> None:
        """Nothing runs."""
        self.job = None
        self._show("check", "ok", self.tr("Nothing is running"), is_running=False)
        self.dismiss_button.hide()
        self.show_button.hide()

    def start(self, job: Job) -> None:
        """Follow a job."""
        self.job = job
        self._title = job.title
        self._began = time.monotonic()
        self._steps = (0, 0, "steps")
        self._figures.setText("")
        self._count.setText("")
        self._meter.set_value(0, 0)
        self._name.setText(job.title)
        self._show("play", "accent", "", is_running=True)
        self.show_button.hide()
        self._name_stop()

    def take(self, job: Job, event: Event) -> None:
        """Show one event of a job that is followed."""
        if job is not self.job:
            return
        match event:
            case Started(total=total, unit=unit):
                self._steps = (0, total, unit)
                self._began = time.monotonic()
            case Step(step=step, total=total, metrics=metrics):
                self._count_steps(step, total, self._steps[2])
                self._figures.setText(
                    "   ".join(
                        f"{title} {figure(metrics[name])} {unit}".strip()
                        for name, title, unit in _FIGURES
                        if name in metrics
                    )
                )
            case Progress(done=done, total=total, note=note):
                if not self._steps[1]:
                    self._count_steps(done, total, "")
                self._words.setText(self._with_eta(note))
            case Warned(message=message):
                self._words.setText(message)
            case Finished():
                self._finish(job, event)
            case _:
                pass

    def toggle_pause(self) -> None:
        """Hold the job, or let it go on."""
        if self.job is None or self.job.outcome is not None:
            return
        token = self.job.token
        if token.is_paused:
            token.resume()
        else:
            token.pause()
        held = token.is_paused
        self.pause_button.setText(self.tr("Go on") if held else self.tr("Pause"))
        self._show_state("pause" if held else "play", "warn" if held else "accent")
        if held:
            self._words.setText(self.tr("Paused. Nothing is lost; go on at any time."))

    def stop(self) -> None:
        """End the job at its next step boundary, saved; a second time ends it now."""
        if self.job is None or self.job.outcome is not None:
            return
        token = self.job.token
        if token.should_stop:
            token.cancel()
            self._words.setText(self.tr("Ending now"))
        else:
            token.request_stop()
            self._words.setText(self.tr("Stopping after this step; what is learned is saved."))

    def sentence(self) -> str:
        """What the bar says."""
        return self._words.text()

    def _count_steps(self, done: int, total: int, unit: str) -> None:
        self._steps = (done, total, unit) if unit else (0, 0, "steps")
        self._meter.set_value(done, total)
        self._meter.show()
        self._count.setText(f"{done} / {total} {unit}".strip() if total else str(done))
        self._count.show()
        self._progress = (done, total)
        self._words.setText(self._with_eta(""))

    def _with_eta(self, note: str) -> str:
        done, total = getattr(self, "_progress", (0, 0))
        elapsed = time.monotonic() - self._began
        if not done or not total or done >= total:
            return note
        eta = self.tr("about {time} left").format(time=duration(elapsed / done * (total - done)))
        return f"{eta}   {note}" if note else eta

    def _finish(self, job: Job, finished: Finished) -> None:
        self._progress = (0, 0)
        error = finished.error
        texts = {
            "done": ("check", "ok", self.tr("Finished.")),
            "stopped": ("check", "ok", self.tr("Stopped and saved.")),
            "cancelled": ("info", "info", self.tr("Cancelled.")),
            "failed": ("bad", "bad", f"{error.message} {error.hint}" if error else ""),
        }
        icon, kind, text = texts[finished.outcome]
        self._show(icon, kind, f"{job.title}: {text}", is_running=False)
        self.show_button.setVisible(job.run_id is not None)
        self.dismiss_button.show()

    def _show(self, icon: str, token: str, text: str, *, is_running: bool) -> None:
        self._show_state(icon, token)
        self._words.setText(text)
        for widget in (self._name, self._meter, self._count, self._figures):
            widget.setVisible(is_running)
        self.pause_button.setVisible(is_running)
        self.pause_button.setText(self.tr("Pause"))
        self.stop_button.setVisible(is_running)
        self.dismiss_button.setVisible(False)
        self._fit()

    def _name_stop(self) -> None:
        saves = self.job is not None and self.job.kind in ("reward", "ppo")
        self.stop_button.setText(self.tr("Stop and save") if saves else self.tr("Stop"))

    def _show_state(self, icon: str, token: str) -> None:
        self._shown_icon = (icon, token)
        self._tint()

    def _tint(self) -> None:
        name, token = getattr(self, "_shown_icon", ("check", "ok"))
        self._icon.setPixmap(theme().icon(name, token, 16).pixmap(16, 16))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Figures go first when there is little room."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        is_running = self.stop_button.isVisibleTo(self)
        self._figures.setVisible(is_running and self.width() >= _NARROW)
        self._meter.setFixedWidth(220 if self.width() >= _NARROW else 120)
