"""Charts of several metrics in a grid that follows its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from workbench.ui.plots.metric_chart import MetricChart

_COLUMN_WIDTH = 180


class ChartGrid(QWidget):
    """Three columns where there is room, fewer where there is not."""

    def __init__(self, metrics: Sequence[str]) -> None:
        super().__init__()
        self.charts = {name: MetricChart(name) for name in metrics}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(8)
        self._columns = 0
        self._arrange(min(3, len(self.charts)))

    def append(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add one update's values; metrics without a chart are passed over."""
        for name, chart in self.charts.items():
            if name in metrics:
                chart.append(step, metrics[name])

    def set_series(self, name: str, steps: Sequence[float], values: Sequence[float]) -> None:
        """Show a whole series of one metric, if it has a chart."""
        if name in self.charts:
            self.charts[name].set_series(steps, values)

    def clear(self) -> None:
        """Show nothing."""
        for chart in self.charts.values():
            chart.clear()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose the number of columns by width."""
        super().resizeEvent(event)
        self._arrange(max(1, min(3, event.size().width() // _COLUMN_WIDTH)))

    def _arrange(self, columns: int) -> None:
        if columns == self._columns:
            return
        self._columns = columns
        for i, chart in enumerate(self.charts.values()):
            self._grid.addWidget(chart, i // columns, i % columns)
