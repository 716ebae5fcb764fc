"""Charts that follow one run: drawn once per poll, however many updates came with it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QTimer

from workbench.ui.pages.live_run import LiveRun
from workbench.ui.plots.chart_grid import ChartGrid


class LiveCharts(ChartGrid):
    """Draws what a `LiveRun` has beyond what is drawn already; nothing while it is hidden."""

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__(metrics)
        self._live: LiveRun | None = None
        self._n_drawn = dict.fromkeys(metrics, 0)
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(0)
        self._soon.timeout.connect(self._catch_up)

    def follow(self, live: LiveRun) -> None:
        """Show a run; one that is shown already goes on where it was."""
        if live is not self._live:
            self._live = live
            self._n_drawn = dict.fromkeys(self.charts, 0)
            self.clear()
        self.catch_up_soon()

    def catch_up_soon(self) -> None:
        """Draw what came, after everything that came with it."""
        self._soon.start()

    def _catch_up(self) -> None:
        if self._live is None or not self.isVisible():
            return
        marks = [(mark.step, mark.text) for mark in self._live.marks]
        for name, chart in self.charts.items():
            chart.set_marks(marks)
            steps, values = self._live.series.get(name, ([], []))
            n = self._n_drawn[name]
            if n == len(steps):
                continue
            # Only the last point is appended with a redraw: one `setData` per chart and poll.
            for step, value in zip(steps[n:-1], values[n:-1], strict=True):
                chart.series.append(step, value)
            chart.append(steps[-1], values[-1])
            self._n_drawn[name] = len(steps)
