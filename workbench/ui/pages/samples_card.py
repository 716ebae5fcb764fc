"""Answers of the current policy: a table from best to worst, and the whole text below it."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtWidgets import QPlainTextEdit, QSplitter

from workbench.events import Sample
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import number
from workbench.ui.widgets import Card, button


class SamplesCard(Card):
    """Samples of the latest update, best reward first; the chosen one can be read in full.

    Signals:
        all_wanted: The user wants to read all samples of the run.
    """

    all_wanted = Signal()

    def __init__(self) -> None:
        super().__init__(self.tr("Sample answers"))
        self.all_button = button(self.tr("All samples"), "link")
        self.all_button.clicked.connect(self.all_wanted)
        self.add_head(self.all_button)
        self.table: RowsView[Sample] = RowsView(
            [
                Column(self.tr("Reward"), lambda s: number(s.reward), "−00.00", is_number=True),
                Column(self.tr("KL"), lambda s: number(s.kl, 1), "000.0", is_number=True),
                Column(self.tr("Text"), lambda s: s.text or self.tr("(empty answer)")),
            ],
            self.tr("Sample answers"),
        )
        self.reader = QPlainTextEdit()
        self.reader.setReadOnly(True)
        self.reader.setProperty("reading", True)
        self.reader.setAccessibleName(self.tr("Text of the chosen answer"))
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(1)
        split.addWidget(self.table)
        split.addWidget(self.reader)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        self.body.addWidget(split)
        self.table.chosen.connect(self._read)
        self._latest: list[Sample] = []
        self._rank = 0
        self._is_filling = False
        # The samples of one update come as single events: one fill for all of them.
        self._fill_soon = QTimer(self)
        self._fill_soon.setSingleShot(True)
        self._fill_soon.setInterval(0)
        self._fill_soon.timeout.connect(self._fill)

    def set_samples(self, samples: Sequence[Sample]) -> None:
        """Show the samples of the latest update among `samples`."""
        step = max((s.step for s in samples), default=-1)
        latest = [s for s in samples if s.step == step]
        self._latest = sorted(latest, key=lambda s: s.reward, reverse=True)
        self._fill_soon.start()

    def _fill(self) -> None:
        step = self._latest[0].step if self._latest else 0
        if self.reader.hasFocus() and self._latest and self.table.rows():
            # Nobody can read a text that is replaced every few seconds.
            self.set_fact(self.tr("held while you read; update {step} is there").format(step=step))
            return
        self._is_filling = True
        self.table.set_rows(self._latest)
        if self._latest:
            # The same rank stays chosen while updates go by: best stays best, worst stays worst.
            self.table.selectRow(min(self._rank, len(self._latest) - 1))
        self._is_filling = False
        fact = self.tr("update {step}").format(step=step)
        self.set_fact(fact if self._latest else "")

    def _read(self, sample: Sample | None) -> None:
        self.reader.setPlaceholderText(
            self.tr("This answer is empty.")
            if sample
            else self.tr("Choose an answer to read it in full.")
        )
        self.reader.setPlainText(sample.text if sample else "")
        if sample and not self._is_filling:
            self._rank = self.table.currentIndex().row()
