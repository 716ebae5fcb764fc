"""Before and after: base and trained model on the same held-out prompts with the same seeds."""

from __future__ import annotations

from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import evaluate as app_evaluate
from workbench.app.workspace import Workspace
from workbench.config.algorithms import EVALUATION
from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.toml import SettingsError
from workbench.data.records import Run
from workbench.events import Event
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.evaluation_part import EvaluationPart
from workbench.ui.pages.evaluation_tabs import EvaluationTabs
from workbench.ui.pages.interval_plot import IntervalPlot
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.pairs_card import PairsCard
from workbench.ui.pages.policy_picker import PolicyPicker
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import (
    Measure,
    is_open,
    measures,
    verdict_of_evaluation,
    win_rates,
)
from workbench.ui.pages.run_page import RunPage
from workbench.ui.pages.run_picker import RunPicker
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import status_badge
from workbench.ui.widgets import Badge, Card, EmptyState, PageHeader, button

SIDE_BY_SIDE = 900


class EvaluatePage(RunPage):
    """Compare a trained policy with its base and read the pairs. Calls app.evaluate.

    Text metrics, safety and the gate are further tabs, made when they are first shown.
    """

    key = "evaluate"
    run_kind = "evaluation"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._build_settings()
        self._build_header()
        self._build_content()
        self._lay_out()
        context.actions.on("evaluate.start", self._start_here)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Evaluate"))
        self.badge = Badge("neutral", "")
        self.picker = RunPicker(self.tr("New comparison"))
        self.picker.picked.connect(self.show_run)
        self.new_button = button(self.tr("New comparison"), "outlined", icon="plus")
        self.new_button.clicked.connect(lambda: self.show_run(None))
        self.start_button = button(self.tr("Compare"), "outlined", icon="evaluate")
        self.start_button.clicked.connect(self.start)
        self.head = QWidget()
        row = QHBoxLayout(self.head)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addStretch(1)
        for widget in (
            self.badge,
            self.column.button,
            self.picker,
            self.new_button,
            self.start_button,
        ):
            row.addWidget(widget)
        self.header.add_action(self.head)

    def _build_settings(self) -> None:
        self.policy = PolicyPicker()
        self.policy.currentIndexChanged.connect(self._on_policy)
        self.is_judged = QCheckBox(self.tr("Judge with the simulated annotator"))
        self.is_judged.setChecked(True)
        self.is_judged.toggled.connect(self._update_start)
        self.is_judged.setToolTip(
            self.tr("A stated rule (sentiment and brevity, English only) gives a second opinion.")
        )
        inputs = QWidget()
        rows = QFormLayout(inputs)
        rows.setContentsMargins(0, 8, 0, 8)
        rows.setVerticalSpacing(8)
        rows.addRow(self.tr("Policy"), self.policy)
        rows.addRow(self.is_judged)
        self.form = SettingsForm(EvaluationSettings)
        self.form.problems_changed.connect(self._update_start)
        self.column = self.add_settings(SettingsColumn(self.form, inputs))
        self.inputs = inputs

    def _build_content(self) -> None:
        self.banner = VerdictBanner()
        self.plot = IntervalPlot(
            self.context.theme, self.tr("Wins of the trained policy, % (95 % interval)")
        )
        plot_card = Card(self.tr("Win rate against the base"), self.tr("grey: may be chance"))
        plot_card.body.addWidget(self.plot)
        self.measures: RowsView[Measure] = RowsView(
            [
                Column(self.tr("Measure"), lambda m: m.name),
                Column(self.tr("Before"), lambda m: m.before, "−0.00 [−0.00, 0.00]", True),
                Column(self.tr("After"), lambda m: m.after, "−0.00 [−0.00, 0.00]", True),
                Column(self.tr("Change"), lambda m: m.change, "no clear change"),
            ],
            self.tr("Before and after"),
        )
        self.measures.show_whole(3)
        self.measures_card = Card(self.tr("Before and after"))
        self.measures_card.body.addWidget(self.measures)
        self.pairs = PairsCard()
        results = QWidget()
        self.reports = row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        row.setSpacing(12)
        row.addWidget(plot_card, 2)
        row.addWidget(self.measures_card, 3)
        column = QVBoxLayout(results)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addLayout(row, 2)
        column.addWidget(self.pairs, 3)
        self.empty = EmptyState("evaluate", self.tr("No comparison yet"), "")
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(results)

    def _lay_out(self) -> None:
        content = QVBoxLayout()
        content.setSpacing(12)
        content.addWidget(self.banner)
        content.addWidget(self.stack, 1)
        comparison = QWidget()
        body = QHBoxLayout(comparison)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(16)
        body.addWidget(self.column)
        body.addLayout(content, 1)
        self.tabs = EvaluationTabs(comparison, self.ws, self.context)
        self.tabs.shown.connect(self._on_tab)
        self.tabs.facts_changed.connect(self.header.set_facts)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self.tabs, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        is_wide = event.size().width() >= SIDE_BY_SIDE
        direction = QBoxLayout.Direction
        self.reports.setDirection(direction.LeftToRight if is_wide else direction.TopToBottom)

    # What is shown

    def runs(self) -> list[Run]:
        """Comparisons, the newest first; best of n, which compares nothing, is left out."""
        return [run for run in super().runs() if run.algorithm == EVALUATION.name]

    def refresh(self) -> None:
        """Read policies and comparisons again."""
        runs = self.runs()
        self.picker.set_runs(runs)
        if self.policy.fill(self.ws):
            self._on_policy()
        super().refresh()
        self.tabs.refresh()

    def show_run(self, run_id: int | None) -> None:
        """Show another run under its tab, or None for the way to a new comparison."""
        if run_id is None or not self.tabs.show_run(self.ws.experiment.runs.get(run_id)):
            self.tabs.choose(0)
            super().show_run(run_id)

    def _on_tab(self, part: EvaluationPart | None) -> None:
        """The header is that of the chosen tab."""
        self.head.setVisible(part is None)
        if part is not None and part.head.parent() is not self.header:
            self.header.add_action(part.head)
        for other in self.tabs.parts():
            other.head.setVisible(other is part)
        self.header.set_facts(self._facts(self.run()) if part is None else part.facts)

    def draw(self, run: Run | None) -> None:
        """Show a comparison's verdict, intervals and pairs."""
        self.picker.set_current(self.shown)
        self.badge.setVisible(run is not None)
        if run is not None:
            self.badge.set(*status_badge(run.status))
        if self.tabs.current() is None:
            self.header.set_facts(self._facts(run))
        self.column.set_locked(self.job() is not None)
        self.inputs.setEnabled(self.job() is None)
        has_result = run is not None and bool(win_rates(run))
        # A report needs the width; settings matter only before and while it is made.
        self.column.set_needed(not has_result)
        self.start_button.setVisible(not has_result)
        self.new_button.setVisible(run is not None and not is_open(run))
        self.stack.setCurrentIndex(1 if has_result else 0)
        if run is not None and has_result:
            self._draw_result(run)
        else:
            self.empty.set_text(self._empty_text(run))
        self._update_start()
        self._update_banner(run)

    def take(self, event: Event, live: LiveRun) -> None:
        """Nothing is drawn before the end: half a comparison would show one side only."""

    def _draw_result(self, run: Run) -> None:
        self.plot.set_shares(win_rates(run))
        self.measures.set_rows(measures(run))
        n = run.results.get("n_prompts", 0)
        self.measures_card.set_fact(
            self.tr("{n} held-out prompts, seed {seed}").format(
                n=f"{float(str(n)):.0f}", seed=run.settings.get("seed", 0)
            )
        )
        self.pairs.set_pairs(app_evaluate.result(self.ws, run.id).rows)

    def _facts(self, run: Run | None) -> str:
        if run is None:
            return self.tr("New comparison")
        return self.tr("{run}, same prompts and same seeds").format(run=run.name)

    def _empty_text(self, run: Run | None) -> str:
        if is_open(run):
            return self.tr("Both models answer the held-out prompts now. See the job bar.")
        return self.tr(
            "Both models answer the same held-out prompts with the same seeds. "
            "Win rates with intervals, lengths and every pair of answers appear here."
        )

    # Starting

    def _start_here(self) -> None:
        if self.isVisible():
            self.start()
        else:
            self.context.show_page(self.key)

    def start(self) -> None:
        """Compare the chosen policy with its base."""
        try:
            settings = self.form.settings()
        except SettingsError:
            self.column.go_to_first_problem()
            return
        run_id = self.policy.currentData()
        annotator = AnnotatorSettings() if self.is_judged.isChecked() else None
        if run_id is not None:
            self.submit(lambda: app_evaluate.compare(self.ws, run_id, settings, annotator))

    def _on_policy(self) -> None:
        """Answers are drawn as in the policy's training, unless the user says otherwise."""
        run_id = self.policy.run_id()
        if run_id is not None:
            trained = self.ws.experiment.runs.get(run_id).settings
            same = {k: trained[k] for k in ("temperature", "max_new_tokens") if k in trained}
            self.form.set_values({**self.form.values(), **same})
        self._update_start()

    def _update_start(self) -> None:
        why = self.busy_sentence()
        if self.policy.currentData() is None:
            why = self.tr("There is no trained policy yet. Train one on the Train page.")
        elif self.form.n_problems():
            why = self.tr("Correct the settings first.")
        elif not self._has_judge():
            why = self.tr("Without a reward model the simulated annotator must judge.")
        self.start_button.setEnabled(not why)
        self.start_button.setToolTip(why or self.tr("Answer the held-out prompts with both models"))
        self.start_button.set_kind("outlined" if why else "filled")

    def _has_judge(self) -> bool:
        if self.is_judged.isChecked():
            return True
        policy = self.ws.experiment.runs.get(self.policy.currentData())
        return app_evaluate.scorer(self.ws, policy) is not None

    def _update_banner(self, run: Run | None) -> None:
        verdict = self.notice
        if verdict is None and run is not None and not is_open(run):
            verdict = verdict_of_evaluation(run)
        self.banner.tell(verdict)
