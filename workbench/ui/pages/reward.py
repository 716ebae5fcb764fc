"""Reward models: settings, live curves, the verdict on held-out pairs, and all runs so far."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QSignalBlocker
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QHBoxLayout, QLabel, QTabWidget, QVBoxLayout, QWidget

from workbench.app import reward as app_reward
from workbench.app import reward_export, reward_import
from workbench.app.training_data import hindrance
from workbench.app.workspace import Workspace
from workbench.config.algorithms import DESIGN, IMPORTED, REWARD
from workbench.config.reward_model import PRESETS, RewardModelSettings
from workbench.config.toml import SettingsError
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.events import Evaluated, Event, Step
from workbench.ui.asking import Asking
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.export_dialog import ExportDialog
from workbench.ui.pages.live_charts import LiveCharts
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.memory_card import MemoryCard
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.probes import ProbesTab
from workbench.ui.pages.reward_import_dialog import RewardImportDialog
from workbench.ui.pages.reward_inputs import RewardInputs
from workbench.ui.pages.reward_report import ReportTab
from workbench.ui.pages.reward_score import ScoreTab
from workbench.ui.pages.reward_tab import RewardTab
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import (
    Verdict,
    heldout,
    is_open,
    kind_of_reward,
    verdict_of_reward,
)
from workbench.ui.pages.run_page import RunPage
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import MISSING, moment, percent_interval, status, status_badge
from workbench.ui.widgets import Badge, Card, EmptyState, PageHeader, button

TABS: tuple[type[RewardTab], ...] = (
    ReportTab,
    ScoreTab,
    ProbesTab,
)
CHARTS = ("reward/loss", "reward/accuracy", "reward/heldout_accuracy")


class RewardPage(RunPage):
    """Train on the judgements and see whether the result can be trusted. Calls app.reward."""

    key = "reward"
    run_kind = "reward"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        # All pairs are read for it, which takes a moment where there are many.
        self._asked_about: tuple[object, ...] | None = None
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show_doubts)
        self._build()
        self._lay_out()

    def _build(self) -> None:
        self.form = SettingsForm(RewardModelSettings, PRESETS)
        self.form.problems_changed.connect(self._update)
        self.form.changed.connect(self._on_change)
        self.inputs = RewardInputs(self.ws)
        self.inputs.changed.connect(self._on_change)
        self.column = self.add_settings(SettingsColumn(self.form, self.inputs))
        self.header = PageHeader(self.tr("Reward model"))
        self.badge = Badge("neutral", "")
        self.train_button = button(self.tr("Train reward model"), "outlined", icon="reward")
        self.train_button.clicked.connect(self.train)
        self.import_button = button(self.tr("Import"), "quiet", icon="import")
        self.import_button.setToolTip(self.tr("Take in a reward model that others trained"))
        self.import_button.clicked.connect(self.import_model)
        self.export_button = button(self.tr("Export"), "link")
        self.export_button.setToolTip(
            self.tr("Write the shown reward model so that other programs load it")
        )
        self.export_button.clicked.connect(self.export)
        self.next_button = button(self.tr("Train policy with it"), "filled", icon="train")
        self.next_button.clicked.connect(lambda: self.context.show_page("train"))
        self.banner = VerdictBanner()
        self.banner.clicked.connect(self._make_report)
        self.memory = MemoryCard(self.ws)
        self.memory.fitted.connect(self.form.set_values)
        self.doubts = QLabel()
        self.doubts.setWordWrap(True)
        self.doubts_card = Card(self.tr("The ranked pairs"))
        self.doubts_card.body.addWidget(self.doubts)
        self.doubts_card.hide()
        self.charts = LiveCharts(CHARTS)
        self.table: RowsView[Run] = RowsView(
            [
                Column(self.tr("Run"), lambda r: r.name),
                Column(self.tr("Kind"), kind_of_reward, "ensemble of 10"),
                Column(self.tr("State"), self._state, "interrupted", icon=self._icon),
                Column(self.tr("Held-out accuracy"), _accuracy, "100 % [100, 100]", True),
                Column(self.tr("Pairs"), lambda r: str(r.inputs.get("n_pairs", "–")), "0000", True),
                Column(
                    self.tr("Model"),
                    lambda r: str(r.inputs.get("model", "–")),
                    "SmolLM2-135M-In",
                    is_optional=True,
                ),
                Column(
                    self.tr("Started"),
                    lambda r: moment(r.created_at),
                    "0000-00-00 00:00",
                    is_optional=True,
                ),
            ],
            self.tr("Reward model runs"),
        )
        self.table.chosen.connect(self._on_chosen)

    def _lay_out(self) -> None:
        self.header.add_badge(self.badge)
        self.header.add_action(self.column.button)
        self.header.add_action(self.import_button)
        self.header.add_action(self.train_button)
        self.header.add_action(self.next_button)
        self.runs_card = Card(self.tr("All reward models"))
        self.runs_card.body.addWidget(self.table)
        self.runs_card.add_head(self.export_button)
        self.empty = EmptyState(
            "reward",
            self.tr("No reward model yet"),
            self.tr(
                "It learns from the ranked pairs which answer people prefer. "
                "Its loss and its accuracy on held-out pairs appear here."
            ),
        )
        training = QWidget()
        body = QHBoxLayout(training)
        body.setContentsMargins(0, 12, 0, 0)
        body.setSpacing(16)
        content = QVBoxLayout()
        content.setSpacing(12)
        content.addWidget(self.banner)
        content.addWidget(self.memory)
        content.addWidget(self.doubts_card)
        content.addWidget(self.charts, 3)
        content.addWidget(self.runs_card, 2)
        content.addWidget(self.empty, 5)
        body.addWidget(self.column)
        body.addLayout(content, 1)
        self.tabs = QTabWidget()
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setExpanding(False)
        self.parts = [kind(self.ws, self.context) for kind in TABS]
        for part in self.parts:
            self.tabs.addTab(part, part.title())
        # Behind the report; in front of the eyes as long as there is none.
        self.tabs.insertTab(1, training, self.tr("Training"))
        self.tabs.setCurrentWidget(training)
        self._has_opened = False
        self.tabs.currentChanged.connect(self._show_part)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self.tabs, 1)

    def refresh(self) -> None:
        """Read runs and judgements again."""
        runs = self.runs()
        if self.shown is None and runs:
            self.shown = runs[0].id
        # The row that was current before is not chosen anew: a run that has just begun is shown.
        with QSignalBlocker(self.table):
            self.table.set_rows(runs, key=lambda r: r.id)
            self._select_shown()
        self._asked_about = None
        self.inputs.refresh()
        super().refresh()
        self._on_change()

    def draw(self, run: Run | None) -> None:
        """Show a run's curves and verdict."""
        self.badge.setVisible(run is not None)
        self.empty.setVisible(run is None)
        self.charts.setVisible(run is not None)
        self.runs_card.setVisible(run is not None)
        if run is None:
            self.header.set_facts(self.tr("None trained yet"))
        else:
            self.header.set_facts(self._facts(run))
            self.badge.set(*status_badge(run.status))
            self.charts.follow(self.record(run))
        self.column.set_locked(self.job() is not None)
        self.inputs.setEnabled(self.job() is None)
        self.memory.set_locked(self.job() is not None)
        self._update()
        self._update_banner(run)
        self._open_on_report(run)
        self._show_part()

    def _open_on_report(self, run: Run | None) -> None:
        """At first a report is shown, where there is one."""
        report = self.parts[0]
        if not self._has_opened and isinstance(report, ReportTab) and report.has_report(run):
            self.tabs.setCurrentWidget(report)
        self._has_opened = True

    def _show_part(self) -> None:
        shown = self.tabs.currentWidget()
        if isinstance(shown, RewardTab):
            shown.show_run(self.run())

    def take(self, event: Event, live: LiveRun) -> None:
        """Draw one event of the shown run."""
        if isinstance(event, Step | Evaluated):
            self.charts.follow(live)

    def train(self) -> None:
        """Train with the form's settings, or go to what hinders it."""
        try:
            settings = self.form.settings()
        except SettingsError:
            self.column.go_to_first_problem()
            return
        base = self.inputs.base()
        self.submit(lambda: app_reward.train_reward(self.ws, settings, base))

    def import_model(self) -> None:
        """Ask for a folder and import it as a reward run."""
        dialog = RewardImportDialog(self)
        if dialog.exec():
            folder, is_copied = dialog.folder(), dialog.is_copied.isChecked()
            self.submit(lambda: reward_import.import_reward(self.ws, folder, is_copied=is_copied))

    def export(self) -> None:
        """Ask for a folder and write the shown reward model into it."""
        run = self.run()
        if run is None:
            return
        dialog = ExportDialog(self, run, self.ws.path / "exports")
        if not dialog.exec():
            return
        folder, is_merged = dialog.folder(), dialog.is_merged.isChecked()
        try:
            job = reward_export.export_reward(self.ws, run.id, folder, is_merged)
        except WorkbenchError as error:
            self.notice = Verdict("bad", error.message, error.hint)
            self._update_banner(run)
            return
        self.context.bridge.watch(job)

    def _on_change(self) -> None:
        """Plan memory and look at the labels with the settings as they are now."""
        settings = self._settings_if_right()
        if settings is None:
            return  # What is wrong stands at its field; the plan of before stays.
        self.memory.plan_for(REWARD, settings, base=self.inputs.base())
        about = (settings.loss, bool(settings.strength_margin))
        if about != self._asked_about:
            self._asked_about = about
            self._asking.ask(partial(app_reward.check_pairs, self.ws, settings))
        self._update()

    def _settings_if_right(self) -> RewardModelSettings | None:
        try:
            return self.form.settings()
        except SettingsError:
            return None

    def _update(self) -> None:
        why = self.busy_sentence() or self._hindrance()
        self.train_button.setEnabled(not why)
        self.train_button.setToolTip(why or self.tr("Train on all ranked pairs"))
        run = self.run()
        is_ready = run is not None and run.status in ("done", "stopped")
        self.next_button.setVisible(is_ready)
        is_network = run is not None and run.algorithm in (REWARD.name, IMPORTED.name)
        self.export_button.setVisible(is_ready and is_network)
        self.import_button.setEnabled(not self.busy_sentence() and bool(self.ws.selected_model))
        # One filled button: training leads until there is a model to go on with.
        self.train_button.set_kind("outlined" if is_ready or why else "filled")

    def _hindrance(self) -> str:
        n = self.form.n_problems()
        if n:
            return self.tr("Correct the settings first: {n} are wrong.").format(n=n)
        if not self.ws.selected_model and not self.inputs.base():
            return self.tr("No model is chosen yet. Choose one on the Models page.")
        return hindrance(self.ws, REWARD, self._settings_if_right())

    def _facts(self, run: Run) -> str:
        n = run.inputs.get("n_pairs")
        if n is None:
            return f"{run.name}, {kind_of_reward(run)}"
        return self.tr("{run}, trained on {n} judgements").format(run=run.name, n=n)

    def _update_banner(self, run: Run | None) -> None:
        verdict = self.notice
        is_trained = run is not None and run.algorithm != DESIGN.name and not is_open(run)
        if verdict is None and run is not None and is_trained:
            verdict = verdict_of_reward(run)
        report = self.parts[0]
        is_new = run is not None and run.status in ("done", "stopped") and self.notice is None
        if is_new and isinstance(report, ReportTab) and not report.has_report(run):
            self.banner.tell(verdict, self.tr("Make the report card"))
        else:
            self.banner.tell(verdict)

    def _make_report(self) -> None:
        report = self.parts[0]
        self.tabs.setCurrentWidget(report)
        if isinstance(report, ReportTab):
            report.measure()

    def _show_doubts(self, found: object) -> None:
        assert isinstance(found, list)
        self.doubts_card.setVisible(bool(found))
        self.doubts.setText("\n".join(found))
        self.doubts_card.set_fact(self.tr("{n} to look at").format(n=len(found)))

    def _on_chosen(self, run: Run | None) -> None:
        if run is not None and run.id != self.shown:
            self.show_run(run.id)

    def _select_shown(self) -> None:
        for i, run in enumerate(self.table.rows()):
            if run.id == self.shown:
                self.table.selectRow(i)

    def _state(self, run: Run) -> str:
        return status(run.status)[1]

    def _icon(self, run: Run) -> QIcon | None:
        return self.context.theme.status_icon(status(run.status)[0])


def _accuracy(run: Run) -> str:
    held = heldout(run)
    return percent_interval(held.accuracy, held.low, held.high) if held else MISSING
