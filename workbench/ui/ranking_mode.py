"""Ranking all answers of a prompt: the strip, what it gives, and the way to hand it in."""

from __future__ import annotations

import time
from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import feedback
from workbench.app.labelling import RankItem
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.pages.page import UiContext
from workbench.ui.plural import counted
from workbench.ui.rank_tools import AnswerTools
from workbench.ui.rank_views import AnswerPane
from workbench.ui.ranking_strip import RankingStrip
from workbench.ui.widgets import ElidedLabel, button, label
from workbench.ui.word_diff import differences, is_quick

_PLACES = "places"


class RankingMode(QWidget):
    """Shown in place of the judgement buttons; the panes show the chosen answer and the next.

    Signals:
        done: The ranking is stored.
        left: The user went back to the pair; the order stays as a draft.
    """

    done = Signal()
    left = Signal()

    def __init__(
        self, ws: Workspace, context: UiContext, panes: Sequence[AnswerPane], tools: AnswerTools
    ) -> None:
        super().__init__()
        self._ws, self._context, self._panes, self._tools = ws, context, panes, tools
        self._item: RankItem | None = None
        self._began = time.monotonic()
        self.strip = RankingStrip()
        self._title = label("", "semibold")
        self._gives = ElidedLabel("", "muted")
        keys = self.tr("1 to 8 place, Alt+← → move, = tie, Esc draft")
        self._keys = ElidedLabel(keys, "muted")
        self.button = button(self.tr("Hand in ranking"), "outlined", key="Return")
        self.button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.button.clicked.connect(self._hand_in)
        self.strip.handed_in.connect(self._hand_in)
        self.strip.chosen.connect(self._look)
        self.strip.changed.connect(self._keep)
        self.strip.left.connect(self.leave)
        head = QHBoxLayout()
        head.setSpacing(8)
        head.addWidget(self._title)
        head.addWidget(self._gives, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self.strip)
        layout.addWidget(self._keys)
        layout.addWidget(self.button)
        self.hide()

    def begin(self, item: RankItem) -> bool:
        """Rank the answers of a pair's prompt; False where there are only two."""
        answers = feedback.rankable(self._ws, item)
        if len(answers) < 3:
            why = self.tr("This prompt has only two different answers: choose the better one.")
            self._context.notify("info", why, "")
            return False
        self._item, self._began = item, time.monotonic()
        drafted = feedback.draft(self._ws, item.comparison.id).get(_PLACES)
        self._title.setText(self.tr("Ranking of {n}").format(n=len(answers)))
        self.show()
        self.strip.show_answers(answers, drafted if isinstance(drafted, list) else ())
        self.strip.setFocus()
        return True

    def leave(self) -> None:
        """Back to the pair."""
        self.hide()
        self.left.emit()

    def _hand_in(self) -> None:
        item = self._item
        if item is None:
            return
        places, seconds = self.strip.places, time.monotonic() - self._began
        try:
            feedback.rank(
                self._ws, item.prompt.id, places, seconds, is_revealed=self._tools.is_revealed
            )
            feedback.save_draft(self._ws, item.comparison.id, {})
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)
            return
        self.hide()
        self.done.emit()

    def _keep(self) -> None:
        """What was begun survives a kill."""
        if (item := self._item) is not None:
            content = {**feedback.draft(self._ws, item.comparison.id), _PLACES: self.strip.places}
            feedback.save_draft(self._ws, item.comparison.id, content)

    def _look(self) -> None:
        here, beside = self.strip.current, self.strip.beside
        if self._item is None or here is None or beside is None:
            return
        self._tell_outcome()
        for pane, answer in zip(self._panes, (here, beside), strict=True):
            pane.show_answer(answer)
            pane.set_letter(self.strip.letter(answer))
        self._tools.show(self._item, (here, beside))
        if is_quick(here.text, beside.text) and (found := differences(here.text, beside.text)):
            for pane, spans in zip(self._panes, found, strict=True):
                pane.set_spans(spans)

    def _tell_outcome(self) -> None:
        n, ties = self.strip.outcome()
        gives = counted(n, self.tr("{n} preference"), self.tr("{n} preferences"))
        if ties:
            tied = counted(ties, self.tr("{n} tie"), self.tr("{n} ties"))
            self._gives.setText(self.tr("gives {gives} and {ties}").format(gives=gives, ties=tied))
        else:
            self._gives.setText(self.tr("gives {gives}").format(gives=gives))
