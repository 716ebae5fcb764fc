"""Text of prompts and answers as it is read: plain, selectable, with marks for differences."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QCoreApplication, QSize, Qt, QUrl
from PySide6.QtGui import (
    QColor,
    QFont,
    QFontMetricsF,
    QResizeEvent,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextOption,
)
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextEdit

from workbench.data.records import Message, Role

_MARGIN = 2.0


class ReadingText(QTextEdit):
    """Model output, read only. It is set as plain text: nothing in it is ever taken for HTML.

    Args:
        name: Its accessible name.
        line_height: Per cent of the font's own line height.
        is_fitted: Grow with the text, up to `max_lines` lines, instead of filling the space.
    """

    def __init__(
        self, name: str, *, line_height: int = 135, is_fitted: bool = False, max_lines: int = 8
    ) -> None:
        super().__init__()
        self._line_height = line_height
        self._max_lines = max_lines
        self._is_fitted = is_fitted
        self.setProperty("reading", True)
        self.setAccessibleName(name)
        self.setReadOnly(True)
        self.setAcceptRichText(False)
        self.setUndoRedoEnabled(False)
        self.setTabChangesFocus(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse
            | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self.document().setDocumentMargin(_MARGIN)
        if is_fitted:
            self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def set_text(self, text: str) -> None:
        """Show `text` from its beginning, without marks."""
        self.setExtraSelections([])
        self.setPlainText(text)
        self._space_lines()

    def set_markdown(self, text: str) -> None:
        """Show `text` formatted: no HTML in it is read, and no picture or link is fetched."""
        self.setExtraSelections([])
        self.document().setMarkdown(text, QTextDocument.MarkdownFeature.MarkdownNoHTML)
        if self._is_fitted:
            self._fit()

    def loadResource(self, _kind: int, _name: QUrl | str) -> object:
        """Nothing: what a model writes must not make this program open a file."""
        return None

    def set_messages(self, messages: Sequence[Message]) -> None:
        """Show a dialogue; a single user message is shown as it is, without its role."""
        self.setExtraSelections([])
        self.clear()
        if len(messages) == 1 and messages[0].role == "user":
            self.setPlainText(messages[0].content)
            self._space_lines()
            return
        roles = role_names()
        cursor = QTextCursor(self.document())
        label, plain = QTextCharFormat(), QTextCharFormat()
        label.setFontWeight(QFont.Weight.Normal)
        for i, message in enumerate(messages):
            text = f"{roles[message.role]}: "
            cursor.insertText(("\n" if i else "") + text, label)
            cursor.insertText(message.content, plain)
        self._space_lines()
        self.moveCursor(QTextCursor.MoveOperation.Start)

    def set_marks(
        self,
        spans: Sequence[tuple[int, int]],
        tint: QColor,
        line: QColor,
        style: QTextCharFormat.UnderlineStyle,
    ) -> None:
        """Tint and underline character ranges (Python offsets) of the text that is shown."""
        shape = QTextCharFormat()
        shape.setBackground(tint)
        shape.setUnderlineStyle(style)
        shape.setUnderlineColor(line)
        text = self.toPlainText()
        marks = []
        for start, end in spans:
            mark = QTextEdit.ExtraSelection()
            cursor = QTextCursor(self.document())
            cursor.setPosition(_utf16(text, start))
            cursor.setPosition(_utf16(text, end), QTextCursor.MoveMode.KeepAnchor)
            mark.cursor = cursor
            mark.format = shape
            marks.append(mark)
        self.setExtraSelections(marks)

    def _space_lines(self) -> None:
        spacing = QTextBlockFormat()
        spacing.setLineHeight(
            self._line_height, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value
        )
        cursor = QTextCursor(self.document())
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.mergeBlockFormat(spacing)
        if self._is_fitted:
            self._fit()

    def _fit(self) -> None:
        self.document().setTextWidth(self.viewport().width())
        line = QFontMetricsF(self.font()).lineSpacing() * self._line_height / 100
        whole, limit = self.document().size().height(), line * self._max_lines + 2 * _MARGIN
        height = min(whole, limit)
        # As needed would come and go with the rounding of the height, and take width with it.
        self.setVerticalScrollBarPolicy(
            Qt.ScrollBarPolicy.ScrollBarAsNeeded
            if whole > limit
            else Qt.ScrollBarPolicy.ScrollBarAlwaysOff
        )
        if round(height) != self.height():
            self.setFixedHeight(round(height) + 1)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        if self._is_fitted and event.oldSize().width() != event.size().width():
            self._fit()

    def minimumSizeHint(self) -> QSize:  # noqa: D102
        line = round(QFontMetricsF(self.font()).lineSpacing())
        return QSize(60, line * (1 if self._is_fitted else 3))


def role_names() -> dict[Role, str]:
    """How the turns of a dialogue are labelled."""
    tr = QCoreApplication.translate
    return {
        "system": tr("roles", "System"),
        "user": tr("roles", "User"),
        "assistant": tr("roles", "Assistant"),
    }


def _utf16(text: str, position: int) -> int:
    """Qt counts UTF-16 units: an emoji is two of them, one character in Python."""
    if text.isascii():
        return position
    return len(text[:position].encode("utf-16-le")) // 2
