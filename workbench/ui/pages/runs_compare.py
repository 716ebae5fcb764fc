"""Two to six runs beside each other: charts on the same axes, what differs, how they ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QMenu,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import comparing
from workbench.app.comparing import Comparison, Difference, Ending
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.events import METRICS
from workbench.ui.asking import Asking
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import reason
from workbench.ui.pages.runs_compare_chart import TOGETHER, CompareChart, Swatch, Trace, limits
from workbench.ui.pages.wording import MISSING, status
from workbench.ui.plots.metric_chart import figure
from workbench.ui.plots.series import Series
from workbench.ui.theme import Theme
from workbench.ui.widgets import Card, button, label

_FIRST = ("objective/scores", "objective/kl", "completions/mean_length")
_HEIGHT, _SMALL_HEIGHT = 230, 160
_SIDE_BY_SIDE = 3
Curves = Mapping[str, Sequence[Trace]]
Fact = tuple[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was read: the comparison, and the curves of the figures that are shown."""

    comparison: Comparison
    shown: tuple[str, ...]
    curves: Curves


def read(ws: Workspace, run_ids: Sequence[int], shown: Sequence[str], smoothing: float) -> Answer:
    """Read runs and smooth their curves; without a choice of figures, the best known ones."""
    found = comparing.compare(ws, run_ids)
    there = tuple(found.endings)
    wanted = tuple(name for name in shown if name in there)
    wanted = wanted or tuple(n for n in _FIRST if n in there) or there[:3]
    curves: dict[str, list[Trace]] = {name: [] for name in wanted}
    for slot, run in enumerate(found.runs):
        for name in wanted:
            if points := found.figures[slot].get(name):
                curves[name].append(_trace(run, slot, points, smoothing))
    return Answer(found, wanted, curves)


def _trace(run: Run, slot: int, points: Sequence[tuple[int, float]], smoothing: float) -> Trace:
    series = Series(smoothing)
    for step, value in points:
        series.append(step, value)
    return Trace(run.name, slot, *series.drawn(smooth=smoothing > 0))


class CompareView(QScrollArea):
    """Reads beside the window; says so where the choice cannot be compared."""

    def __init__(self, ws: Workspace, theme: Theme) -> None:
        super().__init__()
        self._ws, self._theme = ws, theme
        self._ids: tuple[int, ...] = ()
        self._wanted: tuple[str, ...] = ()
        self._answer: Answer | None = None
        self.charts: list[CompareChart] = []
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_answer)
        self._asking.failed.connect(self._say)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setAccessibleName(self.tr("Comparison of the chosen runs"))
        self.problem = label("", "muted", wrap=True)
        self.problem.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._legend = QHBoxLayout()
        self._legend.setSpacing(8)
        self._grid = QGridLayout()
        self._grid.setSpacing(12)
        pictures = QWidget()
        pictures.setLayout(self._grid)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._table_room = QVBoxLayout()
        self._table_room.setContentsMargins(0, 0, 0, 0)
        table = QWidget()
        table.setLayout(self._table_room)
        self.views = QStackedWidget()
        self.views.addWidget(pictures)
        self.views.addWidget(table)
        self._below = QGridLayout()
        self._below.setSpacing(12)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addLayout(self._build_head())
        column.addWidget(self.problem)
        column.addWidget(self.views)
        column.addLayout(self._below)
        column.addStretch(1)
        self.setWidget(inner)

    def _build_head(self) -> QHBoxLayout:
        self.figures_button = button(self.tr("Figures"), "outlined")
        self.figures_menu = QMenu(self.figures_button)
        self.figures_button.setMenu(self.figures_menu)
        self.smoothing = QComboBox()
        self.smoothing.setAccessibleName(self.tr("Smoothing"))
        self.smoothing.setToolTip(self.tr("Exponential mean, the same for all charts and runs"))
        for value, word in (
            (0.0, self.tr("Not smoothed")),
            (0.6, self.tr("Smoothed lightly")),
            (0.9, self.tr("Smoothed")),
            (0.98, self.tr("Smoothed strongly")),
        ):
            self.smoothing.addItem(word, value)
        self.smoothing.setCurrentIndex(2)
        self.smoothing.currentIndexChanged.connect(self._ask)
        self.table_button = button(self.tr("As table"), "outlined", icon="table")
        self.table_button.setCheckable(True)
        self.table_button.toggled.connect(lambda is_on: self.views.setCurrentIndex(int(is_on)))
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addLayout(self._legend)
        head.addStretch(1)
        for widget in (self.figures_button, self.smoothing, self.table_button):
            head.addWidget(widget)
        return head

    def show_runs(self, run_ids: Sequence[int]) -> None:
        """Compare other runs."""
        if tuple(run_ids) != self._ids:
            self._ids = tuple(run_ids)
            self._ask()

    def refresh(self) -> None:
        """Read the same runs again."""
        self._ask()

    def choose(self, metric: str, is_shown: bool) -> None:
        """Show a figure, or do not show it any more."""
        before = self._answer.shown if self._answer else ()
        self._wanted = (*before, metric) if is_shown else tuple(n for n in before if n != metric)
        self._ask()

    def _ask(self) -> None:
        ws, ids, wanted = self._ws, self._ids, self._wanted
        smoothing = float(self.smoothing.currentData())
        self._asking.ask(lambda: read(ws, ids, wanted, smoothing))

    def _say(self, sentence: str) -> None:
        """The choice cannot be compared."""
        self._answer = None
        self._clear()
        self.problem.setText(sentence)
        self.problem.show()
        self.views.hide()

    def _clear(self) -> None:
        self.charts = []
        for layout in (self._legend, self._grid, self._table_room, self._below):
            while (item := layout.takeAt(0)) is not None:
                if (widget := item.widget()) is not None:
                    widget.hide()
                    widget.deleteLater()

    def _on_answer(self, answer: object) -> None:
        self._answer = found = cast("Answer", answer)
        self._clear()
        has_figures = bool(found.comparison.endings)
        self.problem.setText(self.tr("None of these runs has told a figure."))
        self.problem.setVisible(not has_figures)
        self.views.setVisible(has_figures)
        self._fill_menu(found)
        runs = found.comparison.runs
        # With a chart each, the title of the chart names the run.
        for slot, run in enumerate(runs if len(runs) <= TOGETHER else ()):
            self._legend.addWidget(Swatch(self._theme, slot))
            self._legend.addWidget(label(run.name))
        self._draw_charts(found)
        self._table_room.addWidget(self._curves_table(found))
        # Side by side while the columns of all runs have room.
        place = (0, 1) if len(found.comparison.runs) <= _SIDE_BY_SIDE else (1, 0)
        self._below.addWidget(self._differences_card(found.comparison), 0, 0)
        self._below.addWidget(self._endings_card(found.comparison), *place)

    def _fill_menu(self, found: Answer) -> None:
        self.figures_menu.clear()
        for name in found.comparison.endings:
            action = self.figures_menu.addAction(comparing.title_of(name))
            action.setCheckable(True)
            action.setChecked(name in found.shown)
            action.toggled.connect(partial(self.choose, name))

    def _draw_charts(self, found: Answer) -> None:
        runs = found.comparison.runs
        for i, name in enumerate(found.shown):
            traces = found.curves[name]
            known = METRICS.get(name)
            ends = limits(traces, known.healthy if known else None)
            title = comparing.title_of(name)
            if len(runs) <= TOGETHER:
                self._add_chart(i // 3, i % 3, name, title, traces, ends, _HEIGHT)
                continue
            for slot, run in enumerate(runs):
                own = [replace(trace, slot=0) for trace in traces if trace.slot == slot]
                each = f"{title}: {run.name}"
                row, column = divmod(slot, 3)
                self._add_chart(2 * i + row, column, name, each, own, ends, _SMALL_HEIGHT)

    def _add_chart(
        self,
        row: int,
        column: int,
        metric: str,
        title: str,
        traces: Sequence[Trace],
        ends: tuple[float, float, float],
        height: int,
    ) -> None:
        chart = CompareChart(self._theme, metric, title)
        chart.show_traces(traces, ends)
        card = Card(title)
        card.body.addWidget(chart)
        card.setMinimumHeight(height)
        self._grid.addWidget(card, row, column)
        self.charts.append(chart)

    def _curves_table(self, found: Answer) -> QWidget:
        """The charts in numbers: of each curve its ends and its extremes."""
        rows = []
        for name in found.shown:
            for trace in found.curves[name]:
                finite = [float(v) for v in trace.y if v == v]
                ends = (finite[0], min(finite), max(finite), finite[-1]) if finite else ()
                words = tuple(figure(v) for v in ends) or (MISSING,) * 4
                rows.append((comparing.title_of(name), (trace.name, *words)))
        tr = self.tr
        titles = [tr("Run"), tr("First"), tr("Lowest"), tr("Highest"), tr("Last")]
        table = _table(self.tr("Curves in numbers"), self.tr("Figure"), titles, rows)
        card = Card(self.tr("Curves in numbers"))
        card.body.addWidget(table)
        return card

    def _differences_card(self, found: Comparison) -> Card:
        card = Card(self.tr("Settings that differ"))
        card.set_fact(
            self.tr("{n} of {total}; bold differs from the first run").format(
                n=len(found.differences), total=found.n_settings
            )
        )
        rows = [(d.title, _words(d)) for d in found.differences]
        names = [run.name for run in found.runs]
        table = _table(self.tr("Settings that differ"), self.tr("Setting"), names, rows, bold=True)
        card.body.addWidget(table)
        return card

    def _endings_card(self, found: Comparison) -> Card:
        card = Card(self.tr("How they ended"))
        rows: list[Fact] = [(self.tr("State"), tuple(status(run.status)[1] for run in found.runs))]
        if any(run.error for run in found.runs):
            rows.append((self.tr("Why"), tuple(reason(run) or MISSING for run in found.runs)))
        for name, endings in found.endings.items():
            rows.append((comparing.title_of(name), tuple(self._ending(e) for e in endings)))
        names = [run.name for run in found.runs]
        table = _table(self.tr("How they ended"), self.tr("Reading"), names, rows)
        card.body.addWidget(table)
        return card

    def _ending(self, ending: Ending | None) -> str:
        if ending is None:
            return MISSING
        if ending.value is None:
            return self.tr("no number")
        if ending.is_broken:
            text = self.tr("{value} at {step}, then no number")
            return text.format(value=figure(ending.value), step=ending.step)
        return figure(ending.value)


def _words(difference: Difference) -> tuple[str, ...]:
    return tuple(MISSING if value is None else value for value in difference.values)


def _table(
    name: str, first: str, titles: Sequence[str], rows: Sequence[Fact], *, bold: bool = False
) -> RowsView[Fact]:
    """A table with a column per run; all of its rows are seen, the page scrolls."""

    def differs(place: int, fact: Fact) -> bool:
        return bold and fact[1][place] != fact[1][0]

    columns: list[Column[Fact]] = [Column(first, lambda fact: fact[0])]
    for i, title in enumerate(titles):
        columns.append(
            Column(title, partial(_cell, i), is_number=False, is_bold=partial(differs, i))
        )
    table = RowsView(columns, name)
    table.set_rows(rows)
    table.show_whole(len(rows))
    return table


def _cell(place: int, fact: Fact) -> str:
    return fact[1][place]
