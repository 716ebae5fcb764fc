"""An answer of the experiment, looked for by its prompt."""

from __future__ import annotations

from PySide6.QtCore import QModelIndex
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from workbench.app.workspace import Workspace
from workbench.data.records import Completion, Message
from workbench.ui.models.keyset import KeysetModel
from workbench.ui.models.prompts import PromptRow, prompt_fetch, prompt_key
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.timers import single_shot
from workbench.ui.widgets import button, label

_TYPING_PAUSE_MS = 150


class AnswerPicker(QDialog):
    """Prompts, and the answers to the chosen one; a prompt alone can be taken too."""

    def __init__(self, parent: QWidget, ws: Workspace) -> None:
        super().__init__(parent)
        self._ws = ws
        self.setWindowTitle(self.tr("Choose an answer"))
        self.resize(820, 480)
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Search prompts"))
        self.search.setAccessibleName(self.tr("Search prompts"))
        self.search.setClearButtonEnabled(True)
        pause = single_shot(self, self._filter, _TYPING_PAUSE_MS)
        self.search.textChanged.connect(pause.start)
        columns = [
            Column[PromptRow](self.tr("#"), lambda row: str(row.prompt.id), "0000", is_number=True),
            Column[PromptRow](self.tr("Prompt"), lambda row: row.prompt.text),
            Column[PromptRow](
                self.tr("Answers"), lambda row: str(row.n_answers), "Answers", is_number=True
            ),
        ]
        self._model = KeysetModel(columns, prompt_key, self)
        self.prompts: RowsView[PromptRow] = RowsView(columns, self.tr("Prompts"), self._model)
        self.prompts.selectionModel().currentRowChanged.connect(self._show_answers)
        self.answers: RowsView[Completion] = RowsView(
            [
                Column(self.tr("Answer"), lambda c: c.text),
                Column(self.tr("From"), lambda c: c.model_name or c.author, "SmolLM2-135M-I"),
            ],
            self.tr("Answers"),
        )
        self.answers.doubleClicked.connect(self.accept)
        self._nothing = label(self.tr("This prompt has no answers yet."), "muted")
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.take = button(self.tr("Take this answer"), "filled")
        self.take.setDefault(True)
        self.take.clicked.connect(self.accept)
        self._lay_out(cancel)
        self._filter()

    def _lay_out(self, cancel: QWidget) -> None:
        right = QVBoxLayout()
        right.addWidget(self.answers, 1)
        right.addWidget(self._nothing)
        lists = QHBoxLayout()
        lists.setSpacing(12)
        lists.addWidget(self.prompts, 1)
        lists.addLayout(right, 1)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.take)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(self.search)
        layout.addLayout(lists, 1)
        layout.addLayout(foot)

    def chosen(self) -> tuple[tuple[Message, ...], str] | None:
        """Prompt and answer; the answer is empty when the prompt has none."""
        row, answer = self.prompts.current(), self.answers.current()
        return None if row is None else (row.prompt.messages, answer.text if answer else "")

    def _filter(self) -> None:
        self._model.start(prompt_fetch(self._ws, search=self.search.text()))
        if self._model.rows:
            self.prompts.selectRow(0)
        else:
            self._show_answers(QModelIndex())

    def _show_answers(self, index: QModelIndex) -> None:
        row = self._model.rows[index.row()] if index.isValid() else None
        found = self._ws.experiment.completions.for_prompt(row.prompt.id) if row else []
        self.answers.set_rows(found)
        if found:
            self.answers.selectRow(0)
        self._nothing.setVisible(row is not None and not found)
        self.take.setEnabled(row is not None)
        self.take.setText(
            self.tr("Take this answer") if found or row is None else self.tr("Take this prompt")
        )
