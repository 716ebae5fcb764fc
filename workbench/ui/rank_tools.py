"""What can be done with the answers of a pair besides choosing: rate, edit, write, comment, tag."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QDialog, QWidget

from workbench.app import feedback
from workbench.app.labelling import RankItem
from workbench.app.workspace import Workspace
from workbench.data.records import Completion
from workbench.errors import WorkbenchError
from workbench.ui.answer_editor import AnswerEditor
from workbench.ui.pages.page import UiContext
from workbench.ui.rank_views import AnswerPane, writer_words
from workbench.ui.remark_dialog import RemarkDialog

_EDIT, _WRITE = "edit", "write"


class AnswerTools(QObject):
    """Tools on the two panes. The active answer is the one that was clicked or chosen by arrow.

    Signals:
        changed: Something was stored.
        idle: The panel should have the keys again.
    """

    changed = Signal()
    idle = Signal()

    def __init__(
        self, ws: Workspace, context: UiContext, panes: Sequence[AnswerPane], parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._ws, self._context, self._panes, self._panel = ws, context, panes, parent
        self._item: RankItem | None = None
        self._answers: tuple[Completion, ...] = ()
        self._is_marked, self._is_markdown = True, False
        self.is_revealed = False
        self.dialog: QDialog | None = None
        self._here = 0
        self._began = time.monotonic()
        for i, pane in enumerate(panes):
            pane.clicked.connect(lambda i=i: self.choose(i))
            pane.stars.rated.connect(lambda stars, i=i: self._rate(i, stars))
            pane.stars.left.connect(lambda i=i: self._leave_stars(i))
        self.choose(0)

    def show(self, item: RankItem | None, answers: Sequence[Completion] = ()) -> None:
        """Work on another pair, or on two other answers of its prompt."""
        if item is not self._item:
            self.is_revealed = False
            self.choose(0)
        self._item = item
        if item is not None:
            self._answers = tuple(answers) or (item.first, item.second)
            self.show_said()
            self._show_writers()

    def show_said(self) -> None:
        """Show ratings, tags and comments as they are stored."""
        if self._item is None:
            return
        said = feedback.said(self._ws, self._item.prompt.id)
        for pane, answer in zip(self._panes, self._answers, strict=True):
            pane.set_said(
                said.ratings.get(answer.id, 0),
                said.tags.get(answer.id, ()),
                said.comments.get(answer.id, ""),
            )

    def choose(self, side: int) -> None:
        """Make an answer the active one."""
        self._here = side
        for i, pane in enumerate(self._panes):
            pane.set_active(i == side)

    def rate(self) -> None:
        """Give the digits to the stars of the active answer, then to those of the other one."""
        if self._item is not None:
            self._panes[self._here].stars.setFocus()

    def _rate(self, side: int, stars: int) -> None:
        if self._item is not None:
            self._do(lambda: feedback.rate(self._ws, self._answers[side], stars))
            self.show_said()

    def _leave_stars(self, side: int) -> None:
        is_first = side == self._here
        other = self._panes[1 - side].stars
        if is_first and self._panes[side].stars.value and not other.value:
            other.setFocus()
        else:
            self.idle.emit()

    def edit(self) -> None:
        """Change the active answer; the edit is preferred over it."""
        item = self._item
        if item is None:
            return
        answer = self._answers[self._here]
        title = self.tr("Edit an answer")

        def take(text: str) -> Completion:
            return feedback.edit(self._ws, answer, text, self._elapsed())

        self._open_editor(item, title, f"{_EDIT} {answer.id}", answer.text, take)

    def write(self) -> None:
        """Write an answer that is preferred over both."""
        item = self._item
        if item is None:
            return

        def take(text: str) -> Completion:
            return feedback.write(self._ws, item, text, self._elapsed())

        self._open_editor(item, self.tr("Write a better answer"), _WRITE, "", take)

    def _open_editor(
        self,
        item: RankItem,
        title: str,
        name: str,
        original: str,
        take: Callable[[str], Completion],
    ) -> None:
        pair = item.comparison.id
        kept = str(feedback.draft(self._ws, pair).get(name, ""))
        editor = AnswerEditor(self._panel.window(), title, original, kept or original)
        self._began = time.monotonic()

        def keep(text: str) -> None:
            others = feedback.draft(self._ws, pair)
            others.pop(name, None)
            content = {**others, name: text} if text else others
            self._do(lambda: feedback.save_draft(self._ws, pair, content))

        def hand_in(text: str) -> None:
            try:
                take(text)
            except WorkbenchError as error:
                editor.refuse(f"{error.message} {error.hint}".strip())
                return
            keep("")
            editor.accept()
            self.changed.emit()

        editor.typed.connect(keep)
        editor.handed_in.connect(hand_in)
        self._open(editor)

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

    def remark(self, first: Literal["comment", "tags"]) -> None:
        """Comment on the active answer, or tag it."""
        item = self._item
        if item is None:
            return
        answer, prompt_id = self._answers[self._here], item.prompt.id
        said = feedback.said(self._ws, prompt_id)
        before = said.tags.get(answer.id, ())
        dialog = RemarkDialog(
            self._panel.window(),
            self.tr("Remarks on answer {letter}").format(letter="AB"[self._here]),
            said.comments.get(answer.id, ""),
            list(before),
            feedback.vocabulary(self._ws),
        )

        def store(comment: str, tags: list[str]) -> None:
            if comment != said.comments.get(answer.id, ""):
                self._do(lambda: feedback.comment(self._ws, prompt_id, answer.id, comment))
            for name in [t for t in before if t not in tags]:
                self._do(partial(feedback.untag, self._ws, prompt_id, answer.id, name))
            for name in [t for t in tags if t not in before]:
                self._do(partial(feedback.tag, self._ws, prompt_id, answer.id, name))
            self.show_said()

        dialog.said.connect(store)
        self._open(dialog)
        (dialog.comment if first == "comment" else dialog.tags).setFocus()

    def reveal(self) -> None:
        """Show who wrote which answer; that it was asked is stored with the judgement."""
        self.is_revealed = self._item is not None
        self._show_writers()

    def _show_writers(self) -> None:
        for pane, answer in zip(self._panes, self._answers, strict=False):
            pane.reveal(writer_words(answer) if self.is_revealed else "")

    def toggle_marks(self) -> None:
        """Show or hide where the answers differ."""
        self._is_marked = not self._is_marked
        for pane in self._panes:
            pane.set_marked(self._is_marked)

    def toggle_markdown(self) -> None:
        """Formatted or plain."""
        self._is_markdown = not self._is_markdown
        for pane in self._panes:
            pane.set_markdown(self._is_markdown)

    def _open(self, dialog: QDialog) -> None:
        self.dialog = dialog
        dialog.finished.connect(self._closed)
        dialog.open()

    def _closed(self) -> None:
        if self.dialog is not None:
            self.dialog.deleteLater()
        self.dialog = None
        self.idle.emit()

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)
            return
        self.changed.emit()
