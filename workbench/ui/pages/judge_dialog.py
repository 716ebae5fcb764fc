"""The AI judge: where it is, what it is asked, how far it agrees, and what it may then label."""

from __future__ import annotations

from dataclasses import dataclass

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtWidgets import QDialog, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from workbench.app import judge_agreement, judge_records, judging
from workbench.app.judge_agreement import Agreement, Opinion
from workbench.app.judge_records import MIN_COMPARED
from workbench.app.judging import Outlook, Which
from workbench.app.workspace import Workspace
from workbench.config.judge import JudgeSettings
from workbench.config.toml import SettingsError
from workbench.data.records import Verdict
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.asking import Asking
from workbench.ui.pages.judge_form import JudgeForm
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.plural import counted
from workbench.ui.reading import ReadingText
from workbench.ui.timers import single_shot
from workbench.ui.widgets import Card, button, label
from workbench.ui.widgets.remark import Remark

N_TRIED = 10
_TYPING_PAUSE_MS = 200
_SHOWN_TAGS = 8


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of the judge that the form describes."""

    settings: JudgeSettings
    name: str
    question: str
    n_to_try: int
    rest: Outlook
    found: Agreement
    cost: str
    differing: list[Opinion]


class JudgeDialog(QDialog):
    """Calls app.judging, judge_agreement and judge_records.

    It leaves the window free, so that the job bar can pause and cancel what it starts.
    """

    def __init__(self, parent: QWidget, ws: Workspace, context: UiContext) -> None:
        super().__init__(parent)
        self._ws, self._context = ws, context
        self._state: _State | None = None
        self._job: Job | None = None
        self.setWindowTitle(self.tr("AI judge"))
        self.resize(1000, 700)
        self.form = JudgeForm(next(reversed(judge_records.judges(ws).values()), JudgeSettings()))
        self._pause = single_shot(self, self._look, _TYPING_PAUSE_MS)
        self.form.changed.connect(self._on_change)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show_state)
        self._asking.failed.connect(self._show_failure)
        self._build_right()
        self._lay_out()
        context.bridge.finished.connect(self._on_finished)
        context.bridge.experiment_changed.connect(self._pause.start)
        self._look()

    def _build_right(self) -> None:
        self.preview = ReadingText(self.tr("What the judge reads"))
        self.found = label("", wrap=True)
        self.tags = label("", "muted", wrap=True)
        words = self._verdict_words()
        columns = [
            Column[Opinion](self.tr("You"), lambda o: words[o.persons or "tie"], "B better "),
            Column[Opinion](self.tr("Judge"), lambda o: words[o.verdict], "B better "),
            Column[Opinion](
                self.tr("Chance of A"),
                lambda o: f"{100 * o.p_first:.0f} %",
                "100 %",
                is_number=True,
            ),
            Column[Opinion](self.tr("Pair"), lambda o: self._ws_prompt(o.comparison_id)),
        ]
        self.differing: RowsView[Opinion] = RowsView(columns, self.tr("Where you differ"))
        self.differing.doubleClicked.connect(self._go_to_pair)
        self.remark = Remark()
        self.try_button = button("", "outlined", icon="flask")
        self.try_button.clicked.connect(lambda: self._start("agree-check", N_TRIED))
        self.suggest_button = button(self.tr("Only suggest"), "outlined")
        self.suggest_button.setToolTip(
            self.tr("Its answers are kept and shown in the rank panel when you ask for them.")
        )
        self.suggest_button.clicked.connect(lambda: self._start("pending", 0, is_suggestion=True))
        self.judge_button = button("", "filled", icon="robot")
        self.judge_button.clicked.connect(lambda: self._start("pending", 0))
        self.close_button = button(self.tr("Close"), "quiet")
        self.close_button.clicked.connect(self.close)

    def _lay_out(self) -> None:
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.form)
        reads = Card(self.tr("What it reads of one pair"))
        reads.body.addWidget(self.preview)
        agrees = Card(self.tr("How far it agrees with you"))
        agrees.body.addWidget(self.found)
        agrees.body.addWidget(self.tags)
        agrees.body.addWidget(self.differing, 1)
        agrees.body.addStretch()
        right = QVBoxLayout()
        right.addWidget(reads, 1)
        right.addWidget(agrees, 1)
        columns = QHBoxLayout()
        columns.setSpacing(12)
        columns.addWidget(scroll, 1)
        columns.addLayout(right, 1)
        foot = QHBoxLayout()
        foot.addWidget(self.close_button)
        foot.addStretch(1)
        for made in (self.try_button, self.suggest_button, self.judge_button):
            foot.addWidget(made)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(12)
        layout.addWidget(
            label(
                self.tr(
                    "A model judges pairs, each in both orders; where the orders contradict each "
                    "other it is a tie. Try it on your own labels first. Its labels are marked as "
                    "an AI's in every table and export, never count against yours, and undo takes "
                    "them back as a whole."
                ),
                wrap=True,
            )
        )
        layout.addLayout(columns, 1)
        layout.addWidget(self.remark)
        layout.addLayout(foot)

    def _on_change(self) -> None:
        """What is known is of another judge now, until it was looked up."""
        self._state = None
        self._offer()
        self._pause.start()

    def _look(self) -> None:
        """Work out in the background what is known of the judge as it stands in the form."""
        self._state = None
        self._offer()
        try:
            settings = self.form.settings()
        except SettingsError as error:
            self.form.show_problems({p.field: p.message for p in error.problems})
            self.remark.tell(" ".join(p.message for p in error.problems))
            return
        self.form.show_problems({})
        self._asking.ask(lambda: _state(self._ws, settings))

    def _show_state(self, found: object) -> None:
        assert isinstance(found, _State)
        self._state = found
        self.remark.tell("")
        self.preview.set_text(found.question or self.tr("There is no pair yet."))
        self._show_agreement(found)
        self._offer()

    def _show_failure(self, sentence: str) -> None:
        self.remark.tell(sentence)

    def _show_agreement(self, state: _State) -> None:
        n = state.found.overall.n
        if n or state.found.n_unreadable:
            said = [*judge_agreement.sentences(state.found), state.cost]
            self.found.setText("\n".join(said))
            judge_agreement.mark_shown(self._ws, state.found)
        else:
            self.found.setText(
                self.tr("Not known yet: it is compared with labels that you gave yourself.")
            )
        tags = [
            f"{tag}: {k.value:.2f} ({k.low:.2f} – {k.high:.2f}, {k.n})"
            for tag, k in state.found.by_tag.items()
            if k.is_defined
        ]
        self.tags.setText(
            self.tr("Kappa by tag: {tags}").format(tags=", ".join(tags[:_SHOWN_TAGS]))
        )
        self.tags.setVisible(bool(tags))
        self.differing.rows_model.set_rows(state.differing)
        self.differing.setVisible(bool(state.differing))

    def _offer(self) -> None:
        """Say on the buttons what they would do, and offer what can be done."""
        state, is_free = self._state, self._job is None and not self._ws.is_read_only
        n_try = min(N_TRIED, state.n_to_try) if state else N_TRIED
        if n_try:
            text = counted(
                n_try, self.tr("Try on 1 of my labels"), self.tr("Try on {n} of my labels")
            )
        else:
            text = self.tr("Try on my labels")
        self.try_button.setText(text)
        self.try_button.setToolTip(
            ""
            if n_try
            else self.tr("There is no label of yours that it was not compared with. Rank some.")
        )
        self.try_button.setEnabled(is_free and state is not None and state.n_to_try > 0)
        n_rest = state.rest.n_pairs if state else 0
        text = self.tr("Judge the rest")
        if state is not None and n_rest:
            text = counted(
                n_rest, self.tr("Judge the rest (1 pair)"), self.tr("Judge the rest ({n} pairs)")
            )
            if state.rest.seconds is not None:
                text = f"{text[:-1]}, {_about(state.rest.seconds)})"
        self.judge_button.setText(text)
        is_known = state is not None and state.found.overall.n >= MIN_COMPARED
        for made in (self.judge_button, self.suggest_button):
            made.setEnabled(is_free and is_known and n_rest > 0)
        self.judge_button.setToolTip(
            ""
            if is_known
            else self.tr("Try it on {n} of your own labels first.").format(n=MIN_COMPARED)
        )

    def _start(self, which: Which, limit: int, *, is_suggestion: bool = False) -> None:
        if self._state is None:
            return
        try:
            job = judging.judge(
                self._ws,
                self._state.settings,
                which,
                limit=limit,
                is_suggestion=is_suggestion,
                key=self.form.key() or None,
                is_key_kept=self.form.is_key_kept(),
            )
        except WorkbenchError as error:
            self.remark.tell(str(error))
            return
        self._job = self._context.bridge.watch(job)
        self._offer()

    def _on_finished(self, job: Job, finished: Finished) -> None:
        if job is not self._job:
            return
        self._job = None
        if finished.error is not None:
            self.remark.tell(f"{finished.error.message} {finished.error.hint}".strip())
        self._look_keeping_remark()

    def _look_keeping_remark(self) -> None:
        said = self.remark.text()
        self._look()
        if said:
            self.remark.tell(said)

    def _go_to_pair(self) -> None:
        opinion = self.differing.current()
        if opinion is not None:
            self._context.rank_panel().show_comparison(opinion.comparison_id)

    def done(self, result: int) -> None:
        """Closed: nobody waits for an answer any more; a job that it started goes on."""
        self._pause.stop()
        self._asking.forget()
        super().done(result)

    def _ws_prompt(self, comparison_id: int) -> str:
        comparison = self._ws.experiment.comparisons.get(comparison_id)
        return self._ws.experiment.prompts.get(comparison.prompt_id).text

    def _verdict_words(self) -> dict[Verdict, str]:
        return {
            "first": self.tr("A better"),
            "second": self.tr("B better"),
            "tie": self.tr("Tie"),
            "both_bad": self.tr("Both bad"),
            "skip": self.tr("Skipped"),
        }


def suggestion_words(ws: Workspace, comparison_id: int | None) -> tuple[str, str, str]:
    """What the judge that was used last makes of a pair, as a notice: kind, sentence, hint.

    Of a pair that the person has judged already nothing: it may be a hidden repeat.
    """
    tr = QCoreApplication.translate
    if comparison_id is None:
        return "info", tr("JudgeDialog", "There is no pair in the rank panel."), ""
    opinion = judge_agreement.suggestion(ws, comparison_id)
    if opinion is None or opinion.persons is not None:
        return (
            "info",
            tr("JudgeDialog", "There is no suggestion for this pair."),
            tr("JudgeDialog", "Choose Only suggest in the dialog AI judge, under Label."),
        )
    said = {
        "first": tr("JudgeDialog", "The AI judge finds A better ({percent} %)."),
        "second": tr("JudgeDialog", "The AI judge finds B better ({percent} %)."),
        "tie": tr("JudgeDialog", "The AI judge finds neither better."),
    }
    sure = max(opinion.p_first, 1 - opinion.p_first)
    return "info", said[opinion.verdict].format(percent=f"{100 * sure:.0f}"), ""


def _state(ws: Workspace, settings: JudgeSettings) -> _State:
    name = judge_records.name_of(ws, settings)
    return _State(
        settings=settings,
        name=name,
        question=judging.preview(ws, settings),
        n_to_try=judging.outlook(ws, settings, "agree-check").n_pairs,
        rest=judging.outlook(ws, settings, "pending"),
        found=judge_agreement.agreement(ws, name, settings.tie_margin),
        cost=judge_agreement.cost_sentence(ws, name),
        differing=judge_agreement.disagreements(ws, name, settings.tie_margin),
    )


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    minutes = seconds / 60
    return f"about {minutes:.0f} min" if minutes < 90 else f"about {minutes / 60:.1f} h"
