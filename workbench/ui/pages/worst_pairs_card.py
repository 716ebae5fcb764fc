"""Pairs that a reward gets most wrong, and the key that sends one back to be judged again."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut

from workbench.app import report_card
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.evaluation.report_records import Measured, WrongPair
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import number
from workbench.ui.widgets import Card, button

KEY = "J"


class WorstPairsCard(Card):
    """A row for each wrong pair, the surest first. Enter shows it, J sends it back."""

    sent_back = Signal(int)
    """A pair comes next in the queue, and its label of before counts no more."""

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(self.tr("Worst pairs"))
        self._ws, self._context = ws, context
        self._sent: set[int] = set()
        self.again_button = button(self.tr("Judge again"), "link", icon="rank", key=KEY)
        self.again_button.clicked.connect(self.judge_again)
        self.again_button.setToolTip(
            self.tr(
                "It comes next in your queue. A label of yours is taken back until then; undo "
                "brings it back."
            )
        )
        self.add_head(self.again_button)
        self.table: RowsView[WrongPair] = RowsView(
            [
                Column(self.tr("Prompt"), lambda p: p.prompt),
                Column(self.tr("Chosen by labels"), lambda p: p.chosen),
                Column(self.tr("Preferred by reward"), lambda p: p.rejected),
                Column(self.tr("Margin"), self._margin, "sent back", True),
            ],
            self.tr("Worst pairs"),
        )
        self.table.show_whole(5)
        self.table.chosen.connect(lambda _row: self._allow())
        self.table.doubleClicked.connect(self._open)
        keys = (
            (Qt.Key.Key_Return, self._open),
            (Qt.Key.Key_Enter, self._open),
            (KEY, self.judge_again),
        )
        for key, do in keys:
            shortcut = QShortcut(QKeySequence(key), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(do)
        self.table.setToolTip(self.tr("Enter shows the pair in the rank panel, J sends it back."))
        self.body.addWidget(self.table, 1)

    def show_pairs(self, measured: Measured) -> None:
        """Show the pairs of another report; those without a number come first."""
        rows = [*measured.unscored, *measured.worst]
        self.table.set_rows(rows, key=lambda p: p.comparison_id)
        n = measured.n_wrong + measured.n_unscored
        words = self.tr("{n} of {total} wrong")
        self.set_fact(words.format(n=n, total=measured.n_pairs + measured.n_unscored))
        if rows and self.table.current() is None:
            self.table.selectRow(0)
        self._allow()

    def judge_again(self) -> None:
        """Send the chosen pair to the front of the queue and go on to the next row."""
        row = self.table.current()
        if row is None or not row.comparison_id or row.comparison_id in self._sent:
            return
        try:
            report_card.judge_again(self._ws, row.comparison_id)
        except WorkbenchError as error:
            self._context.notify("bad", error.message, error.hint)
            return
        self._sent.add(row.comparison_id)
        self.table.selectRow(min(self.table.currentIndex().row() + 1, len(self.table.rows()) - 1))
        self.table.viewport().update()
        self.sent_back.emit(row.comparison_id)
        self._allow()

    def _open(self) -> None:
        row = self.table.current()
        if row is not None and row.comparison_id:
            self._context.rank_panel().show_comparison(row.comparison_id)

    def _margin(self, row: WrongPair) -> str:
        if row.comparison_id in self._sent:
            return self.tr("sent back")
        return number(row.margin, 1) if row.margin is not None else self.tr("no number")

    def _allow(self) -> None:
        row = self.table.current()
        can = row is not None and bool(row.comparison_id) and row.comparison_id not in self._sent
        self.again_button.setEnabled(can and not self._ws.is_read_only)
