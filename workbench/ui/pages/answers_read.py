"""Answers before and after to a list of prompts: a table to choose from, both texts to read."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QComboBox, QHBoxLayout, QPlainTextEdit

from workbench.app.safety import Answers
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.widgets import Card


class AnswersRead(Card):
    """One row for each prompt; a filter by attribute or kind."""

    def __init__(self) -> None:
        super().__init__(self.tr("Answers"))
        self._answers: list[Answers] = []
        self.part = QComboBox()
        self.part.setAccessibleName(self.tr("Answers to show"))
        self.part.setToolTip(self.tr("Answers to all prompts, or to those of one kind"))
        self.part.activated.connect(self._filter)
        self.add_head(self.part)
        self.table: RowsView[Answers] = RowsView(
            [
                Column(self.tr("Prompt"), lambda a: a.prompt),
                Column(self.tr("Kind"), lambda a: a.part, "orientation", is_optional=True),
                Column(self.tr("Before"), lambda a: self._word(a.refuses_before), "answered"),
                Column(self.tr("After"), lambda a: self._word(a.refuses_after), "answered"),
            ],
            self.tr("Prompts and whether they were refused"),
        )
        self.table.chosen.connect(self._read)
        self.table.show_whole(3)
        self.body.addWidget(self.table, 2)
        texts = QHBoxLayout()
        texts.setSpacing(12)
        self.before, self.after = QPlainTextEdit(), QPlainTextEdit()
        for pane, name in (
            (self.before, self.tr("Answer before training")),
            (self.after, self.tr("Answer after training")),
        ):
            pane.setReadOnly(True)
            pane.setTabChangesFocus(True)
            pane.setProperty("reading", True)
            pane.setAccessibleName(name)
            pane.setPlaceholderText(name)
            pane.setMinimumHeight(56)
            texts.addWidget(pane)
        self.body.addLayout(texts, 1)

    def set_answers(self, answers: Sequence[Answers]) -> None:
        """Show the answers of another evaluation."""
        self._answers = list(answers)
        chosen = self.part.currentData()
        self.part.clear()
        self.part.addItem(self.tr("all prompts"), "")
        for part in dict.fromkeys(answer.part for answer in answers):
            self.part.addItem(part, part)
        self.part.setCurrentIndex(max(0, self.part.findData(chosen)))
        self._filter()

    def _filter(self) -> None:
        part = self.part.currentData()
        shown = [a for a in self._answers if part in ("", a.part)]
        self.table.set_rows(shown)
        if shown:
            self.table.selectRow(0)

    def _word(self, refuses: bool) -> str:
        return self.tr("refused") if refuses else self.tr("answered")

    def _read(self, answers: Answers | None) -> None:
        self.before.setPlainText(answers.before if answers else "")
        self.after.setPlainText(answers.after if answers else "")
