"""What choosing the best of n answers does to a reward: the cheapest look at its optimisation."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QFontMetricsF, QPainter, QPen

from workbench.app import best_of_n
from workbench.app.answers import all_prompts
from workbench.app.best_of_n import Point
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.config.best_of_n import BestOfNSettings
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.still_chart import Axis, StillChart
from workbench.ui.pages.wording import interval_sentence, number, percent
from workbench.ui.theme import Theme
from workbench.ui.widgets import Card, button, label


class BestOfNChart(StillChart):
    """Score (scaled to the axis) and win rate in the judge's eyes, against the analytic KL."""

    def __init__(self, theme: Theme, name: str, empty: str) -> None:
        super().__init__(theme, name, empty)
        self._points: tuple[Point, ...] = ()
        ticks = ((0.0, "0"), (0.5, "50"), (1.0, "100"))
        self.y_axis = Axis(0.0, 1.0, ticks, self.tr("Wins in the judge's eyes, %"))

    def show_points(self, points: Sequence[Point]) -> None:
        """Draw another curve."""
        self._points = tuple(points)
        most = max((point.kl_bound for point in points), default=1.0) or 1.0
        ticks = tuple((point.kl_bound, f"n={point.n}") for point in _apart(points, most))
        self.x_axis = Axis(0.0, most * 1.05, ticks, self.tr("KL to the base, nats (at most)"))
        self.tell([self._sentence(point) for point in points], is_empty=not points)

    def _sentence(self, point: Point) -> str:
        said = self.tr("best of {n}: KL at most {kl} nats, score {score}").format(
            n=point.n, kl=number(point.kl_bound), score=number(point.score.value)
        )
        if point.win_rate is None:
            return said
        wins = self.tr("wins {share}, {interval}").format(
            share=percent(point.win_rate.value),
            interval=interval_sentence(point.win_rate.low, point.win_rate.high),
        )
        return f"{said}, {wins}"

    def draw(self, painter: QPainter) -> None:
        """Score dashed, wins solid with their intervals, the turning point as a line."""
        points = self._points
        scores = [point.score.value for point in points]
        span = max(scores) - min(scores) or 1.0
        # From one half up, where the wins begin: only the shape of the score can be compared.
        scaled = [
            (point.kl_bound, 0.5 + 0.45 * (point.score.value - min(scores)) / span)
            for point in points
        ]
        painter.setPen(QPen(self.ink("reference"), 1, Qt.PenStyle.DashLine))
        painter.drawLine(self.at(0, 0.5), self.at(self.x_axis.high, 0.5))
        self.curve(painter, scaled, "series-2", Qt.PenStyle.DashLine)
        judged = [(p.kl_bound, p.win_rate) for p in points if p.win_rate is not None]
        for x, wins in judged:
            self.whisker(painter, x, wins.low, wins.high, "series-1")
        if judged:
            self.curve(painter, [(x, wins.value) for x, wins in judged], "series-1")
        self._paint_names(painter, scaled, bool(judged))
        turn = best_of_n.turning_point(points)
        if turn is not None:
            top, bottom = self.at(turn[0].kl_bound, 1.0), self.at(turn[0].kl_bound, 0.0)
            painter.setPen(QPen(self.ink("bad" if turn[1] else "warn"), 1.5, Qt.PenStyle.DotLine))
            painter.drawLine(top, bottom)
            words = self.tr("over-optimised from here") if turn[1] else self.tr("may turn here")
            self.word(painter, bottom + QPointF(6, -6), words, "bad" if turn[1] else "warn")

    def _paint_names(
        self, painter: QPainter, scaled: Sequence[tuple[float, float]], is_judged: bool
    ) -> None:
        metrics = QFontMetricsF(painter.font())
        words = self.tr("score (its shape)")
        end = self.at(*scaled[-1])
        place = end + QPointF(-metrics.horizontalAdvance(words), -10)
        self.word(painter, place, words, "series-2")
        if is_judged:
            self.word(painter, self.at(0.0, 0.5) + QPointF(8, 20), self.tr("wins"), "series-1")


def _apart(points: Sequence[Point], most: float) -> list[Point]:
    """Points whose words do not stand on each other, the last one in any case."""
    kept: list[Point] = []
    for point in reversed(points):
        if not kept or kept[-1].kl_bound - point.kl_bound > 0.14 * most:
            kept.append(point)
    return kept


class BestOfNCard(Card):
    """The curve of the newest such run with the shown reward, and a button for another."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(self.tr("Best of n, before any training"))
        self._ws, self._context = ws, context
        self._run: Run | None = None
        self.chart = BestOfNChart(
            context.theme,
            self.tr("Best of n: score and wins against KL"),
            self.tr(
                "Draws many answers to each held-out prompt and keeps the one that this reward "
                "likes best: what optimising it will do, without training anything."
            ),
        )
        self.words = label("", "muted", wrap=True)
        self.start_button = button(self.tr("Measure"), "link", icon="play")
        self.start_button.setAccessibleName(self.tr("Measure best of n"))
        self.start_button.clicked.connect(self.ask)
        self.add_head(self.start_button)
        self.body.addWidget(self.chart, 1)
        self.body.addWidget(self.words)

    def show_run(self, run: Run) -> None:
        """Show what was measured with a reward."""
        self._run = run
        runs = [
            r
            for r in best_of_n.best_of_n_runs(self._ws)
            if r.inputs.get("reward_run") == run.id and r.status in ("done", "stopped")
        ]
        points: list[Point] = []
        if runs:
            try:
                points = best_of_n.curve(self._ws, runs[0].id)
            except WorkbenchError:
                points = []  # it was stopped before it had measured anything
        self.chart.show_points(points)
        self.words.setText(self._verdict(points))
        self.words.setVisible(bool(points))
        is_going = any(
            job.kind == "evaluation" and job.outcome is None for job in self._ws.runner.jobs
        )
        self.start_button.setEnabled(not is_going and not self._ws.is_read_only)
        self.start_button.setToolTip(
            self.tr("Wait until the evaluation that goes on now has ended.")
            if is_going
            else self.tr("Choose the best of n answers by this reward, and judge them")
        )

    def _verdict(self, points: Sequence[Point]) -> str:
        if not points:
            return ""
        last = points[-1]
        if last.win_rate is None:
            return self.tr("Nobody judged what was chosen.")
        said = self.tr("Best of {n} wins {share} in the annotator's eyes, {interval}.").format(
            n=last.n,
            share=percent(last.win_rate.value),
            interval=interval_sentence(last.win_rate.low, last.win_rate.high),
        )
        turn = best_of_n.turning_point(points)
        if turn is None:
            return f"{said} {self.tr('No sign of over-optimisation up to there.')}"
        words = (
            self.tr("Over-optimised beyond n = {n}, KL {kl} nats: keep a training run below that.")
            if turn[1]
            else self.tr("It may be over-optimised beyond n = {n}, KL {kl} nats.")
        )
        return f"{said} {words.format(n=turn[0].n, kl=number(turn[0].kl_bound, 1))}"

    def ask(self) -> None:
        """Ask how many answers, then start."""
        dialog = SettingsDialog(
            self.window(),
            BestOfNSettings(),
            self.tr("Best of n"),
            self.tr(
                "The base answers each held-out prompt N + 1 times, this reward chooses, and the "
                "simulated annotator judges what it chose."
            ),
            self.tr("Measure best of n"),
        )
        dialog.accepted.connect(lambda: self.start(dialog.settings()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def start(self, settings: BestOfNSettings) -> None:
        """Measure with the shown reward, or say why not."""
        if self._run is None:
            return
        ids = [p.id for p in all_prompts(self._ws, "heldout")]
        ids = ids or [p.id for p in all_prompts(self._ws, "train")]
        try:
            job = best_of_n.best_of_n(
                self._ws, settings, ids, reward_run=self._run.id, annotator=AnnotatorSettings()
            )
        except WorkbenchError as error:
            self.words.setText(f"{error.message} {error.hint}".strip())
            self.words.show()
            return
        self._context.bridge.watch(job)
        self.show_run(self._run)
        self.words.setText(self.tr("Measuring. See the job bar."))
        self.words.show()
