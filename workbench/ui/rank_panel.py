"""The rank panel: one pair of answers at a time, judged by a key, while anything else goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QBoxLayout, QFrame, QStackedWidget, QVBoxLayout, QWidget

from workbench.app import labelling
from workbench.app.labelling import RankItem, RankProgress
from workbench.app.workspace import Workspace
from workbench.data.records import Verdict
from workbench.errors import WorkbenchError
from workbench.ui.actions import Actions
from workbench.ui.pages.page import UiContext
from workbench.ui.plural import counted
from workbench.ui.rank_controls import JudgeButtons, Legend, ProgressLine, RankHead, RankHeader
from workbench.ui.rank_views import AnswerPane, PromptView
from workbench.ui.theme import repolish
from workbench.ui.widgets import EmptyState, button
from workbench.ui.word_diff import Spans, differences

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 560
"""Width from which the answers stand beside each other instead of one over the other."""

_HEAD_METER = 520

_KEYS: dict[int, Verdict] = {
    Qt.Key.Key_1: "first",
    Qt.Key.Key_2: "second",
    Qt.Key.Key_Equal: "tie",
    Qt.Key.Key_0: "both_bad",
    Qt.Key.Key_S: "skip",
}
_PLAIN = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.KeypadModifier
# Above this, differences are looked for after the pair is on the screen (0.1 s on a slow core).
_QUICK_LENGTH = 3000


class RankPanel(QWidget):
    """Judges pairs through `app.labelling`.

    A key press commits the judgement before it returns; then the next pair, which was read
    ahead, takes its place. Counts, differences of long texts and the rest of the window follow
    when the event loop is idle.

    Attributes:
        item: The pair on the screen; None when nothing is left.
    """

    judged = Signal(int, str)
    """A judgement of this comparison was committed, with its verdict."""

    restore_wanted = Signal()
    """The reading mode should end."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__()
        self.setObjectName("rankPanel")
        self.setAccessibleName(self.tr("Rank"))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._ws = ws
        self._context = context
        self.item: RankItem | None = None
        self._marks: dict[int, tuple[Spans, Spans] | None] = {}
        self._ahead: RankItem | None = None
        self._is_revisit = False
        self._is_marked = False
        self._history: list[int] = []
        self._shown_at = time.monotonic()
        self._is_wide: bool | None = None
        self._build()
        self._soon = _single_shot(self, self._catch_up, 0)
        # Other pages read the database again: not once per key press.
        self._tell = _single_shot(self, context.bridge.experiment_changed.emit, 200)
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._focus_moved)
        self._bind(context.actions)
        self._arrange()
        self.refresh()

    def _bind(self, actions: Actions) -> None:
        """Menu and palette do what the keys do."""
        actions.on("edit.undo", self.undo)
        actions.on("edit.redo", self.redo)
        for verdict in _KEYS.values():
            actions.on(f"rank.{verdict}", partial(self.judge, verdict))

    def _build(self) -> None:
        theme = self._context.theme
        self.head = RankHead(theme)
        self.prompt = PromptView()
        self.pane_a, self.pane_b = AnswerPane("a", theme), AnswerPane("b", theme)
        self._panes = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._panes.setSpacing(8)
        self._panes.addWidget(self.pane_a, 1)
        self._panes.addWidget(self.pane_b, 1)
        self.legend = Legend()
        self.buttons = JudgeButtons()
        self.buttons.chosen.connect(self.judge)
        self.buttons.undo_wanted.connect(self.undo)
        self.buttons.redo_wanted.connect(self.redo)
        self.progress = ProgressLine()
        self._pair = QWidget()
        pair = QVBoxLayout(self._pair)
        pair.setContentsMargins(0, 0, 0, 0)
        pair.setSpacing(8)
        self._asked = QFrame()
        self._asked_layout = QVBoxLayout(self._asked)
        self._asked_layout.setSpacing(4)
        self._asked_layout.addWidget(self.head)
        self._asked_layout.addWidget(self.prompt)
        pair.addWidget(self._asked)
        pair.addLayout(self._panes, 1)
        pair.addWidget(self.legend)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._pair)
        self._stack.addWidget(self._empty_state())
        self.header = RankHeader()
        self.header.restore_wanted.connect(self.restore_wanted)
        self.header.undo.clicked.connect(self.undo)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(12, 8, 12, 12)
        self._column.setSpacing(8)
        self._column.addWidget(self.header)
        self._column.addWidget(self._stack, 1)
        self._column.addWidget(self.buttons)
        self._column.addWidget(self.progress)

    @property
    def is_idle(self) -> bool:
        """Whether counts are up to date and the next pair is read ahead."""
        return not self._soon.isActive()

    def set_maximised(self, is_maximised: bool) -> None:
        """Reading mode: the panel alone in the window, with its own head and the way back."""
        self.header.setVisible(is_maximised)
        self.buttons.set_steps_visible(not is_maximised)
        margin = 16 if is_maximised else 12
        self._column.setContentsMargins(margin, 8, margin, 12)
        self._column.removeWidget(self.progress)
        place = 1 if is_maximised else self._column.count()
        self._column.insertWidget(place, self.progress)
        self.progress.setMinimumWidth(_HEAD_METER if is_maximised else 0)
        self._column.setAlignment(
            self.progress,
            Qt.AlignmentFlag.AlignRight if is_maximised else Qt.AlignmentFlag(0),
        )

    def _empty_state(self) -> QWidget:
        generate = button(self.tr("Generate answers"), "outlined", icon="answers")
        generate.clicked.connect(lambda: self._context.show_page("answers"))
        self.empty = EmptyState("rank", *self._nothing_yet(), generate)
        return self.empty

    def refresh(self) -> None:
        """Follow a change made elsewhere; the pair that is being read stays when it still can."""
        self._ahead = None
        if self.item is None or not self._may_stay(self.item):
            self._show(labelling.next_item(self._ws))
        self._soon.start()

    def show_comparison(self, comparison_id: int) -> None:
        """Show one pair, judged already or not, and take the keys."""
        self._ahead = None
        self._show(labelling.item(self._ws, comparison_id), is_revisit=True)
        self._soon.start()
        self.setFocus(Qt.FocusReason.OtherFocusReason)

    def judge(self, verdict: Verdict) -> None:
        """Commit a verdict on the pair that is shown, and show the next one."""
        item = self.item
        if item is None:
            return
        seconds = time.monotonic() - self._shown_at
        if not self._done(lambda: labelling.judge(self._ws, item.comparison.id, verdict, seconds)):
            return
        self._history.append(item.comparison.id)
        self.buttons.flash(verdict)
        self._show(self._ahead or self._next_after(item))
        self.judged.emit(item.comparison.id, verdict)
        self._changed()

    def undo(self) -> None:
        """Take back the last change and show its pair again."""
        self._step_back_or_forth(labelling.undo, self.tr("There is nothing to undo."))

    def redo(self) -> None:
        """Do the last undone change again."""
        self._step_back_or_forth(labelling.redo, self.tr("There is nothing to redo."))

    def _step_back_or_forth(self, step: Callable[[Workspace], str | None], nothing: str) -> None:
        found: list[str | None] = []
        if not self._done(lambda: found.append(step(self._ws))):
            return
        self._ahead = None
        if found[0] is None:
            self._context.notify("info", nothing, "")
            return
        self._show(self._taken_back() or labelling.next_item(self._ws))
        self._changed()

    def _taken_back(self) -> RankItem | None:
        """The pair judged last, when its judgement does not stand any more."""
        if not self._history:
            return None
        latest = self._ws.experiment.judgements.latest(self._history[-1], self._ws.annotator)
        return None if latest else labelling.item(self._ws, self._history.pop())

    def _may_stay(self, item: RankItem) -> bool:
        """Whether the pair on the screen still waits, or was called up on purpose."""
        return self._is_revisit or labelling.is_pending(self._ws, item.comparison.id)

    def _done(self, action: Callable[[], object]) -> bool:
        """Do it; trouble that the user can act on is told, and the pair stays."""
        try:
            action()
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)
            return False
        return True

    def _changed(self) -> None:
        self._soon.start()
        self._tell.start()

    def _next_after(self, item: RankItem) -> RankItem | None:
        found = labelling.next_item(self._ws, after_id=item.comparison.id)
        return found or labelling.next_item(self._ws)

    def _show(self, item: RankItem | None, *, is_revisit: bool = False) -> None:
        self.item, self._ahead, self._is_revisit = item, None, is_revisit
        self._is_marked = False
        self._stack.setCurrentIndex(0 if item else 1)
        self._allow()
        if item is not None:
            self.head.show_prompt(item.prompt)
            self.prompt.show_prompt(item.prompt)
            self.pane_a.show_answer(item.first)
            self.pane_b.show_answer(item.second)
            self.legend.show_state("same" if item.is_identical else "marks")
            if item.comparison.id in self._marks or _is_short(item):
                self._mark(item)
        self._shown_at = time.monotonic()

    def _mark(self, item: RankItem) -> None:
        found = self._look_up(item)
        self._is_marked = True
        if found is None:
            self.legend.show_state("too long")
            return
        self.pane_a.set_spans(found[0])
        self.pane_b.set_spans(found[1])

    def _look_up(self, item: RankItem) -> tuple[Spans, Spans] | None:
        """Where the answers differ, worked out once for the shown and the next pair."""
        if item.comparison.id not in self._marks:
            found = differences(item.first.text, item.second.text)
            if len(self._marks) > 1:
                self._marks.clear()
            self._marks[item.comparison.id] = found
        return self._marks[item.comparison.id]

    def _catch_up(self) -> None:
        """What may come after the next pair is on the screen."""
        item = self.item
        if item is not None and not self._is_marked:
            self._mark(item)
        progress = labelling.progress(self._ws)
        self.progress.show_progress(progress)
        for part in (self.progress, self.buttons):
            part.setVisible(progress.n_total > 0)
        self._describe_empty(progress)
        self.buttons.name_undo(labelling.undo_name(self._ws), labelling.redo_name(self._ws))
        if item is not None:
            self._ahead = self._next_after(item)
            if self._ahead is not None:
                self._look_up(self._ahead)

    def _describe_empty(self, progress: RankProgress) -> None:
        if progress.n_total == 0:
            self.empty.set_texts(*self._nothing_yet())
            return
        self.empty.set_texts(
            counted(
                progress.n_total,
                self.tr("The only pair is ranked"),
                self.tr("All {n} pairs are ranked"),
            ),
            self.tr("More answers make more pairs. Undo shows the last pair again."),
        )

    def _nothing_yet(self) -> tuple[str, str]:
        return self.tr("Nothing to rank yet"), self.tr(
            "Generate two or more answers per prompt, then rank them here. "
            "Ranking works while a model trains."
        )

    def _allow(self) -> None:
        """Judging needs a pair and a folder that may be written."""
        why_not = ""
        if self._ws.is_read_only:
            why_not = self.tr(
                "This experiment is open read-only, because another program holds it."
            )
        elif self.item is None:
            why_not = self.tr("There is no pair to rank.")
        self.buttons.set_enabled(why_not)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The ranking keys. They come here only while the panel or a part of it has focus."""
        if event.matches(QKeySequence.StandardKey.Undo):
            self.undo()
        elif event.matches(QKeySequence.StandardKey.Redo) or _is_ctrl_y(event):
            self.redo()
        elif (verdict := _KEYS.get(event.key())) and event.modifiers() in _PLAIN:
            # A key held down must not judge pairs that nobody read.
            if not event.isAutoRepeat():
                self.judge(verdict)
        else:
            super().keyPressEvent(event)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102
        super().resizeEvent(event)
        self._arrange()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102
        super().showEvent(event)
        self._shown_at = time.monotonic()

    def _arrange(self) -> None:
        is_wide = self.width() >= SIDE_BY_SIDE
        if is_wide == self._is_wide:
            return
        self._is_wide = is_wide
        sideways, downwards = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
        self._panes.setDirection(sideways if is_wide else downwards)
        self._panes.setSpacing(12 if is_wide else 8)
        self._asked.setProperty("card", is_wide)
        margin = 8 if is_wide else 0
        self._asked_layout.setContentsMargins(margin, margin, margin, margin)
        repolish(self._asked)
        for part in (self.pane_a, self.pane_b, self.prompt, self.buttons, self.progress):
            part.set_wide(is_wide)

    def _focus_moved(self, _old: QWidget | None, new: QWidget | None) -> None:
        is_here = new is not None and (new is self or self.isAncestorOf(new))
        if is_here != self.head.has_keys:
            self.head.has_keys = is_here


def _is_short(item: RankItem) -> bool:
    return len(item.first.text) + len(item.second.text) <= _QUICK_LENGTH


def _is_ctrl_y(event: QKeyEvent) -> bool:
    # The standard redo key of some platforms is Ctrl+Shift+Z only; the button says Ctrl+Y.
    return event.key() == Qt.Key.Key_Y and event.modifiers() == Qt.KeyboardModifier.ControlModifier


def _single_shot(owner: QWidget, action: Callable[[], None], after_ms: int) -> QTimer:
    timer = QTimer(owner)
    timer.setSingleShot(True)
    timer.setInterval(after_ms)
    timer.timeout.connect(action)
    return timer
