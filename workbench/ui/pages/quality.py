"""How good the labels are: plain sentences first, then intervals, drift, and what to settle."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QHideEvent, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import aggregate, quality
from workbench.app.aggregate import ModelStrength
from workbench.app.quality import Disagreement, FastLabel, Finding, QualityReport, Tenth
from workbench.app.workspace import Workspace
from workbench.data.records import Verdict as Said
from workbench.jobs.runner import Job
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.pages.drift_chart import Curve, DriftChart
from workbench.ui.pages.findings_list import FindingsList
from workbench.ui.pages.interval_plot import IntervalPlot, Share
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import number, percent, percent_interval
from workbench.ui.timers import every, single_shot
from workbench.ui.widgets import Card, EmptyState, PageHeader, button, label
from workbench.ui.widgets.basics import Status

_SOON_MS = 250
_POLL_MS = 50
_REST = 10  # so many times as long as the last report took, nothing is read again
_RATES = (0.0, 0.02, 0.05, 0.1, 0.2)
_ORDER = {"bad": 0, "warn": 1, "info": 2, "ok": 2}
_PLOTTED = ("again", "again_plain", "again_swapped", "side", "length")


class QualityPage(Page):
    """Calls app.quality, in the thread for what only reads; judging goes on meanwhile."""

    key = "quality"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.report: QualityReport | None = None
        self._annotator: str | None = None
        self._job: Job | None = None
        self._key: tuple[str | None, int] | None = None
        self._began = 0.0
        self._is_stale = False
        self._soon = single_shot(self, self._measure, _SOON_MS)
        self._polling = every(self, self._poll, _POLL_MS)
        self._build_header()
        self._build_content()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(self.header)
        layout.addWidget(self.banner)
        layout.addWidget(self.stack, 1)
        self._show_settings()

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Label quality"))
        self.annotators = QComboBox()
        self.annotators.setAccessibleName(self.tr("Annotator"))
        self.annotators.activated.connect(self._choose)
        self.rate = QComboBox()
        self.rate.setAccessibleName(self.tr("Hidden repeats"))
        self.rate.setEnabled(not self.ws.is_read_only)
        self.rate.setToolTip(
            self.tr("Share of judged pairs that come again unannounced, half with swapped sides")
        )
        self.rate.activated.connect(self._save_rate)
        self.rule_button = button(self.tr("Rule for preferences"), "quiet", icon="settings")
        self.rule_button.clicked.connect(self.ask_rule)
        self.rule_button.setEnabled(not self.ws.is_read_only)
        self.rule_button.setToolTip(
            self.tr("Not while the experiment is open read-only.")
            if self.ws.is_read_only
            else self.tr("Who decides where annotators differ, and whether ratings count")
        )
        self.header.add_action(self.rule_button)
        self.header.add_action(self.annotators)
        self.header.add_action(label(self.tr("Hidden repeats"), "muted"))
        self.header.add_action(self.rate)

    def _build_content(self) -> None:
        theme = self.context.theme
        self.banner = VerdictBanner()
        self.findings = FindingsList(theme, self.tr("What was found"))
        self.plot = IntervalPlot(theme, self.tr("Share, % (95 % interval)"))
        self.drift = DriftChart(theme, self.tr("Share, %, in each tenth of the labels"))
        self.drift_none = label(self.tr("Shown from 10 labels on."), "muted", wrap=True)
        self.fast: RowsView[FastLabel] = RowsView(
            [
                Column(self.tr("Prompt"), lambda f: f.prompt),
                Column(self.tr("Time"), lambda f: f"{number(f.seconds, 1)} s", "00.0 s", True),
                Column(self.tr("Words"), lambda f: number(f.n_words, 0), "0000", True),
            ],
            self.tr("Judged too fast"),
        )
        self.differing: RowsView[Disagreement] = RowsView(
            [
                Column(self.tr("Prompt"), lambda d: d.prompt),
                Column(self.tr("Said"), self._said_words),
            ],
            self.tr("Pairs to settle"),
        )
        for table in (self.fast, self.differing):
            self._open_by_key_and_mouse(table)
        self.fast_card = _card(self.tr("Judged too fast"), self.fast)
        self.differing_card = _card(self.tr("Pairs to settle"), self.differing)
        results = QWidget()
        self.grid = QGridLayout(results)
        self.grid.setContentsMargins(0, 0, 0, 0)
        self.grid.setSpacing(12)
        self.grid.addWidget(_card(self.tr("What was found"), self.findings), 0, 0, 1, 2)
        plot_card = _card(self.tr("Habits and agreement"), self.plot)
        plot_card.set_fact(self.tr("grey: may be chance"))
        self.grid.addWidget(plot_card, 0, 2)
        self.grid.addWidget(_card(self.tr("Over time"), self.drift, self.drift_none), 1, 0)
        self.grid.addWidget(self.fast_card, 1, 1)
        self.grid.addWidget(self.differing_card, 1, 2)
        for column in range(3):
            self.grid.setColumnStretch(column, 1)
        for row in range(2):
            self.grid.setRowStretch(row, 1)
        self.stack = QStackedWidget()
        self.stack.addWidget(self._empty_state())
        self.stack.addWidget(results)

    def _empty_state(self) -> EmptyState:
        rank = button(self.tr("Rank answers"), "outlined", icon="rank")
        rank.clicked.connect(self.context.actions["rank.focus"].trigger)
        return EmptyState(
            "quality",
            self.tr("Nothing judged yet"),
            self.tr(
                "Judge some pairs. Here you will see how far you agree with yourself and with "
                "others, whether side or length decides, and which pairs to look at again."
            ),
            rank,
        )

    def _open_by_key_and_mouse(self, table: RowsView[FastLabel] | RowsView[Disagreement]) -> None:
        def open_pair() -> None:
            row = table.current()
            if row is not None:
                self.context.rank_panel().show_comparison(row.comparison_id)

        table.setToolTip(self.tr("Enter or double click shows the pair in the rank panel."))
        table.doubleClicked.connect(open_pair)
        for key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            shortcut = QShortcut(QKeySequence(key), table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(open_pair)

    # Measuring

    def refresh(self) -> None:
        """Look at the labels again, when they have changed and not more often than is cheap."""
        if self.report is None:
            self._measure()
        elif self._job is not None:
            self._is_stale = True
        elif not self._soon.isActive():
            self._soon.start()

    @property
    def is_measuring(self) -> bool:
        """Whether the labels are being read, or are about to be."""
        return self._job is not None or self._soon.isActive()

    def _measure(self) -> None:
        key = (self._annotator, self.ws.experiment.database.n_changes)
        if self._job is not None or key == self._key:
            return
        self._key, self._is_stale = key, False
        self._job = quality.measure(self.ws, self._annotator)
        self._began = time.monotonic()
        if self.report is None:
            self.header.set_facts(self.tr("Reading the labels"))
        self._polling.start()

    def _poll(self) -> None:
        job = self._job
        if job is None or job.finished is None:
            return
        self._polling.stop()
        self._job = None
        took_ms = 1000 * (time.monotonic() - self._began)
        self._soon.setInterval(max(_SOON_MS, round(_REST * took_ms)))
        if job.finished.error:
            error = job.finished.error
            self.banner.tell(Verdict("bad", error.message, error.hint))
            return
        report, models = job.finished.result.get("report"), job.finished.result.get("models")
        if isinstance(report, QualityReport) and isinstance(models, tuple):
            self._show(report, models)
        if self._is_stale:
            self._soon.start()

    def _choose(self, index: int) -> None:
        self._annotator = self.annotators.itemData(index)
        if self._job is not None:
            self.ws.readers.cancel(self._job)
            self._job = None
        self._measure()

    def _save_rate(self, index: int) -> None:
        rate = self.rate.itemData(index)
        chosen = quality.settings(self.ws).model_copy(update={"repeat_rate": rate})
        quality.save_settings(self.ws, chosen)

    def _show_settings(self) -> None:
        now = quality.settings(self.ws).repeat_rate
        for rate in sorted({*_RATES, now}):
            self.rate.addItem(percent(rate) if rate else self.tr("none"), rate)
        self.rate.setCurrentIndex(self.rate.findData(now))

    def ask_rule(self) -> None:
        """By which rule labels become what models learn."""
        dialog = SettingsDialog(
            self.window(),
            aggregate.rule_of(self.ws),
            self.tr("Rule for preferences"),
            self.tr(
                "What reward models and policies learn follows from the labels by this rule. "
                "The labels themselves stay as they are, and each run keeps the rule it learned by."
            ),
            self.tr("Use this rule"),
        )
        dialog.accepted.connect(lambda: aggregate.save_rule(self.ws, dialog.settings()))
        dialog.accepted.connect(self.context.bridge.experiment_changed.emit)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def hideEvent(self, event: QHideEvent) -> None:
        """What is not seen need not be read; `refresh` comes with the next showing."""
        self._soon.stop()
        super().hideEvent(event)

    # Showing

    def _show(self, report: QualityReport, models: Sequence[ModelStrength]) -> None:
        self.report = report
        self.stack.setCurrentIndex(1 if report.findings or report.between else 0)
        self._show_annotators(report)
        state, sentence = report.verdict()
        self.banner.tell(Verdict(state, sentence) if report.findings else None)
        # The gravest first; the rest in its own order.
        every = sorted((*report.findings, *report.alphas), key=lambda f: _ORDER[f.state])
        rows: list[tuple[Status, str]] = [(f.state, f.sentence) for f in every]
        rows += [("info", pair.sentence) for pair in report.between]
        rows += [("info", self._model_sentence(model)) for model in models]
        self.findings.set_rows(rows)
        plotted = [f for f in report.findings if f.key in _PLOTTED and f.figure.n]
        self.plot.set_shares([_share(finding) for finding in plotted])
        self.drift.set_curves(self._curves(report.tenths))
        self.drift.setVisible(bool(report.tenths))
        self.drift_none.setVisible(not report.tenths)
        self.fast.set_rows(report.too_fast, key=lambda f: f.judgement_id)
        self.fast_card.set_fact(self._of_all(len(report.too_fast), report.n_too_fast))
        self.differing.set_rows(report.disagreements, key=lambda d: d.comparison_id)
        shown = self._of_all(len(report.disagreements), report.n_disagreements)
        self.differing_card.set_fact(shown)

    def _show_annotators(self, report: QualityReport) -> None:
        facts = self.tr("{n} labels of {name}").format(n=report.n_judged, name=report.annotator)
        self.header.set_facts(facts if report.n_judged else "")
        names = sorted(report.annotators)
        if [self.annotators.itemData(i) for i in range(self.annotators.count())] != names:
            self.annotators.clear()
            for name in names:
                self.annotators.addItem(name, name)
        self.annotators.setCurrentIndex(self.annotators.findData(report.annotator))
        self.annotators.setVisible(len(names) > 1)

    def _of_all(self, n_listed: int, n: int) -> str:
        if n_listed == n:
            return str(n)
        return self.tr("{listed} of {n}").format(listed=n_listed, n=n)

    def _curves(self, tenths: Sequence[Tenth]) -> list[Curve]:
        names = {
            "side": self.tr("First answer"),
            "longer": self.tr("Longer answer"),
            "neither": self.tr("Neither"),
            "again": self.tr("Same again"),
        }
        return [
            Curve(name, tuple(t.shares[key][:3] if key in t.shares else None for t in tenths))
            for key, name in names.items()
            if any(key in t.shares for t in tenths)
        ]

    def _model_sentence(self, model: ModelStrength) -> str:
        rate = model.win_rate
        return self.tr(
            "{name}: chosen over a model of mean strength in {share} (estimate from {n} votes)."
        ).format(name=model.name, share=percent_interval(rate.value, rate.low, rate.high), n=rate.n)

    def _said_words(self, pair: Disagreement) -> str:
        words: dict[Said, str] = {
            "first": self.tr("A better"),
            "second": self.tr("B better"),
            "tie": self.tr("tie"),
            "both_bad": self.tr("both bad"),
        }
        return ", ".join(f"{name}: {words[verdict]}" for name, verdict in pair.said)


def _card(title: str, *parts: QWidget) -> Card:
    card = Card(title)
    for part in parts:
        card.body.addWidget(part, 1)
    return card


def _share(finding: Finding) -> Share:
    """A row of the plot; agreement is chance when kappa may be 0, whatever its share."""
    is_chance = None
    if finding.kappa is not None:
        is_chance = not finding.kappa.is_defined or finding.kappa.low <= 0
    value, low, high, n = finding.figure
    return Share(finding.title, value, low, high, n, is_chance)
