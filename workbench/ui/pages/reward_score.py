"""Score a text: an answer that is typed, pasted or chosen, and what its score owes to what."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QSplitter, QVBoxLayout, QWidget

from workbench.app import score_text
from workbench.app.score_text import Text, TextScore, typed
from workbench.app.workspace import Workspace
from workbench.data.records import Message, Run
from workbench.errors import WorkbenchError
from workbench.events import Event, Finished, Started
from workbench.jobs.runner import Job
from workbench.ui.pages.answer_picker import AnswerPicker
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.reward_tab import RewardTab
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.score_view import ScoreView
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.reading import role_names
from workbench.ui.widgets import Card, button, label
from workbench.ui.widgets.remark import Remark
from workbench.ui.widgets.text_field import TextField
from workbench.ui.widgets.token_view import signed

_DIGITS = 3
_MOST_KEPT = 200


class ScoreTab(RewardTab):
    """Calls app.score_text. What was scored stays to compare with until the window closes."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._dialogue: tuple[tuple[Message, ...], str] | None = None
        self._run_id: int | None = None
        self._build()
        self._lay_out()
        context.bridge.happened.connect(self._on_event)
        context.bridge.finished.connect(self._on_finished)
        self._update()

    def title(self) -> str:
        """On the tab."""
        return self.tr("Score a text")

    def _build(self) -> None:
        self.by = QComboBox()
        self.by.setAccessibleName(self.tr("Reward that scores"))
        self.by.activated.connect(self._update)
        self.prompt = TextField(self.tr("Prompt"), "")
        self.prompt.setPlaceholderText(self.tr("What is answered"))
        self.answer = TextField(self.tr("Answer"), "")
        self.answer.setPlaceholderText(self.tr("Type or paste an answer"))
        for field in (self.prompt, self.answer):
            field.textChanged.connect(self._update)
            field.finished.connect(self.score)
        self.choose = button(self.tr("Choose an answer"), "link")
        self.choose.clicked.connect(self._pick)
        self.score_button = button(self.tr("Score it"), "outlined", icon="play", key="Ctrl+Return")
        self.score_button.clicked.connect(self.score)
        self.cancel_button = button(self.tr("Do not wait"), "quiet")
        self.cancel_button.clicked.connect(self._cancel)
        self.remark = Remark()
        self.view = ScoreView()
        self.table: RowsView[TextScore] = RowsView(
            [
                Column(self.tr("Score"), lambda s: number(s.score, _DIGITS), "−00.000", True),
                Column(self.tr("Beside shown"), self._beside, "−00.000", True),
                Column(self.tr("Answer"), lambda s: s.text.answer or self.tr("(empty)")),
                Column(self.tr("Reward"), lambda s: s.run_name, "Reward model 10", False),
                Column(self.tr("Prompt"), lambda s: s.text.prompt[-1].content, is_optional=True),
            ],
            self.tr("Texts scored so far"),
        )
        self.table.chosen.connect(self._show)
        self.table.doubleClicked.connect(self._take_up)

    def _lay_out(self) -> None:
        card = Card(self.tr("Text"))
        card.add_head(self.choose)
        for words, field, share in (
            (self.tr("Prompt"), self.prompt, 2),
            (self.tr("Answer"), self.answer, 5),
        ):
            name = label(words, "text-2")
            name.setBuddy(field)
            card.body.addWidget(name)
            card.body.addWidget(field, share)
        by = QHBoxLayout()
        name = label(self.tr("Scored by"), "text-2")
        name.setBuddy(self.by)
        by.addWidget(name)
        by.addWidget(self.by, 1)
        card.body.addLayout(by)
        foot = QHBoxLayout()
        foot.addWidget(self.score_button)
        foot.addWidget(self.cancel_button)
        foot.addStretch(1)
        card.body.addWidget(self.remark)
        card.body.addLayout(foot)
        self.earlier = Card(self.tr("Scored so far"))
        self.earlier.body.addWidget(self.table)
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.view, 3)
        column.addWidget(self.earlier, 2)
        self.earlier.hide()
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(card)
        split.addWidget(right)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        split.setSizes([2000, 3000])
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 12, 0, 0)
        layout.addWidget(split)

    def show_run(self, run: Run | None) -> None:
        """Score by this run from now on, when it can."""
        runs = score_text.rewards(self.ws)
        here = [(self.by.itemText(i), self.by.itemData(i)) for i in range(self.by.count())]
        wanted = [(r.name, r.id) for r in runs]
        chosen = self.by.currentData()
        if here != wanted:
            self.by.clear()
            for name, run_id in wanted:
                self.by.addItem(name, run_id)
        shown = None if run is None else run.id
        if shown != self._run_id:
            chosen, self._run_id = shown, shown
        self.by.setCurrentIndex(max(0, self.by.findData(chosen)))
        self._update()

    def text(self) -> Text:
        """What is in the fields; a dialogue that was chosen, until it is edited."""
        if self._dialogue is not None and self.prompt.toPlainText() == self._dialogue[1]:
            return Text(self._dialogue[0], self.answer.toPlainText())
        return typed(self.prompt.toPlainText(), self.answer.toPlainText())

    def score(self) -> None:
        """Queue the text, or say why not."""
        if not self.score_button.isEnabled():
            return
        try:
            job = score_text.score(self.ws, [self.text()], self.by.currentData())
        except WorkbenchError as error:
            self.remark.tell(f"{error.message} {error.hint}".strip())
            return
        self._job = job
        busy = next((j for j in self.ws.runner.jobs if j is not job), None)
        told = ""
        if busy is not None:
            told = self.tr("This waits until {job} has ended: one job runs at a time.").format(
                job=busy.title
            )
        self.remark.tell(told, "info")
        self.context.bridge.watch(job)
        self._update()

    def _cancel(self) -> None:
        if self._job is not None:
            self.ws.runner.cancel(self._job)

    def _update(self) -> None:
        why = self._why_not()
        self.score_button.setEnabled(not why)
        self.score_button.setToolTip(why or self.tr("Score it by the reward that is chosen"))
        self.cancel_button.setVisible(self._job is not None)

    def _why_not(self) -> str:
        if not self.by.count():
            return self.tr("There is no reward yet. Train one on the first tab.")
        if self._job is not None:
            return self.tr("A text is being scored.")
        if not self.prompt.toPlainText().strip():
            return self.tr("Type a prompt first: a reward scores an answer to a prompt.")
        return ""

    def _pick(self) -> None:
        dialog = AnswerPicker(self.window(), self.ws)
        dialog.accepted.connect(lambda: self._take(dialog))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _take(self, dialog: AnswerPicker) -> None:
        chosen = dialog.chosen()
        if chosen is not None:
            self._fill(*chosen)
            self.answer.setFocus(Qt.FocusReason.OtherFocusReason)

    def _fill(self, messages: tuple[Message, ...], answer: str) -> None:
        """A dialogue is shown with who says what; it stays one until it is edited."""
        self._dialogue = None
        shown = messages[-1].content
        if len(messages) > 1:
            names = role_names()
            shown = "\n\n".join(f"{names[m.role]}: {m.content}" for m in messages)
            self._dialogue = (messages, shown)
        self.prompt.setPlainText(shown)
        self.answer.setPlainText(answer)

    def _on_event(self, job: Job, event: Event) -> None:
        if job is self._job and isinstance(event, Started):
            self.remark.tell("")

    def _on_finished(self, job: Job, finished: Finished) -> None:
        if job is not self._job:
            return
        self._job = None
        self.remark.tell("")
        found = finished.result.get("scores")
        if finished.error is not None:
            self.remark.tell(f"{finished.error.message} {finished.error.hint}".strip())
        elif isinstance(found, list):
            self.table.set_rows([*found, *self.table.rows()][:_MOST_KEPT])
            self.table.selectRow(0)
            self.earlier.show()
        self._update()

    def _show(self, shown: TextScore | None) -> None:
        if shown is not None:
            self.view.show_score(shown)
            self.table.viewport().update()

    def _take_up(self) -> None:
        """Go on from an earlier text."""
        if (scored := self.table.current()) is not None:
            self._fill(scored.text.prompt, scored.text.answer)

    def _beside(self, scored: TextScore) -> str:
        """How much more it got than the one that is shown; scores of two rewards do not compare."""
        shown = self.table.current()
        if shown is None or shown is scored or shown.run_id != scored.run_id:
            return MISSING
        return signed(scored.score - shown.score)
