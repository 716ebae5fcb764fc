"""What can be done with the chosen runs, in one row under the table."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QHBoxLayout, QWidget

from workbench.data.records import Run
from workbench.ui.pages.run_facts import is_open
from workbench.ui.plural import counted
from workbench.ui.widgets import ElidedLabel, button


class RunsBar(QWidget):
    """Buttons; each says in its tooltip why it cannot be pressed."""

    def __init__(self, *, is_read_only: bool) -> None:
        super().__init__()
        self._is_read_only = is_read_only
        self._words = ElidedLabel("", "text-2")
        self.note_button = button(self.tr("Note and tags"), "quiet", icon="edit")
        self.clone_button = button(self.tr("Clone settings"), "quiet", icon="copy")
        self.again_button = button(self.tr("Run again exactly"), "quiet", icon="redo")
        self.figures_button = button(self.tr("Export figures"), "quiet", icon="table")
        self.delete_button = button(self.tr("Delete runs"), "quiet", icon="trash")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self._words, 1)
        for made in (
            self.note_button,
            self.clone_button,
            self.again_button,
            self.figures_button,
            self.delete_button,
        ):
            layout.addWidget(made)

    def words(self) -> str:
        """How many are chosen."""
        return self._words.text()

    def show_chosen(self, runs: Sequence[Run]) -> None:
        """Offer what goes with these runs."""
        n = len(runs)
        self._words.setText(counted(n, self.tr("1 run chosen"), self.tr("{n} runs chosen")))
        one = "" if n == 1 else self.tr("Choose one run.")
        some = "" if n else self.tr("Choose runs in the table first.")
        held = self.tr("Not while the experiment is open read-only.")
        held = held if self._is_read_only else ""
        run = runs[0] if n == 1 else None
        going = self.tr("Stop the run first.") if any(map(is_open, runs)) else ""
        no_policy = one or ("" if run and run.kind == "policy" else self.tr("Choose a policy run."))
        no_training = one or (
            self.tr("Only training can be run again exactly.")
            if run and run.kind == "evaluation"
            else going
        )
        offers = (
            (self.note_button, held or one, self.tr("Say something about the run")),
            (
                self.clone_button,
                held or no_policy,
                self.tr("Fill the form of the Train page with its settings and inputs"),
            ),
            (
                self.again_button,
                held or no_training,
                self.tr("Train with the same settings, inputs and data, and compare the numbers"),
            ),
            (
                self.figures_button,
                held or some,
                self.tr("Write them as CSV, JSON lines, TensorBoard or Weights & Biases files"),
            ),
            (
                self.delete_button,
                held or some or going,
                self.tr("Take them out of all lists; undo brings them back"),
            ),
        )
        for made, why_not, tip in offers:
            made.setEnabled(not why_not)
            made.setToolTip(why_not or tip)
