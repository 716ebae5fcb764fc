"""The answers to one prompt as cards in a grid."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QScrollArea, QWidget

from workbench.data.records import Completion
from workbench.ui.rank_views import size_words
from workbench.ui.reading import ReadingText
from workbench.ui.widgets import Badge, Card, button
from workbench.ui.widgets.basics import Status

_TWO_COLUMNS = 480


class AnswerCard(Card):
    """One answer: text, length, how it ended, which model wrote it."""

    def __init__(self, number: int, answer: Completion) -> None:
        title = self.tr("Answer {n}").format(n=number)
        super().__init__(title, size_words(answer))
        self.answer = answer
        self.text = ReadingText(title, is_fitted=True, max_lines=16)
        self.text.set_text(answer.text if answer.text.strip() else self.tr("(empty answer)"))
        kind, word = self._ending()
        self.ending = Badge(kind, word)
        self.ending.setToolTip(self._provenance())
        copy = button(self.tr("Copy"), "quiet")
        copy.setAccessibleName(self.tr("Copy answer {n}").format(n=number))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(answer.text))
        foot = QHBoxLayout()
        foot.addWidget(self.ending)
        foot.addStretch(1)
        foot.addWidget(copy)
        self.body.addWidget(self.text)
        self.body.addStretch(1)
        self.body.addLayout(foot)

    def _ending(self) -> tuple[Status, str]:
        if self.answer.source != "generated":
            word = self.tr("imported") if self.answer.source == "imported" else self.tr("edited")
            return "neutral", word
        if self.answer.finish == "stop":
            return "ok", self.tr("stopped by itself")
        n = self.answer.sampling.get("max_new_tokens", len(self.answer.token_ids))
        return "warn", self.tr("cut at {n}").format(n=n)

    def _provenance(self) -> str:
        """Where the answer comes from, one fact per line."""
        facts = [self.answer.model_name or self.tr("unknown model")]
        if self.answer.adapter:
            facts.append(self.tr("adapter {name}").format(name=self.answer.adapter))
        facts += [f"{name} {value}" for name, value in self.answer.sampling.items()]
        facts.append(self.tr("seed {n}").format(n=self.answer.seed))
        return "\n".join(facts)


class AnswerGrid(QScrollArea):
    """Cards in two columns, in one where there is no room for two."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("answerGrid")
        self.setAccessibleName(self.tr("Answers to the chosen prompt"))
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner = QWidget()
        inner.setObjectName("answerGridInner")
        self._grid = QGridLayout(inner)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self.setWidget(inner)
        self._n_columns = 2
        self.cards: list[AnswerCard] = []

    def show_answers(self, answers: Sequence[Completion]) -> None:
        """Show these answers; cards that are there already stay, so that nothing flickers."""
        here = [card.answer for card in self.cards]
        if list(answers[: len(here)]) != here:
            for card in self.cards:
                card.hide()
                card.deleteLater()
            self.cards = []
            self.verticalScrollBar().setValue(0)
        for answer in answers[len(self.cards) :]:
            self.cards.append(AnswerCard(len(self.cards) + 1, answer))
            self._place(len(self.cards) - 1)
        self._stretch()

    def _place(self, i: int) -> None:
        self._grid.addWidget(self.cards[i], i // self._n_columns, i % self._n_columns)

    def _stretch(self) -> None:
        n_rows = -(-len(self.cards) // self._n_columns)
        for row in range(self._grid.rowCount() + 1):
            self._grid.setRowStretch(row, 1 if row == n_rows else 0)
        for column in range(2):
            self._grid.setColumnStretch(column, 1 if column < self._n_columns else 0)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        n_columns = 2 if self.viewport().width() >= _TWO_COLUMNS else 1
        if n_columns != self._n_columns:
            self._n_columns = n_columns
            for i in range(len(self.cards)):
                self._place(i)
            self._stretch()
