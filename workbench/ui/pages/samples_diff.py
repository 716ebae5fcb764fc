"""An answer beside what the base said under the same luck, with the words that differ marked."""

from __future__ import annotations

from PySide6.QtGui import QTextCharFormat
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from workbench.app.samples import Kept
from workbench.ui.reading import ReadingText
from workbench.ui.theme import theme
from workbench.ui.widgets import label
from workbench.ui.word_diff import Spans, differences, is_quick

_LINES = {
    "a": QTextCharFormat.UnderlineStyle.SingleUnderline,
    "b": QTextCharFormat.UnderlineStyle.DashUnderline,
}


class DiffView(QWidget):
    """Two panes; the left one is empty where nothing is there to compare with."""

    def __init__(self) -> None:
        super().__init__()
        self._spans: tuple[Spans, Spans] = ([], [])
        self.base = ReadingText(self.tr("Answer of the base"))
        self.answer = ReadingText(self.tr("Answer of this update"))
        self._titles = (label("", "card-title"), label("", "card-title"))
        self.note = label("", "muted", wrap=True)
        panes = QHBoxLayout()
        panes.setSpacing(16)
        for title, text in zip(self._titles, (self.base, self.answer), strict=True):
            pane = QVBoxLayout()
            pane.addWidget(title)
            pane.addWidget(text, 1)
            panes.addLayout(pane, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 8, 12, 8)
        layout.addLayout(panes, 1)
        layout.addWidget(self.note)
        theme().changed.connect(self._mark)
        self.show_sample(None)

    def show_sample(self, kept: Kept | None) -> None:
        """Show another answer, or nothing."""
        base = kept.base if kept else None
        has_base = base is not None
        self.base.setVisible(has_base)
        self._titles[0].setVisible(has_base)
        self._titles[0].setText(self.tr("Base"))
        step = kept.sample.step if kept else 0
        self._titles[1].setText(self.tr("Update {n}").format(n=step) if kept else "")
        text = kept.sample.text if kept else ""
        self.base.set_text(base or "")
        self.answer.set_text(text or (self.tr("(empty answer)") if kept else ""))
        self._spans = ([], [])
        self.note.setText("")
        if kept is not None and base is not None:
            self._compare(base, text)
        elif kept is not None:
            self.note.setText(
                self.tr("Drawn with luck of its own: no answer of the base to compare with.")
            )
        self._mark()

    def _compare(self, base: str, text: str) -> None:
        if base == text:
            self.note.setText(self.tr("The same words as the base."))
            return
        found = differences(base, text) if is_quick(base, text) else None
        if found is None:
            self.note.setText(self.tr("The answers are too long to mark their differences."))
            return
        self._spans = found
        self.note.setText(
            self.tr("Only in the base: underlined. Only in this answer: underlined with dashes.")
        )

    def _mark(self) -> None:
        for side, text, spans in zip("ab", (self.base, self.answer), self._spans, strict=True):
            ink = theme().color(f"answer-{side}")
            text.set_marks(spans, theme().color(f"answer-{side}-tint"), ink, _LINES[side])
