"""Prompts at the left, the answers to the chosen one, and how they are sampled at the right."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QModelIndex, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QStackedWidget, QVBoxLayout, QWidget

from workbench.app import answers, labelling
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.events import Answer, Event, Finished
from workbench.jobs.runner import Job
from workbench.ui.models.keyset import KeysetModel
from workbench.ui.models.prompts import PromptRow, prompt_fetch, prompt_key
from workbench.ui.pages.answer_cards import AnswerGrid
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.sampling_column import SamplingColumn
from workbench.ui.plural import counted
from workbench.ui.rank_controls import about
from workbench.ui.rank_views import PromptView
from workbench.ui.widgets import Card, EmptyState, PageHeader, button

_TYPING_PAUSE_MS = 150
_COUNTS_PAUSE_MS = 250


class AnswersPage(Page):
    """Generates through app.answers, pairs through app.labelling, shows what is stored."""

    key = "answers"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._first_answer_at = 0.0
        self._n_streamed = 0
        self._seconds_per_token: float | None = None
        self._shown_id = 0
        self._build_header()
        self._build_list()
        self._build_centre()
        self.sampling = SamplingColumn()
        self.sampling.changed.connect(self._describe)
        columns = QHBoxLayout()
        columns.setSpacing(12)
        columns.addWidget(self._list_card, 3)
        columns.addWidget(self._centre, 6)
        columns.addWidget(self.sampling)
        work = QWidget()
        work.setLayout(columns)
        columns.setContentsMargins(0, 0, 0, 0)
        add = button(self.tr("Add prompts"), "outlined", icon="prompts")
        add.clicked.connect(lambda: context.show_page("prompts"))
        nothing = EmptyState(
            "prompts",
            self.tr("No prompts yet"),
            self.tr("Answers are generated for prompts. Add some, or take the demo prompts."),
            add,
        )
        self._stack = QStackedWidget()
        self._stack.addWidget(work)
        self._stack.addWidget(nothing)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.addWidget(self.header)
        layout.addWidget(self._stack, 1)
        context.actions.on("answers.generate", self.generate)
        bridge = context.bridge
        bridge.started.connect(self._job_started)
        bridge.happened.connect(self._job_told)
        bridge.finished.connect(self._job_finished)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Answers"))
        self.stop = button(self.tr("Stop generating"), "outlined", icon="stop")
        self.stop.clicked.connect(self.cancel)
        self.stop.setVisible(False)
        self.send = button(self.tr("Send to rank"), "outlined", icon="rank")
        self.send.setToolTip(self.tr("Pair the answers and go on in the rank panel"))
        self.send.clicked.connect(self.send_to_rank)
        self.generate_button = button(self.tr("Generate answers"), "filled", icon="play")
        self.context.actions.show_key(self.generate_button, "answers.generate")
        self.generate_button.clicked.connect(self.generate)
        for made in (self.stop, self.send, self.generate_button):
            self.header.add_action(made)

    def _build_list(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Filter prompts"))
        self.search.setAccessibleName(self.tr("Filter prompts"))
        self.search.setClearButtonEnabled(True)
        columns = [
            Column[PromptRow](self.tr("#"), lambda row: str(row.prompt.id), "0000", is_number=True),
            Column[PromptRow](self.tr("Prompt"), lambda row: row.prompt.text),
            Column[PromptRow](
                self.tr("Answers"), lambda row: str(row.n_answers), "Answers", is_number=True
            ),
        ]
        self.model = KeysetModel(columns, prompt_key, self)
        self.table: RowsView[PromptRow] = RowsView(columns, self.tr("Prompts"), self.model)
        self.table.setSelectionMode(RowsView.SelectionMode.ExtendedSelection)
        self.table.selectionModel().currentRowChanged.connect(self._row_changed)
        self.table.selectionModel().selectionChanged.connect(self._describe)
        self._pause = _timer(self, _TYPING_PAUSE_MS, self._filter)
        self._counts = _timer(self, _COUNTS_PAUSE_MS, self._refresh_counts)
        self.search.textChanged.connect(self._pause.start)
        self._list_card = Card(self.tr("Prompts"))
        self._list_card.setMinimumWidth(264)
        self._list_card.body.addWidget(self.search)
        self._list_card.body.addWidget(self.table, 1)

    def _build_centre(self) -> None:
        self._prompt_card = Card(self.tr("Prompt"))
        self.prompt = PromptView()
        self._prompt_card.body.addWidget(self.prompt)
        self.grid = AnswerGrid()
        none = EmptyState(
            "answers",
            self.tr("No answers to this prompt yet"),
            self.tr("Generate two or more; they appear here one by one as they end."),
            None,
        )
        self._answers = QStackedWidget()
        self._answers.addWidget(self.grid)
        self._answers.addWidget(none)
        self._centre = QWidget()
        layout = QVBoxLayout(self._centre)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self._prompt_card)
        layout.addWidget(self._answers, 1)

    def refresh(self) -> None:
        """Read the list, the counts and the chosen prompt's answers again."""
        n_prompts = self.ws.experiment.prompts.count()
        self._stack.setCurrentIndex(0 if n_prompts else 1)
        if self.model.is_started:
            self.model.refresh()
        else:
            self._filter()
        self.sampling.show_policies(self.ws)
        self._show_answers()
        self._count()
        self._describe()

    def generate(self) -> None:
        """Queue the generation; its answers appear as they end."""
        if self._job is not None:
            return
        try:
            job = answers.generate(
                self.ws,
                self.sampling.settings(),
                self._target_ids(),
                self.sampling.adapter_run(),
            )
        except WorkbenchError as error:
            self.context.notify("bad", error.message, error.hint)
            self.sampling.form.go_to_first_problem()
            return
        self._follow(job)
        self.context.bridge.watch(job)

    def cancel(self) -> None:
        """Stop the generation now; answers that ended are kept and paired."""
        job = self._job
        if job is None:
            return
        self.stop.setEnabled(False)
        if job in self.ws.runner.queued:
            self.ws.runner.cancel(job)
        else:
            job.token.request_stop()

    def send_to_rank(self) -> None:
        """Pair what is not paired yet and give the keys to the rank panel."""
        try:
            n = labelling.make_comparisons(self.ws)
        except WorkbenchError as error:
            self.context.notify("bad", error.message, error.hint)
            return
        if n:
            self.context.bridge.experiment_changed.emit()
        self.context.actions["rank.focus"].trigger()

    def _target_ids(self) -> list[int] | None:
        if not self.sampling.is_for_selected:
            return None
        return [row.prompt.id for row in self._selected()]

    def _selected(self) -> list[PromptRow]:
        places = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self.model.rows[i] for i in places]

    def _filter(self) -> None:
        self.model.start(prompt_fetch(self.ws, search=self.search.text()))
        at = self.model.find(self._shown_id) if self._shown_id and not self.search.text() else None
        if self.model.rows:
            self.table.selectRow(at.row() if at is not None and at.isValid() else 0)
        else:
            self._show_prompt(None)

    def _row_changed(self, current: QModelIndex, _previous: QModelIndex) -> None:
        self._show_prompt(self.model.rows[current.row()] if current.isValid() else None)

    def _show_prompt(self, row: PromptRow | None) -> None:
        self._shown_id = row.prompt.id if row else 0
        self._prompt_card.setVisible(row is not None)
        if row is not None:
            name = self.tr("Prompt {n}").format(n=row.prompt.id)
            self._prompt_card.set_title(name)
            self._prompt_card.set_fact(row.prompt.group)
            self.prompt.show_prompt(row.prompt)
        self._show_answers()

    def _show_answers(self) -> None:
        found = self.ws.experiment.completions.for_prompt(self._shown_id) if self._shown_id else []
        self.grid.show_answers(found)
        self._answers.setCurrentIndex(0 if found else 1)

    def _refresh_counts(self) -> None:
        self.model.refresh()
        self._count()

    def _count(self) -> None:
        n, n_prompts = self.ws.experiment.completions.count(), self.ws.experiment.prompts.count()
        given = counted(n, self.tr("{n} answer"), self.tr("{n} answers"))
        asked = counted(n_prompts, self.tr("{n} prompt"), self.tr("{n} prompts"))
        self.header.set_facts(
            self.tr("{answers} to {prompts}").format(answers=given, prompts=asked)
        )
        self.send.setEnabled(n > 0)

    def _describe(self) -> None:
        """Say on the button and under the form what generating would do now."""
        n_selected = len(self._selected())
        n_training = self.ws.experiment.prompts.count(split="train")
        self.sampling.show_targets(n_training, n_selected)
        n_prompts = n_selected if self.sampling.is_for_selected else n_training
        n = n_prompts * self.sampling.n_answers()
        self.generate_button.setText(
            counted(n, self.tr("Generate {n} answer"), self.tr("Generate {n} answers"))
        )
        why_not = self._why_not(n_prompts)
        self.generate_button.setEnabled(not why_not)
        self.generate_button.setToolTip(
            why_not or self.tr("Answers that these settings gave before are not made again.")
        )
        seconds = self._estimate(n)
        self.sampling.show_estimate(about(seconds) if seconds is not None else "–")

    def _why_not(self, n_prompts: int) -> str:
        if self.ws.is_read_only:
            return self.tr("This experiment is open read-only.")
        if self._job is not None:
            return self.tr("Answers are being generated.")
        if not n_prompts:
            return self.tr("There is no prompt to answer.")
        if self.sampling.n_problems:
            return self.tr("Correct the settings first.")
        return ""

    def _estimate(self, n_answers: int) -> float | None:
        if self._seconds_per_token is None:
            return None
        return n_answers * self.sampling.max_new_tokens() * self._seconds_per_token

    def _follow(self, job: Job) -> None:
        self._job = job
        self._n_streamed = 0
        self._first_answer_at = 0.0
        self.stop.setVisible(True)
        self.stop.setEnabled(True)
        self._describe()

    def _job_started(self, job: Job) -> None:
        if job.kind == "generate" and self._job is not job:
            self._follow(job)

    def _job_told(self, job: Job, event: Event) -> None:
        if job is not self._job or not isinstance(event, Answer):
            return
        self._measure()
        if event.prompt_id == self._shown_id:
            self._show_answers()
        if not self._counts.isActive():
            self._counts.start()

    def _measure(self) -> None:
        """Seconds per token of answer, from the first answer of the job on."""
        now = time.monotonic()
        if not self._n_streamed:
            self._first_answer_at = now
        elif self._n_streamed >= self.sampling.batch_size():
            per_answer = (now - self._first_answer_at) / self._n_streamed
            self._seconds_per_token = per_answer / self.sampling.max_new_tokens()
        self._n_streamed += 1

    def _job_finished(self, job: Job, finished: Finished) -> None:
        if job is not self._job:
            return
        self._job = None
        self.stop.setVisible(False)
        self.refresh()
        if finished.error is not None:
            self.context.notify("bad", finished.error.message, finished.error.hint)


def _timer(owner: QWidget, after_ms: int, action: Callable[[], None]) -> QTimer:
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(after_ms)
    timer.timeout.connect(action)
    return timer
