"""What a run earned against how far it went: reward over KL, and the held-back judge over KL."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PySide6.QtCore import QPointF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QHBoxLayout, QWidget

from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.still_chart import Axis, StillChart
from workbench.ui.plots.metric_chart import figure
from workbench.ui.plots.series import y_limits
from workbench.ui.theme import Theme
from workbench.ui.widgets import Card

_MOST_POINTS = 40
Place = tuple[float, float]
Points = tuple[Sequence[int], Sequence[float]]


class PathChart(StillChart):
    """The way of a run through KL and another figure, from its first update to its last."""

    def __init__(self, theme: Theme, name: str, empty: str, unit: str) -> None:
        super().__init__(theme, name, empty)
        self._unit = unit
        self._path: list[Place] = []
        self._ends: tuple[int, int] = (0, 0)

    def show_path(self, kl: Points, values: Points) -> None:
        """Draw the updates of which both figures are known; many are taken together."""
        known = dict(zip(*kl, strict=True))
        steps = [step for step in values[0] if step in known]
        at = dict(zip(*values, strict=True))
        places = [(known[step], at[step]) for step in steps]
        self._path = thinned([p for p in places if np.isfinite(p).all()])
        if not self._path:
            self.tell([], is_empty=True)
            return
        self._ends = (steps[0], steps[-1])
        x, y = (np.array(side) for side in zip(*self._path, strict=True))
        left, right = y_limits(np.append(x, 0.0), None)
        low, high = y_limits(y, None)
        ticks = [left, (left + right) / 2, right]
        self.x_axis = Axis(left, right, _named(ticks), self.tr("KL to the reference, nats"))
        self.y_axis = Axis(low, high, _named([low, (low + high) / 2, high]), self._unit)
        (x0, y0), (x1, y1) = self._path[0], self._path[-1]
        self.tell(
            [
                self.tr("update {step}: {value} at a KL of {kl} nats").format(
                    step=step, value=figure(value), kl=figure(kl_there)
                )
                for step, kl_there, value in ((steps[0], x0, y0), (steps[-1], x1, y1))
            ]
        )

    def draw(self, painter: QPainter) -> None:
        """The path, with the updates at its ends."""
        self.curve(painter, self._path, "series-1")
        first, last = self.tr("update {n}"), self.tr("update {n}")
        words = zip((first, last), self._ends, (self._path[0], self._path[-1]), strict=True)
        for text, step, place in list(words)[len(self._path) == 1 :]:
            self.word(painter, self.at(*place) + QPointF(8, -8), text.format(n=step), "muted")


class KLView(QWidget):
    """Both paths side by side; the second says so where nobody was held back."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        title = self.tr("Reward against KL")
        empty = self.tr("There is no update yet.")
        self.reward = PathChart(theme, title, empty, self.tr("Reward"))
        opinion = self.tr("Held-back judge against KL")
        nobody = self.tr(
            "Nobody is held back. Choose a held-back judge before the next run: where its opinion "
            "falls while the reward rises, the reward is exploited."
        )
        self.judge = PathChart(theme, opinion, nobody, self.tr("Opinion"))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 0)
        layout.setSpacing(8)
        for name, chart in ((title, self.reward), (opinion, self.judge)):
            card = Card(name)
            card.body.addWidget(chart)
            layout.addWidget(card, 1)

    def show_run(self, live: LiveRun) -> None:
        """Draw a run's paths as far as it has come."""
        kl = live.series.get("objective/kl", ([], []))
        self.reward.show_path(kl, live.series.get("objective/scores", ([], [])))
        self.judge.show_path(kl, live.series.get("judge/score", ([], [])))


def thinned(places: Sequence[Place]) -> list[Place]:
    """At most 40 places: means of neighbours, of as many each as there must be."""
    edges = np.linspace(0, len(places), min(_MOST_POINTS, len(places)) + 1).round().astype(int)
    means = [np.mean(places[a:b], axis=0) for a, b in pairwise(edges)]
    return [(float(x), float(y)) for x, y in means]


def _named(ticks: Sequence[float]) -> tuple[tuple[float, str], ...]:
    return tuple((tick, figure(tick)) for tick in ticks)
