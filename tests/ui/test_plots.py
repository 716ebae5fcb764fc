"""Charts: what is drawn of long series, and what is said beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QTableWidget
from pytestqt.qtbot import QtBot

from workbench.events import METRICS
from workbench.ui.plots.chart_grid import ChartGrid
from workbench.ui.plots.metric_chart import MetricChart
from workbench.ui.plots.series import MAX_POINTS, Series, x_limit, y_limits
from workbench.ui.theme import theme

BANDED = next(name for name, metric in METRICS.items() if metric.healthy)


@pytest.fixture
def chart(qtbot: QtBot) -> MetricChart:
    made = MetricChart(BANDED)
    qtbot.addWidget(made)
    made.resize(300, 180)
    made.show()
    return made


def long_series(n: int) -> Series:
    series = Series()
    y = np.sin(np.arange(n) / 1000)
    y[n // 3] = 50.0
    for i in range(n):
        series.append(i, y[i])
    return series


def test_a_million_points_draw_as_two_thousand_with_the_spike() -> None:
    series = long_series(1_000_000)
    x, y = series.drawn(smooth=False)
    assert len(x) <= 1.6 * MAX_POINTS
    assert y.max() == 50.0
    assert x[0] <= 1000
    assert x[-1] == 999_999
    assert (np.diff(x) >= 0).all()
    x, _ = series.drawn(smooth=True)
    assert len(x) <= 1.6 * MAX_POINTS


@given(
    st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=1, max_size=60),
    st.integers(1, 200),
)
def test_extremes_of_any_series_are_drawn(values: list[float], repeats: int) -> None:
    series = Series()
    for i, value in enumerate(values * repeats):
        series.append(i, value)
    x, y = series.drawn(smooth=False)
    assert len(x) == len(y) <= 1.6 * MAX_POINTS
    finite = [v for v in values if math.isfinite(v)]
    if finite:
        assert np.nanmax(y) == max(finite)
        assert np.nanmin(y) == min(finite)


def test_smoothing_starts_at_the_first_value_and_outlives_a_gap() -> None:
    series = Series(smoothing=0.5)
    for i, value in enumerate([4.0, math.nan, 4.0, 0.0]):
        series.append(i, value)
    _, smooth = series.drawn(smooth=True)
    assert smooth[:3] == pytest.approx([4.0, 4.0, 4.0])
    # The unbiased mean of weights 1/2 (newest), 1/4, 1/8 over their sum 7/8.
    assert smooth[3] == pytest.approx((0.25 * 4 + 0.125 * 4) / 0.875)


@given(st.floats(0, 1e9))
def test_x_grows_in_steps(last: float) -> None:
    right = x_limit(last)
    assert right >= max(last, 10)
    assert f"{right:e}"[0] in "125"
    assert x_limit(right) == right


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.none() | st.tuples(st.floats(-10, 0), st.floats(0.1, 10)),
)
def test_y_holds_every_value_to_two_pixels(
    values: list[float], healthy: tuple[float, float] | None
) -> None:
    low, high = y_limits(np.array(values), healthy)
    # Just below zero may be cut, so that noise makes no negative axis.
    slack = 0.03 * (max(values) - min(values)) + 1e-6 * max(1.0, *map(abs, values))
    assert low - slack <= min(values)
    assert max(values) <= high + slack
    assert low < high


def test_the_axis_stands_still_between_steps(chart: MetricChart) -> None:
    ranges = set()
    for step in range(200):
        chart.append(step, 0.01 * (step % 7))
        ranges.add(tuple(chart._plot.getPlotItem().viewRange()[0]))
    assert len(ranges) <= 6


def test_a_value_outside_its_band_gets_an_icon_not_only_a_colour(chart: MetricChart) -> None:
    low, high = METRICS[BANDED].healthy
    chart.append(0, (low + high) / 2)
    assert not chart._icon.isVisible()
    chart.append(1, high + (high - low))
    assert chart.is_out_of_band()
    assert chart._icon.isVisible()
    assert chart._icon.accessibleName() or chart.accessibleDescription()


def test_value_title_and_meaning_are_said(chart: MetricChart) -> None:
    assert chart.value_text() == "–"
    chart.append(0, -0.0214)
    assert chart.value_text() == "−0.0214"
    assert chart.accessibleName() == METRICS[BANDED].title
    assert "−0.0214" in chart.accessibleDescription()
    assert METRICS[BANDED].meaning in chart.toolTip()
    assert BANDED in chart.toolTip()


def test_not_measured_is_a_dash_and_breaks_the_line(chart: MetricChart) -> None:
    chart.set_series([0, 1, 2], [1.0, math.nan, 1.0])
    chart.append(3, math.nan)
    assert chart.value_text() == "–"
    chart.clear()
    assert chart.value_text() == "–"
    assert len(chart.series) == 0


def test_another_theme_restyles_what_is_drawn(chart: MetricChart) -> None:
    look = theme()
    chart.set_series(range(50), np.linspace(0, 1, 50))
    grounds = {}
    for mode in ("light", "dark"):
        look.set_mode(mode)
        grounds[mode] = chart._plot.backgroundBrush().color().name()
        assert grounds[mode] == look.color("surface").name()
        pen: QColor = chart._smooth.opts["pen"].color()
        assert pen.name() == look.color("series-1").name()
    look.set_mode("system")
    assert grounds["light"] != grounds["dark"]


def test_the_numbers_as_a_table(chart: MetricChart, qtbot: QtBot) -> None:
    chart.set_series([0, 5], [1.5, -2.5])
    dialog = chart.show_table()
    qtbot.addWidget(dialog)
    table = dialog.findChild(QTableWidget)
    assert [table.item(1, c).text().replace("−", "-") for c in (0, 1)] == ["5", "-2.5"]


def test_charts_are_reached_by_key(qtbot: QtBot) -> None:
    grid = ChartGrid(list(METRICS)[:4])
    qtbot.addWidget(grid)
    with qtbot.waitActive(grid):
        grid.show()
        grid.activateWindow()
    charts = grid.findChildren(MetricChart)
    assert len(charts) == 4
    charts[0].setFocus()
    for chart in charts[1:]:
        qtbot.keyClick(grid.focusWidget(), Qt.Key.Key_Tab)
        assert chart.hasFocus()
