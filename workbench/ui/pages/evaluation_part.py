"""What the parts of the Evaluate page have in common: a policy, settings, a run, its report."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from workbench.app.workspace import Workspace
from workbench.config.algorithms import Method
from workbench.config.spec import Settings
from workbench.config.toml import SettingsError
from workbench.data.records import Run
from workbench.events import Event
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.path_row import PathRow
from workbench.ui.pages.policy_picker import PolicyPicker
from workbench.ui.pages.run_facts import Verdict, is_open, reason
from workbench.ui.pages.run_page import RunPage
from workbench.ui.pages.run_picker import RunPicker
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import status_badge
from workbench.ui.widgets import Badge, EmptyState, button


class EvaluationPart(RunPage):
    """One kind of evaluation: set up at the left, its report at the right.

    `head` belongs into the page's header. Subclasses fill in `start_now`, `show_report` and
    `verdict_of`, and build `results` and their rows of `inputs` before `build`.
    """

    run_kind = "evaluation"
    how: ClassVar[Method]
    model: ClassVar[type[Settings]]

    facts_changed = Signal(str)

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.facts = ""
        self.start_button = button("", "outlined", icon="evaluate")
        self.start_button.clicked.connect(self.start)
        self.policy = PolicyPicker()
        self.policy.currentIndexChanged.connect(self.on_policy)
        self.inputs = QWidget()
        self.rows = QFormLayout(self.inputs)
        self.rows.setContentsMargins(0, 8, 0, 8)
        self.rows.setVerticalSpacing(8)
        self.rows.addRow(self.tr("Policy"), self.policy)
        self.paths: list[PathRow] = []
        self.form: SettingsForm[Any] = SettingsForm(self.model)
        self.form.problems_changed.connect(self.update_start)

    @property
    def job_kind(self) -> str:
        """These jobs are called after their method."""
        return self.how.name

    # What subclasses say

    def start_now(self, run_id: int, settings: Any) -> None:
        """Begin an evaluation of this policy; `self.submit` takes a job."""
        raise NotImplementedError

    def show_report(self, run: Run) -> None:
        """Fill the results with what a finished run told."""
        raise NotImplementedError

    def verdict_of(self, run: Run) -> Verdict | None:
        """The banner of a finished run."""
        raise NotImplementedError

    def has_report(self, run: Run) -> bool:
        """Whether a run has something to show."""
        raise NotImplementedError

    # Building

    def add_path(self, row: PathRow) -> PathRow:
        """Put a file or folder among the inputs."""
        self.paths.append(row)
        self.rows.addRow(row)
        row.changed.connect(self.update_start)
        return row

    def build(self, new: str, start: str, empty: tuple[str, str], results: QWidget) -> None:
        """Lay everything out.

        Args:
            new: The words of the picker's first entry.
            start: The words of the button that starts.
            empty: Title and text while there is no report.
            results: The report.
        """
        self.column = self.add_settings(SettingsColumn(self.form, self.inputs))
        self.badge = Badge("neutral", "")
        self.picker = RunPicker(new)
        self.picker.picked.connect(self.show_run)
        self.new_button = button(new, "outlined", icon="plus")
        self.new_button.clicked.connect(lambda: self.show_run(None))
        self.start_button.setText(start)
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
        self.banner = VerdictBanner()
        self._empty_text = empty[1]
        self.empty = EmptyState("evaluate", *empty)
        self.stack = QStackedWidget()
        self.stack.addWidget(self.empty)
        self.stack.addWidget(results)
        content = QVBoxLayout()
        content.setSpacing(12)
        content.addWidget(self.banner)
        content.addWidget(self.stack, 1)
        body = QHBoxLayout(self)
        body.setContentsMargins(0, 0, 0, 0)
        body.setSpacing(16)
        body.addWidget(self.column)
        body.addLayout(content, 1)

    # What is shown

    def runs(self) -> list[Run]:
        """Evaluations of this kind, the newest first."""
        return [run for run in super().runs() if run.algorithm == self.how.name]

    def refresh(self) -> None:
        """Read policies and evaluations again."""
        self.picker.set_runs(self.runs())
        if self.policy.fill(self.ws):
            self.on_policy()
        super().refresh()

    def draw(self, run: Run | None) -> None:
        """Show a run's report, or the way to a new one."""
        self.picker.set_current(self.shown)
        self.badge.setVisible(run is not None)
        if run is not None:
            self.badge.set(*status_badge(run.status))
        has_report = run is not None and self.has_report(run)
        self.column.set_locked(self.job() is not None)
        self.inputs.setEnabled(self.job() is None)
        self.column.set_needed(not has_report)
        self.start_button.setVisible(not has_report)
        self.new_button.setVisible(run is not None and not is_open(run))
        self.stack.setCurrentIndex(1 if has_report else 0)
        self._tell_facts(run)
        verdict = self.notice
        if run is not None and has_report:
            self.show_report(run)
            verdict = verdict or self.verdict_of(run)
        elif run is not None and not is_open(run):
            verdict = verdict or Verdict("bad", self.tr("There is no report."), reason(run))
        self.empty.set_text(
            self.tr("It goes on now. See the job bar.") if is_open(run) else self._empty_text
        )
        self.banner.tell(verdict)
        self.update_start()

    def take(self, event: Event, live: LiveRun) -> None:
        """Nothing is drawn before the end: half a report would show one side only."""

    def _tell_facts(self, run: Run | None) -> None:
        policy = None if run is None else run.inputs.get("policy_run")
        names = [] if run is None else [run.name]
        if policy is not None:
            names.append(self.ws.experiment.runs.get(int(str(policy))).name)
        self.facts = self.tr(" of ").join(names)
        self.facts_changed.emit(self.facts)

    # Starting

    def start(self) -> None:
        """Begin, or go to what hinders it."""
        try:
            settings = self.form.settings()
        except SettingsError:
            self.column.go_to_first_problem()
            return
        run_id = self.policy.run_id()
        if run_id is not None and self.start_button.isEnabled():
            self.start_now(run_id, settings)

    def on_policy(self) -> None:
        """Answers are drawn as in the policy's training, unless the user says otherwise."""
        run_id = self.policy.run_id()
        names = ("temperature", "max_new_tokens")
        if run_id is not None and set(names) <= self.form.fields.keys():
            trained = self.ws.experiment.runs.get(run_id).settings
            self.form.set_values({k: trained[k] for k in names if k in trained})
        self.update_start()

    def update_start(self) -> None:
        """Say what hinders a start, if something does."""
        why = self.busy_sentence()
        if self.policy.run_id() is None:
            why = self.tr("There is no trained policy yet. Train one on the Train page.")
        elif self.form.n_problems():
            why = self.tr("Correct the settings first.")
        elif any(row.problem() for row in self.paths):
            why = self.tr("Choose files that are there, or leave them out.")
        self.start_button.setEnabled(not why)
        self.start_button.setToolTip(why or self.start_button.text())
        self.start_button.set_kind("outlined" if why else "filled")
