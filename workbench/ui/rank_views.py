"""The parts of the rank panel: answer panes with their tags, and the meter of what is left."""

from __future__ import annotations

from typing import Literal

from PySide6.QtCore import QCoreApplication, QRectF, QSize, Qt
from PySide6.QtGui import QFont, QPainter, QPaintEvent, QTextCharFormat
from PySide6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from workbench.data.records import Completion, Prompt
from workbench.ui.plural import counted
from workbench.ui.reading import ReadingText
from workbench.ui.theme import Theme, theme
from workbench.ui.widgets import label
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
        theme.changed.connect(self.update)

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
        painter.drawText(box, Qt.AlignmentFlag.AlignCenter, self._side.upper())
        painter.end()


class AnswerPane(QFrame):
    """One answer: tag, size, text. Model and reward stay hidden, so that only the text counts."""

    def __init__(self, side: Side, theme: Theme) -> None:
        super().__init__()
        self._side = side
        self._theme = theme
        self._spans: Spans = []
        self.setProperty("card", True)
        self.setObjectName("answerPane")
        name = self.tr("Answer A") if side == "a" else self.tr("Answer B")
        self._title = label(name, "card-title")
        self._size = label("", "muted")
        self.text = ReadingText(name)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(AnswerTag(side, theme))
        head.addWidget(self._title)
        head.addWidget(self._size)
        head.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.text, 1)
        theme.changed.connect(self._mark)

    def show_answer(self, answer: Completion) -> None:
        """Show an answer without marks."""
        self._spans = []
        is_empty = not answer.text.strip()
        self.text.set_text(self.tr("(empty answer)") if is_empty else answer.text)
        self._size.setText(size_words(answer))

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
        self.text.set_marks(self._spans, tint, line, _STYLES[self._side])


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


def size_words(answer: Completion) -> str:
    """How long an answer is: in tokens when it was generated, else in characters."""
    tr = QCoreApplication.translate
    if answer.token_ids:
        one, many = tr("answers", "{n} token"), tr("answers", "{n} tokens")
        return counted(len(answer.token_ids), one, many)
    one, many = tr("answers", "{n} character"), tr("answers", "{n} characters")
    return counted(len(answer.text), one, many)
