"""The rank panel: one pair of answers at a time, judged by a key, while anything else goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent, QKeySequence, QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QApplication,
    QBoxLayout,
    QFrame,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import labelling
from workbench.app.labelling import Queue, RankItem
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.actions import Actions
from workbench.ui.pages.page import UiContext
from workbench.ui.rank_controls import (
    JudgeButtons,
    Legend,
    ProgressLine,
    RankHead,
    RankHeader,
    ToolButtons,
)
from workbench.ui.rank_keys import CHOICES, command_of
from workbench.ui.rank_tools import AnswerTools
from workbench.ui.rank_views import AnswerPane, NothingToRank, PromptView, scroll_together
from workbench.ui.ranking_mode import RankingMode
from workbench.ui.stepping import Stepping
from workbench.ui.theme import repolish
from workbench.ui.timers import single_shot
from workbench.ui.word_diff import Spans, differences, is_quick

log = logging.getLogger(__name__)

SIDE_BY_SIDE = 560
"""Width from which the answers stand beside each other instead of one over the other."""

_HEAD_METER = 520

_SIDES = {int(Qt.Key.Key_Left): 0, int(Qt.Key.Key_Right): 1}


class RankPanel(QWidget):
    """Judges pairs through `app.labelling`.

    A key press commits the judgement before it returns; then the next pair, which was read
    ahead, takes its place. Counts, differences of long texts and the rest of the window follow
    when the event loop is idle.

    Attributes:
        item: The pair on the screen; None when nothing is left.
        queue: What is gone through: the pending pairs, or others once more.
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
        self.queue: Queue = "pending"
        self._visiting: list[int] = []
        self._marks: dict[int, tuple[Spans, Spans] | None] = {}
        self._ahead: RankItem | None = None
        self._is_revisit = False
        self._is_marked = False
        self._history: list[int] = []
        self._shown_at = time.monotonic()
        self._is_wide: bool | None = None
        self._build()
        self._soon = single_shot(self, self._catch_up, 0)
        # Other pages read the database again: not once per key press.
        self._tell = single_shot(self, context.bridge.experiment_changed.emit, 200)
        application = QApplication.instance()
        if isinstance(application, QApplication):
            application.focusChanged.connect(self._focus_moved)
        self._bind(context.actions)
        self._arrange()
        self.refresh()

    def _bind(self, actions: Actions) -> None:
        """Menu and palette do what the keys do."""
        actions.on("edit.undo", self.steps.undo)
        actions.on("edit.redo", self.steps.redo)
        self._commands: dict[str, Callable[[], object]] = {
            **{choice: partial(self.judge, choice) for choice in CHOICES},
            "rate": self.tools.rate,
            "edit": self.tools.edit,
            "write": self.tools.write,
            "comment": partial(self.tools.remark, "comment"),
            "tag": partial(self.tools.remark, "tags"),
            "all": self.rank_all,
            "marks": self.tools.toggle_marks,
            "markdown": self.tools.toggle_markdown,
            "reveal": self._reveal,
        }
        for name, do in self._commands.items():
            actions.on(f"rank.{name}", do)

    def _build(self) -> None:
        theme = self._context.theme
        self.steps = Stepping(self._ws, self._context, self)
        self.steps.stepped.connect(self._after_step)
        self.steps.waiting.connect(self._wait)
        self.head = RankHead(theme)
        self.prompt = PromptView()
        self.pane_a, self.pane_b = AnswerPane("a", theme), AnswerPane("b", theme)
        self._panes = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._panes.setSpacing(8)
        self._panes.addWidget(self.pane_a, 1)
        self._panes.addWidget(self.pane_b, 1)
        self.legend = Legend()
        self.tools = AnswerTools(self._ws, self._context, (self.pane_a, self.pane_b), self)
        self.tools.changed.connect(self._changed)
        self.tools.idle.connect(self.setFocus)
        scroll_together(self.pane_a.text, self.pane_b.text)
        self.ranking = RankingMode(self._ws, self._context, (self.pane_a, self.pane_b), self.tools)
        self.ranking.done.connect(self._after_ranking)
        self.ranking.left.connect(self._leave_ranking)
        self.buttons = JudgeButtons(self._context.actions)
        self.buttons.chosen.connect(self.judge)
        self.buttons.undo_wanted.connect(self.steps.undo)
        self.buttons.redo_wanted.connect(self.steps.redo)
        self.more = ToolButtons(self._context.actions)
        self.more.wanted.connect(lambda name: self._commands[name]())
        self.progress = ProgressLine()
        self._lay_out()

    def _lay_out(self) -> None:
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
        pair.addWidget(self.more)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._pair)
        self.empty = NothingToRank()
        self.empty.generate.clicked.connect(lambda: self._context.show_page("answers"))
        self._stack.addWidget(self.empty)
        self.header = RankHeader(self._context.actions)
        self.header.restore_wanted.connect(self.restore_wanted)
        self.header.undo.clicked.connect(self.steps.undo)
        self.header.queue_chosen.connect(self.visit)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(12, 8, 12, 12)
        self._column.setSpacing(8)
        self._column.addWidget(self.header)
        self._column.addWidget(self._stack, 1)
        self._column.addWidget(self.ranking)
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

    def refresh(self) -> None:
        """Follow a change made elsewhere; the pair that is being read stays when it still can."""
        self._ahead = None
        if self.item is None or not self._may_stay(self.item):
            self._show(labelling.next_item(self._ws))
        self._soon.start()

    def refresh_queue(self) -> None:
        """Begin with the first pair that waits: somebody else judges now."""
        self._history.clear()
        self.visit("pending")

    def show_comparison(self, comparison_id: int) -> None:
        """Show one pair, judged already or not, and take the keys."""
        self._ahead = None
        self._show(labelling.item(self._ws, comparison_id), is_revisit=True)
        self._soon.start()
        self.setFocus(Qt.FocusReason.OtherFocusReason)

    def judge(self, choice: str) -> None:
        """Commit one of `CHOICES` on the pair that is shown, and show the next one."""
        item = self.item
        if item is None:
            return
        verdict, strength = CHOICES[choice]
        seconds = time.monotonic() - self._shown_at
        is_stored = self._done(
            lambda: labelling.judge_item(
                self._ws,
                item,
                verdict,
                seconds,
                strength=strength,
                is_revealed=self.tools.is_revealed,
            )
        )
        if is_stored:
            self.buttons.flash(choice)
            self._go_on(item)
            self.judged.emit(item.comparison.id, verdict)

    def _go_on(self, item: RankItem) -> None:
        """Show what comes after a pair that is done: now and then one that was judged before."""
        self._history.append(item.comparison.id)
        again = labelling.next_repeat(self._ws) if self.queue == "pending" else None
        is_revisit = self.queue != "pending" or again is not None
        self._show(again or self._ahead or self._next_after(item), is_revisit=is_revisit)
        self._changed()

    def visit(self, queue: Queue) -> None:
        """Go through the drafts, or again through what is ranked or skipped; or the pending."""
        self.queue = queue
        self._visiting = [] if queue == "pending" else labelling.visitable(self._ws, queue)
        self._ahead = None
        first = self._next_visited() if queue != "pending" else labelling.next_item(self._ws)
        self._show(first, is_revisit=queue != "pending")
        self._soon.start()
        self.setFocus()

    def _next_visited(self) -> RankItem | None:
        return labelling.item(self._ws, self._visiting.pop(0)) if self._visiting else None

    def rank_all(self) -> None:
        """Rank all answers of the prompt together, where it has more than two."""
        item = self.item
        if item is not None and not self.ranking.isVisible() and self.ranking.begin(item):
            self.buttons.hide()

    def _after_ranking(self) -> None:
        if (item := self.item) is not None:
            self._ahead = None
            self._go_on(item)
        self.setFocus()

    def _leave_ranking(self) -> None:
        self.buttons.show()
        self._show(self.item, is_revisit=self._is_revisit)
        self._soon.start()
        self.setFocus()

    def _reveal(self) -> None:
        self.tools.reveal()
        self.head.set_revealed(self.tools.is_revealed)

    def _after_step(self) -> None:
        """After undo or redo, show the pair that it was about."""
        self._ahead = None
        self._show(self._taken_back() or labelling.next_item(self._ws))
        self._changed()

    def _wait(self, is_waiting: bool) -> None:
        """While much is undone nothing is judged: it would wait for the database."""
        self.setEnabled(not is_waiting)

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
        if self.queue != "pending":
            return self._next_visited()
        found = labelling.next_item(self._ws, after_id=item.comparison.id)
        return found or labelling.next_item(self._ws)

    def _show(self, item: RankItem | None, *, is_revisit: bool = False) -> None:
        self.item, self._ahead, self._is_revisit = item, None, is_revisit
        self._is_marked = False
        self._stack.setCurrentIndex(0 if item else 1)
        self._allow()
        self.ranking.hide()
        if item is not None:
            self.head.show_prompt(item.prompt)
            self.prompt.show_prompt(item.prompt)
            for pane, answer, letter in (
                (self.pane_a, item.first, "A"),
                (self.pane_b, item.second, "B"),
            ):
                pane.show_answer(answer)
                pane.set_letter(letter)
            self.legend.show_state("same" if item.is_identical else "marks")
            if item.comparison.id in self._marks or is_quick(item.first.text, item.second.text):
                self._mark(item)
        self.tools.show(item)
        self.head.set_revealed(self.tools.is_revealed)
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
        self.progress.setVisible(progress.n_total > 0)
        self.buttons.setVisible(progress.n_total > 0 and not self.ranking.isVisible())
        self.header.show_counts(progress, labelling.n_drafts(self._ws))
        self.empty.describe(progress)
        self.buttons.name_undo(labelling.undo_name(self._ws), labelling.redo_name(self._ws))
        if item is not None and self.queue == "pending":
            self._ahead = self._next_after(item)
            if self._ahead is not None:
                self._look_up(self._ahead)

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
        self.more.setEnabled(not why_not)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """The ranking keys. They come here only while the panel or a part of it has focus."""
        if event.matches(QKeySequence.StandardKey.Undo):
            self.steps.undo()
        elif event.matches(QKeySequence.StandardKey.Redo) or _is_ctrl_y(event):
            self.steps.redo()
        elif event.key() in _SIDES and not event.modifiers():
            self.tools.choose(_SIDES[event.key()])
        elif command := command_of(event, self._context.actions):
            # A key held down must not judge pairs that nobody read.
            if not event.isAutoRepeat():
                self._commands[command]()
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


def _is_ctrl_y(event: QKeyEvent) -> bool:
    # The standard redo key of some platforms is Ctrl+Shift+Z only; the button says Ctrl+Y.
    return event.key() == Qt.Key.Key_Y and event.modifiers() == Qt.KeyboardModifier.ControlModifier
