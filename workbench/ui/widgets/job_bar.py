"""The bar at the bottom: what runs, how far it is, how to hold and end it."""

from __future__ import annotations

import time

from PySide6.QtCore import Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel

from workbench.events import Event, Finished, Paused, Progress, Started, Step, Warned
from workbench.jobs.runner import Job
from workbench.ui.plots.metric_chart import figure
from workbench.ui.theme import theme
from workbench.ui.widgets.basics import ElidedLabel, Meter, button, label

NARROW = 1200
"""Below this width figures and keycaps are left out."""

_FIGURES = (("objective/scores", "Reward", ""), ("objective/kl", "KL", "nats"))
_SAVING_KINDS = ("reward", "policy")


def duration(seconds: float) -> str:
    """Seconds in the unit a person would use: 45 s, 12 min, 1 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class Pace:
    """How long the rest takes, from what was done since the first report.

    A resumed run begins at its old step, so steps are counted from there.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None
        self._held = 0.0
        self._held_since: float | None = None

    def hold(self, is_held: bool) -> None:
        """Time that a job is held does not count."""
        now = time.monotonic()
        if is_held:
            self._held_since = now
        elif self._held_since is not None:
            self._held += now - self._held_since
            self._held_since = None

    def seconds_left(self, done: int, total: int) -> float | None:
        """Seconds until `total`; None as long as nothing can be said."""
        now = time.monotonic() - self._held
        if self._first is None:
            self._first = (done, now)
        first, began = self._first
        if done <= first or done >= total:
            return None
        return (now - began) / (done - first) * (total - done)


class JobBar(QFrame):
    """One line about the running job; when it has ended, one sentence until dismissed."""

    log_wanted = Signal()
    shown_wanted = Signal(object)  # Job

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("jobbar", True)
        self.setMinimumHeight(44)
        self.job: Job | None = None
        self._pace = Pace()
        self._counts_steps = False
        self._unit = ""
        self._state = ("check", "ok")
        self._is_running = False
        self._icon = QLabel()
        self._name = label("", "card-title")
        self._meter = Meter()
        self._meter.setAccessibleName(self.tr("Progress of the job"))
        self._count, self._eta, self._figures = label(), label("", "text-2"), label("", "text-2")
        self._words = ElidedLabel("", "text-2")
        self._waiting = label("", "muted")
        self.show_button = button(self.tr("Show"), "outlined")
        self.pause_button = button(self.tr("Pause"), "outlined", icon="pause")
        self.stop_button = button(self.tr("Stop and save"), "outlined", icon="save")
        self.dismiss_button = button(self.tr("Dismiss"), "quiet")
        self.log_button = button(self.tr("Log"), "quiet", icon="log")
        self._lay_out()
        self.pause_button.clicked.connect(self.toggle_pause)
        self.stop_button.clicked.connect(self.stop)
        self.dismiss_button.clicked.connect(self.set_idle)
        self.log_button.clicked.connect(self.log_wanted)
        self.show_button.clicked.connect(lambda: self.shown_wanted.emit(self.job))
        theme().changed.connect(self._tint)
        self.set_idle()

    def _lay_out(self) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(20, 6, 16, 6)
        layout.setSpacing(12)
        for part in (self._icon, self._name, self._meter, self._count, self._eta, self._figures):
            layout.addWidget(part)
        layout.addWidget(self._words, 1)
        layout.addWidget(self._waiting)
        self._waiting.hide()
        for made in (
            self.show_button,
            self.dismiss_button,
            self.pause_button,
            self.stop_button,
            self.log_button,
        ):
            layout.addWidget(made)

    def set_idle(self) -> None:
        """Nothing runs."""
        self.job = None
        self._show("check", "ok", is_running=False)
        self._name.hide()
        self._words.setText(self.tr("Nothing is running"))
        self.dismiss_button.hide()
        self.show_button.hide()

    def start(self, job: Job) -> None:
        """Follow a job."""
        self.job = job
        self._pace = Pace()
        self._counts_steps, self._unit = False, ""
        for part in (self._count, self._eta, self._figures):
            part.setText("")
        self._words.setText("")
        self._meter.set_value(0, 0)
        self._name.setText(job.title)
        self._show("running", "accent", is_running=True)
        self.dismiss_button.hide()
        self.show_button.hide()
        self.pause_button.setText(self.tr("Pause"))
        saves = job.kind in _SAVING_KINDS
        self.stop_button.setText(self.tr("Stop and save") if saves else self.tr("Stop"))
        self.stop_button.set_icon("save" if saves else "stop")

    def take(self, job: Job, event: Event) -> None:
        """Show one event of the job that is followed."""
        if job is not self.job:
            return
        match event:
            case Started(total=total, unit=unit) if total:
                self._counts_steps = True
                self._unit = unit
                self._show_count(0, total, unit)
            case Step(step=step, total=total, metrics=metrics):
                self._counts_steps = True
                self._show_count(step, total, self._unit)
                self._words.setText("")
                said = (
                    f"{title} {figure(metrics[name])} {unit}".strip()
                    for name, title, unit in _FIGURES
                    if name in metrics
                )
                self._figures.setText("   ".join(said))
            case Progress(done=done, total=total, note=note):
                if not self._counts_steps and total:
                    self._show_count(done, total, "")
                self._words.setText(note)
            case Paused(message=message, hint=hint):
                if job.token.is_paused:
                    self._show_held(f"{message} {hint}")
            case Warned(message=message):
                self._words.setText(message)
            case Finished():
                self._finish(job, event)
            case _:
                pass

    def set_waiting(self, n: int) -> None:
        """Say how many jobs begin after this one."""
        self._waiting.setText(self.tr("{n} waiting").format(n=n))
        self._waiting.setVisible(n > 0)

    def waiting(self) -> str:
        """What is said of jobs that wait; empty when none does."""
        return "" if self._waiting.isHidden() else self._waiting.text()

    def toggle_pause(self) -> None:
        """Hold the job, or let it go on."""
        if self.job is None or self.job.outcome is not None:
            return
        token = self.job.token
        if token.is_paused:
            token.resume()
        else:
            token.pause()
        held = self.tr("Paused. Nothing is lost; go on at any time.")
        self._show_held(held if token.is_paused else "")

    def _show_held(self, why: str) -> None:
        """Say that the job waits and why; with no reason, that it goes on."""
        is_held = bool(why)
        self._pace.hold(is_held)
        self.pause_button.setText(self.tr("Go on") if is_held else self.tr("Pause"))
        self.pause_button.set_icon("play" if is_held else "pause")
        self._set_state(*(("pause", "warn") if is_held else ("running", "accent")))
        self._eta.setText("")
        self._words.setText(why)

    def stop(self) -> None:
        """End the job at its next step boundary, saved; a second time ends it now."""
        if self.job is None or self.job.outcome is not None:
            return
        token = self.job.token
        self._eta.setText("")
        if token.should_stop:
            token.cancel()
            self._words.setText(self.tr("Ending now"))
            return
        token.request_stop()
        saves = self.job.kind in _SAVING_KINDS
        stopping = self.tr("Stopping after this step")
        saving = self.tr("Stopping after this step; what is learned is saved")
        self._words.setText(saving if saves else stopping)
        self.stop_button.setText(self.tr("Stop now"))

    def sentence(self) -> str:
        """What the bar says in words."""
        return self._words.text()

    def _show_count(self, done: int, total: int, unit: str) -> None:
        self._meter.set_value(done, total)
        self._count.setText(f"{done} / {total} {unit}".strip())
        left = self._pace.seconds_left(done, total)
        self._eta.setText(self.tr("ETA {time}").format(time=duration(left)) if left else "")

    def _finish(self, job: Job, finished: Finished) -> None:
        error = finished.error
        icon, kind, title, words = {
            "done": ("check", "ok", self.tr("{job} finished"), ""),
            "stopped": ("check", "ok", self.tr("{job} stopped"), self.tr("what it did is saved")),
            "cancelled": ("info", "info", self.tr("{job} was ended"), ""),
            "failed": ("bad", "bad", self.tr("{job} failed"), f"{error.message if error else ''}"),
        }[finished.outcome]
        count = self._count.text()
        self._show(icon, kind, is_running=False)
        self._name.setText(title.format(job=job.title))
        self._words.setText(words or count)
        self._words.setToolTip(f"{words} {error.hint}".strip() if error else words)
        self.show_button.setText(self.tr("See why") if error else self.tr("Show"))
        self.show_button.setVisible(job.run_id is not None)
        self.dismiss_button.show()

    def _show(self, icon: str, token: str, *, is_running: bool) -> None:
        self._is_running = is_running
        self._set_state(icon, token)
        self._name.show()
        for part in (self._meter, self._count, self._eta):
            part.setVisible(is_running)
        self.pause_button.setVisible(is_running)
        self.pause_button.set_icon("pause")
        self.stop_button.setVisible(is_running)
        self._fit()

    def _set_state(self, icon: str, token: str) -> None:
        self._state = (icon, token)
        self._tint()

    def _tint(self) -> None:
        self._icon.setPixmap(theme().pixmap(*self._state, 16))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Figures and keycaps go first when there is little room."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        is_wide = self.width() >= NARROW
        self._figures.setVisible(self._is_running and is_wide)
        self._meter.setFixedWidth(220 if is_wide else 160)
        self.pause_button.show_key(is_wide)
        self.log_button.show_key(is_wide)
