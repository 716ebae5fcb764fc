"""The parts of the rank panel: answer panes with their tags, and the meter of what is left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QPen, QTextCharFormat
from PySide6.QtWidgets import QFrame, QHBoxLayout, QScrollBar, QVBoxLayout, QWidget

from workbench.app.labelling import RankProgress
from workbench.data.records import Completion, Prompt
from workbench.ui.plural import counted
from workbench.ui.reading import ReadingText
from workbench.ui.theme import Theme, theme
from workbench.ui.widgets import EmptyState, button, label
from workbench.ui.widgets.stars import Stars
from workbench.ui.word_diff import Spans

Side = Literal["a", "b"]
_STYLES = {
    "a": QTextCharFormat.UnderlineStyle.SingleUnderline,
    "b": QTextCharFormat.UnderlineStyle.DashUnderline,
}


class AnswerTag(QWidget):
    """The letter of an answer on its colour."""

    def __init__(self, side: Side, theme: Theme) -> None:
        super().__init__()
        self._side = side
        self._theme = theme
        self._letter = side.upper()
        self._is_ringed = False
        theme.changed.connect(self.update)

    def set_letter(self, letter: str) -> None:
        """Show another letter."""
        self._letter = letter
        self.update()

    def set_ringed(self, is_ringed: bool) -> None:
        """Draw a ring round the letter, or none."""
        self._is_ringed = is_ringed
        self.update()

    def sizeHint(self) -> QSize:  # noqa: D102
        edge = max(20, self.fontMetrics().height() + 4)
        return QSize(edge, edge)

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        return self.sizeHint()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: D102
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(self._theme.color(f"answer-{self._side}"))
        edge = self.sizeHint().width()
        box = QRectF((self.width() - edge) / 2, (self.height() - edge) / 2, edge, edge)
        painter.drawRoundedRect(box, 4, 4)
        font = QFont(self.font())
        font.setWeight(QFont.Weight.Bold)
        painter.setFont(font)
        painter.setPen(self._theme.color("surface"))
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self._letter)
        if self._is_ringed:
            painter.setPen(QPen(self._theme.color("text"), 2))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), 4, 4)
        painter.end()


class AnswerPane(QFrame):
    """One answer: tag, size, stars, text. Who wrote it is hidden, so that only the text counts."""

    clicked = Signal()

    def __init__(self, side: Side, theme: Theme) -> None:
        super().__init__()
        self._side = side
        self._theme = theme
        self._spans: Spans = []
        self._answer: Completion | None = None
        self._is_markdown = False
        self._has_marks = True
        self.setProperty("card", True)
        self.setObjectName("answerPane")
        name = self.tr("Answer A") if side == "a" else self.tr("Answer B")
        self._title = label(name, "card-title")
        self._size = label("", "muted")
        self.text = ReadingText(name)
        self.text.viewport().installEventFilter(self)
        self.stars = Stars(self.tr("Rating of {answer}").format(answer=name))
        self._tag = AnswerTag(side, theme)
        self.writer = label("", "muted", wrap=True)
        self.said = label("", "muted", wrap=True)
        for line in (self.writer, self.said):
            line.setVisible(False)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._tag)
        head.addWidget(self._title)
        head.addWidget(self._size)
        head.addStretch(1)
        head.addWidget(self.stars)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.writer)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.said)
        theme.changed.connect(self._mark)

    def show_answer(self, answer: Completion) -> None:
        """Show an answer without marks."""
        self._spans = []
        self._answer = answer
        self.writer.setVisible(False)
        self._draw()
        self._size.setText(size_words(answer))

    def set_letter(self, letter: str) -> None:
        """Name the answer by its letter in a ranking; A and B by default."""
        self._tag.set_letter(letter)

    def set_said(self, stars: int, tags: Sequence[str], comment: str) -> None:
        """Show what the annotator said of the answer."""
        self.stars.set_value(stars)
        words = [*(f"#{tag}" for tag in tags), *([f"“{comment}”"] if comment else [])]
        self.said.setText("  ".join(words))
        self.said.setVisible(bool(words))

    def reveal(self, words: str) -> None:
        """Say who wrote the answer."""
        self.writer.setText(words)
        self.writer.setVisible(bool(words))

    def set_active(self, is_active: bool) -> None:
        """Whether edit, comment and tags are about this answer; the tag wears the ring."""
        self._tag.set_ringed(is_active)

    def set_markdown(self, is_markdown: bool) -> None:
        """Formatted, without marks, or plain."""
        self._is_markdown = is_markdown
        self._draw()
        self._mark()

    def set_marked(self, has_marks: bool) -> None:
        """Show or hide where the answers differ."""
        self._has_marks = has_marks
        self._mark()

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: D102
        if event.type() == QEvent.Type.MouseButtonPress:
            self.clicked.emit()
        return False

    def _draw(self) -> None:
        if self._answer is None:
            return
        text = self._answer.text
        if not text.strip():
            self.text.set_text(self.tr("(empty answer)"))
        elif self._is_markdown:
            self.text.set_markdown(text)
        else:
            self.text.set_text(text)

    def set_spans(self, spans: Spans) -> None:
        """Mark what only this answer has."""
        self._spans = spans
        self._mark()

    def set_wide(self, is_wide: bool) -> None:
        """Reading size and spelled-out title in a wide panel, compact in the dock."""
        self._title.setVisible(is_wide)
        font = QFont(self.font())
        font.setPointSizeF(self.font().pointSizeF() * (1.15 if is_wide else 1.0))
        self.text.setFont(font)

    def _mark(self) -> None:
        theme, name = self._theme, f"answer-{self._side}"
        tint, line = theme.color(f"{name}-tint"), theme.color(name)
        # Formatted text has other positions than what the model wrote.
        spans = self._spans if self._has_marks and not self._is_markdown else []
        self.text.set_marks(spans, tint, line, _STYLES[self._side])


class PromptView(QWidget):
    """What was asked: the message, or the dialogue with its roles."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ReadingText(self.tr("Prompt"), line_height=118, is_fitted=True, max_lines=7)
        self.text.setObjectName("promptText")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text)
        self._is_wide = False
        # A new style sheet takes the font of a text field back to the platform's.
        theme().changed.connect(self._style)

    def show_prompt(self, prompt: Prompt) -> None:
        """Show another prompt."""
        self.text.set_messages(prompt.messages)

    def set_wide(self, is_wide: bool) -> None:
        """A size larger in a wide panel."""
        self._is_wide = is_wide
        self._style()

    def _style(self) -> None:
        font = QFont(self.font())
        font.setPointSizeF(self.font().pointSizeF() * (1.15 if self._is_wide else 1.08))
        font.setWeight(QFont.Weight.DemiBold)
        self.text.setFont(font)


class NothingToRank(EmptyState):
    """In place of a pair: the way to the answers, or that all is ranked."""

    def __init__(self) -> None:
        words = QCoreApplication.translate("NothingToRank", "Generate answers")
        self.generate = button(words, "outlined", icon="answers")
        super().__init__("rank", "", "", self.generate)
        self._invite()

    def describe(self, progress: RankProgress) -> None:
        """Say why there is no pair."""
        if progress.n_total == 0:
            self._invite()
            return
        self.set_texts(
            counted(
                progress.n_total,
                self.tr("The only pair is ranked"),
                self.tr("All {n} pairs are ranked"),
            ),
            self.tr("More answers make more pairs. Undo shows the last pair again."),
        )

    def _invite(self) -> None:
        self.set_texts(
            self.tr("Nothing to rank yet"),
            self.tr(
                "Generate two or more answers per prompt, then rank them here. "
                "Ranking works while a model trains."
            ),
        )


def size_words(answer: Completion) -> str:
    """How long an answer is: in tokens when it was generated, else in characters."""
    tr = QCoreApplication.translate
    if answer.token_ids:
        one, many = tr("answers", "{n} token"), tr("answers", "{n} tokens")
        return counted(len(answer.token_ids), one, many)
    one, many = tr("answers", "{n} character"), tr("answers", "{n} characters")
    return counted(len(answer.text), one, many)


def writer_words(answer: Completion) -> str:
    """Who wrote an answer and how: model, adapter and sampling, or the person."""
    tr = QCoreApplication.translate
    if answer.source == "imported":
        return tr("answers", "imported")
    if answer.source == "edited":
        who = answer.author or tr("answers", "a person")
        words = tr("answers", "edited by {who}") if answer.parent_id else tr("answers", "by {who}")
        return words.format(who=who)
    name = answer.model_name or tr("answers", "unknown model")
    if answer.adapter:
        name = tr("answers", "{model} with {adapter}").format(model=name, adapter=answer.adapter)
    settings = ", ".join(f"{key} {value}" for key, value in answer.sampling.items())
    return f"{name}  {settings}".strip()


def scroll_together(*texts: ReadingText) -> None:
    """Let long answers scroll side by side, each by the same share of its length."""

    def follow(source: QScrollBar, target: QScrollBar, value: int) -> None:
        if source.maximum() and not target.property("leads"):
            source.setProperty("leads", True)
            target.setValue(round(value / source.maximum() * target.maximum()))
            source.setProperty("leads", False)

    bars = [text.verticalScrollBar() for text in texts]
    for source, target in (bars, bars[::-1]):
        source.valueChanged.connect(partial(follow, source, target))
