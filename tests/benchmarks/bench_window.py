"""How smooth the real window is while PPO trains in the same process, against idle.

    python -m tests.benchmarks.bench_window [--model tiny|starter] [--seconds 20] [--offscreen]

A 60 Hz timer in the GUI thread stands for the screen: its lateness is how long a frame, a key
press or a mouse move would have waited. Idle and training are measured in the same process and
the same window, one after the other, on the Train page with its charts filling. The numbers
depend on the machine and on what else it does; their ratio is what to compare.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QEventLoop, Qt, QTimer
from PySide6.QtWidgets import QApplication

from tests import ready
from workbench.app import runs
from workbench.app.workspace import Workspace
from workbench.config.ppo import PPOSettings
from workbench.events import Event, Step
from workbench.jobs.runner import Job
from workbench.ui.application import collect_in_gui_thread
from workbench.ui.main_window import MainWindow
from workbench.ui.theme import theme

FRAME_MS = 16
# What one update works on; enough updates that no run ends while it is measured.
SETTINGS: dict[str, dict[str, Any]] = {
    "tiny": {"batch_size": 16, "micro_batch_tokens": 1024, "max_new_tokens": 16},
    "starter": {"batch_size": 4, "micro_batch_tokens": 256, "max_new_tokens": 24},
}
N_ANSWER_TOKENS = 16
LONGEST_UPDATE_S = 300.0


@dataclass(frozen=True, slots=True)
class Smoothness:
    """Lateness of frames in ms during one phase, and what the worker did meanwhile."""

    name: str
    p50: float
    p99: float
    worst: float
    n_frames: int
    stalled_share: float
    updates_per_s: float


def main(argv: list[str] | None = None) -> int:
    """Measure idle, then training, and print the table."""
    arguments = _arguments(argv)
    has_display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    if arguments.offscreen or (sys.platform.startswith("linux") and not has_display):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ.setdefault("GOMP_SPINCOUNT", "0")
    with tempfile.TemporaryDirectory() as folder:
        phases = measure(Path(folder) / "bench", arguments.model, arguments.seconds)
    sys.stdout.write(table(*phases, arguments.model) + "\n")
    return 0


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="tiny", choices=tuple(SETTINGS))
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each phase")
    parser.add_argument("--offscreen", action="store_true", help="measure without a display")
    return parser.parse_args(argv)


def measure(folder: Path, model: str, seconds: float) -> tuple[Smoothness, Smoothness]:
    """Open the window on a ready experiment; measure it idle, then while PPO trains."""
    app = QApplication.instance() or QApplication([])
    assert isinstance(app, QApplication)
    theme()
    collect_in_gui_thread(app)
    ws = _experiment(folder, model)
    window = MainWindow(ws)
    window.show()
    window.show_page("train")
    _spin(lambda: False, 2.0)
    idle = phase("idle", seconds, lambda: 0)
    job = runs.train(ws, "ppo", PPOSettings(updates=100_000, checkpoint_every=0, **SETTINGS[model]))
    steps: list[Step] = []
    window.bridge.happened.connect(lambda j, e: _note(steps, job, j, e))
    window.bridge.watch(job)
    if not _spin(lambda: len(steps) >= 2 or job.outcome is not None, LONGEST_UPDATE_S):
        raise TimeoutError("PPO did not begin in time.")
    training = phase(f"PPO trains ({model})", seconds, lambda: len(steps))
    ws.runner.cancel(job)
    _spin(lambda: job.outcome is not None, LONGEST_UPDATE_S)
    window.close()
    return idle, training


def _experiment(folder: Path, model: str) -> Workspace:
    ws = ready.new_experiment(folder, model)
    ready.add_answers(ws, max_new_tokens=N_ANSWER_TOKENS)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    return ws


def _note(steps: list[Step], ours: Job, job: Job, event: Event) -> None:
    if job is ours and isinstance(event, Step):
        steps.append(event)


def _spin(is_done: Callable[[], bool], longest_s: float) -> bool:
    """Run the event loop until something is so; False when it took too long."""
    loop = QEventLoop()
    began = time.perf_counter()
    watch = QTimer()
    watch.setInterval(50)
    watch.timeout.connect(
        lambda: (is_done() or time.perf_counter() - began > longest_s) and loop.quit()
    )
    watch.start()
    loop.exec()
    watch.stop()
    return is_done()


class Ticker:
    """A 60 Hz timer that notes how late each of its ticks came.

    Lateness is counted from the tick before: a long stall makes one late frame, not many.
    """

    def __init__(self) -> None:
        self.late_ms: list[float] = []
        self._last = 0.0
        self._timer = QTimer()
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self._tick)

    def run(self, seconds: float) -> list[float]:
        """Tick inside a real event loop for `seconds`; the lateness of each frame in ms."""
        self.late_ms.clear()
        self._last = time.perf_counter()
        self._timer.start()
        _spin(lambda: False, seconds)
        self._timer.stop()
        return self.late_ms

    def _tick(self) -> None:
        now = time.perf_counter()
        self.late_ms.append(max(0.0, 1000 * (now - self._last) - FRAME_MS))
        self._last = now


def phase(name: str, seconds: float, n_updates: Callable[[], int]) -> Smoothness:
    """Measure one phase of the window's life."""
    before, began = n_updates(), time.perf_counter()
    late = np.array(Ticker().run(seconds))
    took = time.perf_counter() - began
    return Smoothness(
        name=name,
        p50=float(np.percentile(late, 50)),
        p99=float(np.percentile(late, 99)),
        worst=float(late.max()),
        n_frames=len(late),
        stalled_share=float(np.mean(late > FRAME_MS)),
        updates_per_s=(n_updates() - before) / took,
    )


def table(idle: Smoothness, training: Smoothness, model: str) -> str:
    """The result as text."""
    lines = [
        f"{'frame lateness':<22}{'p50 ms':>8}{'p99 ms':>8}{'worst ms':>10}{'frames':>8}"
        f"{'over 1 frame':>14}{'updates/s':>11}"
    ]
    lines += [
        f"{s.name:<22}{s.p50:>8.2f}{s.p99:>8.1f}{s.worst:>10.1f}{s.n_frames:>8}"
        f"{100 * s.stalled_share:>12.1f} %{s.updates_per_s:>11.2f}"
        for s in (idle, training)
    ]
    ratio = training.p99 / max(idle.p99, 0.1)
    lines.append(f"p99 while PPO trains ({model}) over p99 idle: {ratio:.1f}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
