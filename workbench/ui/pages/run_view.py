"""Charts, findings and sample answers of one policy run, live or past."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout, QTabWidget, QVBoxLayout, QWidget

from workbench.app.doctor import Finding
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.events import Event, Marked, Sample, Step
from workbench.ui.pages.doctor_card import DoctorCard
from workbench.ui.pages.kl_view import KLView
from workbench.ui.pages.live_charts import LiveCharts
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.samples_browser import SamplesBrowser
from workbench.ui.pages.samples_card import SamplesCard
from workbench.ui.theme import theme


class RunView(QWidget):
    """Charts over findings and samples; fed whole when a run is chosen, by events while it goes on.

    A figure that the doctor has found something in is marked in its chart.
    """

    def __init__(self, ws: Workspace, metrics: Sequence[str]) -> None:
        super().__init__()
        self.doctor = DoctorCard(ws)
        self.doctor.found.connect(self._mark)
        self.charts = LiveCharts(metrics)
        self.against_kl = KLView(theme())
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setExpanding(False)
        self.tabs.addTab(self.charts, self.tr("Over updates"))
        self.tabs.addTab(self.against_kl, self.tr("Against KL"))
        self.tabs.currentChanged.connect(self._draw_paths)
        self._live: LiveRun | None = None
        self.samples = SamplesCard()
        self.samples.all_wanted.connect(self.open_samples)
        self._ws = ws
        self._run: Run | None = None
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(8)
        self._layout.addWidget(self.tabs, 3)
        below = QHBoxLayout()
        below.setSpacing(8)
        below.addWidget(self.doctor, 1)
        below.addWidget(self.samples, 1)
        self._layout.addLayout(below, 2)

    def set_charts(self, metrics: Sequence[str]) -> None:
        """Draw other figures, if they are others; `show_run` must follow."""
        if list(metrics) == list(self.charts.charts):
            return
        before, self.charts = self.charts, LiveCharts(metrics)
        shown = self.tabs.currentIndex()
        self.tabs.removeTab(0)
        self.tabs.insertTab(0, self.charts, self.tr("Over updates"))
        self.tabs.setCurrentIndex(shown)
        before.deleteLater()
        self._mark(self.doctor.findings())

    def show_run(self, run: Run, live: LiveRun) -> None:
        """Show everything known of a run in place of what was shown."""
        self._run = run
        self._live = live
        self.charts.follow(live)
        self._draw_paths()
        self.samples.set_samples(live.samples)
        self.doctor.follow(run, live)

    def _draw_paths(self) -> None:
        """Few points, drawn by hand: cheap enough for every update, and only while it is seen."""
        if self._live is not None and self.tabs.currentWidget() is self.against_kl:
            self.against_kl.show_run(self._live)

    def open_samples(self) -> None:
        """Open the window that shows all samples of the run."""
        if self._run is not None:
            SamplesBrowser(self.window(), self._ws, self._run).show()

    def _mark(self, found: Sequence[Finding]) -> None:
        told = {f.metric: f.title for f in reversed(found) if f.until is None}
        for name, chart in self.charts.charts.items():
            chart.mark(told.get(name, ""))

    def take(self, event: Event, run: LiveRun) -> None:
        """Add what one event of the shown run says; `run` has taken it already."""
        if isinstance(event, Step):
            self.charts.catch_up_soon()
            self._draw_paths()
            self.doctor.catch_up_soon()
        elif isinstance(event, Marked):
            self.charts.catch_up_soon()
        elif isinstance(event, Sample):
            self.samples.set_samples(run.samples)
