"""Editing an answer, or writing a better one: what is typed is kept until it is handed in."""

from __future__ import annotations

from PySide6.QtCore import QTimer, Signal
from PySide6.QtGui import QTextCharFormat
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.ui.reading import ReadingText
from workbench.ui.theme import theme
from workbench.ui.widgets import button, label
from workbench.ui.widgets.remark import Remark
from workbench.ui.widgets.text_field import TextField
from workbench.ui.word_diff import Spans, differences

_PAUSE_MS = 250


class AnswerEditor(QDialog):
    """A text field over what it changes: words only in the original, words only in the new one.

    Signals:
        typed: The text to keep as a draft; empty when it was thrown away.
        handed_in: The finished text.

    Args:
        parent: The window.
        title: What is done.
        original: The answer that is edited; empty when one is written anew.
        text: What the field begins with: a draft, or the original.
    """

    typed = Signal(str)
    handed_in = Signal(str)

    def __init__(self, parent: QWidget, title: str, original: str, text: str) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(720, 560)
        self._original = original
        self.field = TextField(self.tr("Answer"), text)
        self.before = ReadingText(self.tr("What the edit takes away"))
        self.after = ReadingText(self.tr("What the edit adds"))
        self.remark = Remark()
        self.save = button(self.tr("Prefer this answer"), "filled", key="Ctrl+Return")
        self.discard = button(self.tr("Throw away"), "quiet")
        self.close_button = button(self.tr("Keep as draft"), "outlined", key="Esc")
        self.save.clicked.connect(self.hand_in)
        self.discard.clicked.connect(self._throw_away)
        self.close_button.clicked.connect(self.reject)
        self.field.finished.connect(self.hand_in)
        self._lay_out(bool(original))
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.timeout.connect(self._keep)
        self.field.textChanged.connect(self._on_typing)
        self._compare()
        self.field.setFocus()

    def _lay_out(self, is_edit: bool) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        layout.addWidget(self.field, 3)
        if is_edit:
            texts = QHBoxLayout()
            for title, text in (
                (self.tr("Taken away"), self.before),
                (self.tr("Added"), self.after),
            ):
                column = QVBoxLayout()
                column.addWidget(label(title, "muted"))
                column.addWidget(text, 1)
                texts.addLayout(column, 1)
            layout.addLayout(texts, 2)
        layout.addWidget(self.remark)
        foot = QHBoxLayout()
        foot.addWidget(self.discard)
        foot.addStretch(1)
        foot.addWidget(self.close_button)
        foot.addWidget(self.save)
        layout.addLayout(foot)

    def text(self) -> str:
        """What stands in the field."""
        return self.field.toPlainText()

    def refuse(self, sentence: str) -> None:
        """Say why the text cannot be handed in; it stays."""
        self.remark.tell(sentence)

    def hand_in(self) -> None:
        """Offer the text; whoever takes it closes the dialog."""
        self._pause.stop()
        self.handed_in.emit(self.text())

    def reject(self) -> None:
        """Close; what was typed stays as a draft."""
        self._keep()
        super().reject()

    def _throw_away(self) -> None:
        self._pause.stop()
        self.typed.emit("")
        super().reject()

    def _on_typing(self) -> None:
        self.remark.tell("")
        self._pause.start()

    def _keep(self) -> None:
        self._pause.stop()
        self._compare()
        text = self.text()
        self.typed.emit("" if text.strip() == self._original.strip() else text)

    def _compare(self) -> None:
        if not self._original:
            return
        found = differences(self._original, self.text()) or ([], [])
        self._mark(self.before, self._original, found[0], "a")
        self._mark(self.after, self.text(), found[1], "b")

    def _mark(self, view: ReadingText, text: str, spans: Spans, side: str) -> None:
        styles = QTextCharFormat.UnderlineStyle
        style = styles.SingleUnderline if side == "a" else styles.DashUnderline
        view.set_text(text)
        look, name = theme(), f"answer-{side}"
        view.set_marks(spans, look.color(f"{name}-tint"), look.color(name), style)
