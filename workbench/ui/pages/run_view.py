"""Charts and sample answers of one policy run, live or past."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QVBoxLayout, QWidget

from workbench.events import Event, Sample, Step
from workbench.ui.pages.live_charts import LiveCharts
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.samples_card import SamplesCard


class RunView(QWidget):
    """Charts over the samples; fed whole when a run is chosen, by events while it goes on."""

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__()
        self.charts = LiveCharts(metrics)
        self.samples = SamplesCard()
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(8)
        self._layout.addWidget(self.charts, 3)
        self._layout.addWidget(self.samples, 2)

    def set_charts(self, metrics: Sequence[str]) -> None:
        """Draw other figures, if they are others; `show_run` must follow."""
        if list(metrics) == list(self.charts.charts):
            return
        before, self.charts = self.charts, LiveCharts(metrics)
        self._layout.replaceWidget(before, self.charts)
        before.setParent(None)
        before.deleteLater()

    def show_run(self, run: LiveRun) -> None:
        """Show everything known of a run in place of what was shown."""
        self.charts.follow(run)
        self.samples.set_samples(run.samples)

    def take(self, event: Event, run: LiveRun) -> None:
        """Add what one event of the shown run says; `run` has taken it already."""
        if isinstance(event, Step):
            self.charts.catch_up_soon()
        elif isinstance(event, Sample):
            self.samples.set_samples(run.samples)
