"""Pairs of answers, before and after: a table, and both texts side by side."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPlainTextEdit, QSplitter, QVBoxLayout, QWidget

from workbench.app.evaluate import Row
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.widgets import Card


class PairsCard(Card):
    """One row per prompt and seed: who won, by how much, and the texts to read."""

    def __init__(self) -> None:
        super().__init__(self.tr("Pairs of answers"))
        self._scores = (self.tr("Reward before"), self.tr("Reward after"))
        self.table: RowsView[Row] = RowsView(
            [
                Column(self.tr("Prompt"), lambda r: r.prompt.text),
                Column(self.tr("Better"), self._winner, "trained"),
                Column(
                    self._scores[0],
                    lambda r: number(r.base.reward),
                    "0",
                    True,
                    is_optional=True,
                ),
                Column(self._scores[1], lambda r: number(r.trained.reward), "0", True),
                Column(self.tr("KL, nats"), lambda r: number(r.trained.kl, 1), "000.0", True),
                Column(
                    self.tr("Tokens before"),
                    lambda r: str(r.base.n_tokens),
                    "0",
                    True,
                    is_optional=True,
                ),
                Column(
                    self.tr("Tokens after"),
                    lambda r: str(r.trained.n_tokens),
                    "0",
                    True,
                    is_optional=True,
                ),
            ],
            self.tr("Pairs of answers"),
        )
        self.table.chosen.connect(self._read)
        self.before, before = self._reader(self.tr("Before training"))
        self.after, after = self._reader(self.tr("After training"))
        texts = QWidget()
        row = QHBoxLayout(texts)
        row.setContentsMargins(0, 8, 0, 0)
        row.setSpacing(12)
        row.addWidget(before)
        row.addWidget(after)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(1)
        split.addWidget(self.table)
        split.addWidget(texts)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        self.body.addWidget(split)

    def _reader(self, title: str) -> tuple[QPlainTextEdit, QWidget]:
        label = QLabel(title)
        label.setProperty("role", "muted")
        text = QPlainTextEdit()
        text.setReadOnly(True)
        text.setProperty("reading", True)
        text.setAccessibleName(title)
        pane = QWidget()
        column = QVBoxLayout(pane)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(label)
        column.addWidget(text, 1)
        return text, pane

    def set_pairs(self, pairs: Sequence[Row]) -> None:
        """Show the pairs of another comparison."""
        self.table.set_rows(pairs)
        is_scored = any(pair.base.reward is not None for pair in pairs)
        self.table.leave_out(() if is_scored else self._scores)
        self.set_fact(self.tr("{n} pairs").format(n=len(pairs)))
        if pairs:
            self.table.selectRow(0)

    def _winner(self, row: Row) -> str:
        words = {
            "base": self.tr("base"),
            "trained": self.tr("trained"),
            "tie": self.tr("tie"),
        }
        return words.get(row.annotator_winner or row.reward_winner or "", MISSING)

    def _read(self, row: Row | None) -> None:
        self.before.setPlainText(row.base.text if row else "")
        self.after.setPlainText(row.trained.text if row else "")
