"""Training a policy: settings, live charts and samples of one run, or the way to the first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from workbench.app import label_rounds, planning
from workbench.app import runs as app_runs
from workbench.app.doctor import change_words
from workbench.app.planning import Problem
from workbench.app.workspace import Workspace
from workbench.config import algorithms
from workbench.config.toml import SettingsError
from workbench.config.training import TrainingSettings
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.events import Event
from workbench.ui.forms.form_stack import FormStack
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.live_run import LiveRun
from workbench.ui.pages.memory_card import MemoryCard
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.round_card import RoundCard
from workbench.ui.pages.run_facts import Verdict, is_open, verdict_of_policy
from workbench.ui.pages.run_page import RunPage
from workbench.ui.pages.run_picker import RunPicker
from workbench.ui.pages.run_view import RunView
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.pages.steps_card import StepsCard
from workbench.ui.pages.train_inputs import TrainInputs
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import status_badge
from workbench.ui.widgets import Badge, EmptyState, PageHeader, button

LIVE_DELAY_MS = 800
BEFORE_FIRST_RUN = ("model", "prompts", "answers", "rank", "reward")


class TrainPage(RunPage):
    """Set up, watch and resume policy runs. Calls app.runs; pause and stop are in the job bar."""

    key = "train"
    run_kind = "policy"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._form_shows: int | None = None
        # Who types 0.002 passes 0 and 0.0: only what stands for a moment is meant.
        self._wanted_live: dict[str, float] = {}
        self._set_live_soon = QTimer(self)
        self._set_live_soon.setSingleShot(True)
        self._set_live_soon.setInterval(LIVE_DELAY_MS)
        self._set_live_soon.timeout.connect(self._set_live)
        self._hindrances: list[Problem] = []
        self._on_banner: Callable[[], None] = self.go_to_first_problem
        self._build_settings()
        self._build_header()
        self._build_content()
        self._lay_out()
        context.actions.on("train.start", lambda: self._here_first(self.start))

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Train"))
        self.badge = Badge("neutral", "")
        self.header.add_badge(self.badge)
        self.picker = RunPicker(self.tr("New run"))
        self.picker.picked.connect(self.show_run)
        self.start_button = button(self.tr("Start"), "outlined", icon="play")
        self.context.actions.show_key(self.start_button, "train.start")
        self.start_button.clicked.connect(self.start)
        for widget in (self.column.button, self.picker, self.start_button):
            self.header.add_action(widget)

    def _build_settings(self) -> None:
        self.inputs = TrainInputs(self.ws)
        self.inputs.changed.connect(self._on_inputs)
        self.forms = FormStack(self.inputs.algorithm())
        self.forms.problems_changed.connect(self._on_problems)
        self.forms.value_changed.connect(self._on_value)
        self.forms.changed.connect(self._check)
        self.column = self.add_settings(SettingsColumn(self.forms, self.inputs))

    @property
    def form(self) -> SettingsForm[Any]:
        """The form of the chosen algorithm."""
        return self.forms.form

    def _on_inputs(self) -> None:
        self.forms.choose(self.inputs.algorithm())
        self._check()
        if self.run() is None:
            self._name_new_run()

    def _build_content(self) -> None:
        self.banner = VerdictBanner()
        self.banner.clicked.connect(self._do_next)
        self.memory = MemoryCard(self.ws)
        self.memory.measured.connect(self._check)
        self.memory.fitted.connect(self.forms.set_values)
        self.round = RoundCard(self.ws)
        self.round.rank_wanted.connect(self._rank_own_answers)
        self.round.go_on_wanted.connect(self.go_on)
        self.steps = StepsCard(
            self.tr("Before the first run"), self.context, BEFORE_FIRST_RUN, self.key
        )
        self.empty = EmptyState("train", "", "")
        first = QWidget()
        column = QVBoxLayout(first)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.steps)
        column.addWidget(self.empty, 1)
        self.view = RunView(self.ws, self.inputs.algorithm().charts)
        self.view.doctor.wanted.connect(self.apply_change)
        self.stack = QStackedWidget()
        self.stack.addWidget(first)
        self.stack.addWidget(self.view)

    def _lay_out(self) -> None:
        content = QVBoxLayout()
        content.setSpacing(12)
        content.addWidget(self.banner)
        content.addWidget(self.round)
        content.addWidget(self.memory)
        content.addWidget(self.stack, 1)
        self.lay_out(self.header, self.column, content)

    def _here_first(self, do: Callable[[], None]) -> None:
        """From another page a key leads here; what it would do must be seen first."""
        if self.isVisible():
            do()
        else:
            self.context.show_page(self.key)

    # What is shown

    def refresh(self) -> None:
        """Read runs, inputs and steps again."""
        self.inputs.refresh()
        self.picker.set_runs(self.runs())
        super().refresh()
        self._check()

    def draw(self, run: Run | None) -> None:
        """Show a run's charts, or the steps before the first run."""
        self.picker.set_current(self.shown)
        self.badge.setVisible(run is not None)
        if run is None:
            self._name_new_run()
            self.steps.set_overview(self.ws.overview(), Path(self.ws.selected_model).name)
            self.steps.setVisible(not self.steps.is_all_done())
        else:
            self._draw_run(run)
        self.column.set_locked(is_open(run))
        self.memory.set_locked(is_open(run))
        self.inputs.setEnabled(not is_open(run))
        self.stack.setCurrentIndex(0 if run is None else 1)
        self.round.show_run(run)
        self._update_start()
        self._update_banner(run)

    def _name_new_run(self) -> None:
        title = self.inputs.algorithm().title
        self.header.set_facts(self.tr("New {algorithm} run").format(algorithm=title))
        title = self.tr("A new run") if self.runs() else self.tr("No run yet")
        text = self.tr("Charts and sample answers appear here with the first update.")
        self.empty.set_texts(title, text)

    def _draw_run(self, run: Run) -> None:
        model = str(run.inputs.get("model", ""))
        named = self.tr("{run} on {model}").format(run=run.name, model=model)
        self.header.set_facts(named if model else run.name)
        self.badge.set(*status_badge(run.status))
        if self._form_shows != run.id:
            # Once per run: what the user edits after that for the next run must stay.
            self._form_shows = run.id
            how = algorithms.find(run.algorithm)
            self.inputs.show_run(run)
            self.forms.show_settings(how, run.settings)
            self.view.set_charts(how.charts)
        self.view.show_run(run, self.record(run))

    def clone(self, run_id: int) -> None:
        """Fill the form for a new run with the settings and inputs of another one."""
        self.show_run(None)
        run, self._form_shows = self.ws.run(run_id), None
        self.inputs.show_run(run)
        self.forms.show_settings(algorithms.find(run.algorithm), run.settings)
        text = self.tr("Settings and inputs of {run}, for a new run").format(run=run.name)
        self.notice = Verdict("info", text)
        if missing := self.inputs.missing(run):
            gone = self.tr("Not there any more, choose anew: {inputs}")
            self.notice = Verdict("warn", text, gone.format(inputs=", ".join(missing)))
        self._update_banner(None)

    def take(self, event: Event, live: LiveRun) -> None:
        """Draw one event of the shown run."""
        self.view.take(event, live)

    # Starting

    def start(self) -> None:
        """Start a run with the form's settings, or go to what hinders it."""
        self._check()
        if hindrance := self._hindrance():
            self.notice = Verdict("warn", hindrance)
            self._update_banner(self.run())
            return
        settings = self._settings_if_right()
        if settings is None or self.forms.n_problems():
            self.go_to_first_problem()
            return
        name, inputs = self.inputs.algorithm().name, self.inputs.chosen()
        judge = self.inputs.judge()
        self.submit(lambda: app_runs.train(self.ws, name, settings, **inputs, judge=judge))

    def resume(self) -> None:
        """Go on with the shown run from its last checkpoint."""
        run_id = self.shown
        if run_id is not None:
            self.submit(lambda: app_runs.resume(self.ws, run_id))

    def _rank_own_answers(self) -> None:
        """The next pair that the shown run waits for; the others follow by themselves."""
        self.context.actions["rank.focus"].trigger()
        pair = None if self.shown is None else label_rounds.next_pair(self.ws, self.shown)
        if pair is not None:
            self.context.rank_panel().show_comparison(pair)

    def go_on(self) -> None:
        """Train the reward model on the labels that the shown run asked for, and go on with it."""
        if self.shown is None:
            return
        try:
            jobs = label_rounds.go_on(self.ws, self.shown)
        except WorkbenchError as error:
            self.notice = Verdict("bad", error.message, error.hint)
            self.draw(self.run())
            return
        for job in jobs:
            self.context.bridge.watch(job)

    def apply_change(self, change: Mapping[str, object]) -> None:
        """Set what the doctor proposes in the form, which is for the next run."""
        run = self.run()
        if run is None:
            return
        how = algorithms.find(run.algorithm)
        if self.inputs.algorithm().name != how.name:
            self.inputs.show_run(run)
            self.forms.show_settings(how, run.settings)
        self.forms.set_values(change)
        text = self.tr("Set for the next run: {change}")
        self.notice = Verdict("info", text.format(change=change_words(run, change)))
        self._update_banner(run)

    def _settings_if_right(self) -> TrainingSettings | None:
        try:
            settings = self.forms.settings()
        except SettingsError:
            return None
        assert isinstance(settings, TrainingSettings)
        return settings

    def _check(self) -> None:
        """Find everything that hinders a run, say it where it belongs, and plan its memory."""
        how, settings = self.inputs.algorithm(), self._settings_if_right()
        found: list[Problem] = []
        if not is_open(self.run()):
            counted, chosen = self.memory.found(), self.inputs.chosen()
            found = planning.problems(
                self.ws,
                how,
                settings,
                counted,
                reward_run=chosen["reward_run"],
                start_run=chosen["start_run"],
            )
            if trouble := self.memory.trouble():
                found.append(Problem("model", trouble))
        inner = {p.where: p.message for p in found if p.where in self.form.fields}
        self._hindrances = [p for p in found if p.where not in inner]
        self.inputs.set_problems(self._hindrances)
        self.forms.set_outside_problems(inner)
        if settings is not None:
            self.memory.plan_for(how, settings, reward_run=self.inputs.chosen()["reward_run"])
        self._update_start()

    def _hindrance(self) -> str:
        """Why no run can start now, apart from settings; empty when one can."""
        told = " ".join(problem.message for problem in self._hindrances)
        return self.busy_sentence() or told

    def _update_start(self) -> None:
        n = self.forms.n_problems()
        why = self._hindrance()
        if n:
            why = self._problem_sentence(n)
        self.start_button.setEnabled(not why)
        self.start_button.setToolTip(why or self.tr("Start a run with these settings"))
        self.start_button.set_kind("outlined" if why else "filled")

    # Problems, reasons and results: one banner

    def go_to_first_problem(self) -> None:
        """Show the settings and put the cursor into the first field with an error."""
        self.column.go_to_first_problem()

    def _problem_sentence(self, n: int) -> str:
        if n == 1:
            return self.tr("1 setting must be corrected before the run can start.")
        return self.tr("{n} settings must be corrected before the run can start.").format(n=n)

    def _do_next(self) -> None:
        self._on_banner()

    def _on_problems(self) -> None:
        self._update_start()
        self._update_banner(self.run())

    def _update_banner(self, run: Run | None) -> None:
        n = self.forms.n_problems()
        if n:
            self._on_banner = self.go_to_first_problem
            go = self.tr("Go to first")
            self.banner.tell(
                Verdict("bad", self._problem_sentence(n)),
                go,
                self.context.actions.key("train.next_problem"),
            )
        elif self.notice:
            self.banner.tell(self.notice)
        elif run is not None and not is_open(run):
            self._tell_end(run)
        else:
            self.banner.tell(None)

    def _tell_end(self, run: Run) -> None:
        verdict = verdict_of_policy(run, self.record(run))
        if run.status == "done":
            self._on_banner = lambda: self.context.show_page("evaluate")
            self.banner.tell(verdict, self.tr("Compare before and after"))
        else:
            self._on_banner = self.resume
            self.banner.tell(verdict, self.tr("Resume run"))

    def _on_value(self, name: str, value: object) -> None:
        job = self.job()
        if job is not None and job.run_id == self.shown and isinstance(value, float | int):
            self._wanted_live[name] = float(value)
            self._set_live_soon.start()

    def _set_live(self) -> None:
        job, wanted = self.job(), dict(self._wanted_live)
        self._wanted_live.clear()
        if job is None or job.run_id is None:
            return
        try:
            for name, value in wanted.items():
                app_runs.set_live(self.ws, job.run_id, name, value)
        except WorkbenchError as error:
            self.notice = Verdict("bad", error.message, error.hint)
            self._update_banner(self.run())
