"""What can be done with the chosen rows of a long list, and with all that match its filter."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from workbench.ui.widgets import ElidedLabel, button


class ChosenBar(QWidget):
    """How many are chosen, the way to all of them, and two buttons."""

    all_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._words = ElidedLabel("", "text-2")
        self.all_button = button("", "link")
        self.all_button.clicked.connect(self.all_wanted)
        self.again_button = button(self.tr("Queue again"), "quiet", icon="undo")
        self.delete_button = button(self.tr("Delete pairs"), "quiet", icon="trash")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self._words, 1)
        for made in (self.all_button, self.again_button, self.delete_button):
            layout.addWidget(made)

    def words(self) -> str:
        """What it says of the choice."""
        return self._words.text()

    def show_chosen(self, n: int, n_all: int, *, is_all: bool, why_not: str) -> None:
        """Say how much is chosen.

        Args:
            n: Chosen rows.
            n_all: How many match the filter.
            is_all: All of these are chosen, also those that are not loaded.
            why_not: Why nothing can be done; empty when it can.
        """
        said = self.tr("All {n} that match are chosen") if is_all else self.tr("{n} chosen")
        self._words.setText(said.format(n=n_all if is_all else n))
        self.all_button.setText(self.tr("Choose all {n}").format(n=n_all))
        self.all_button.setVisible(not is_all and n < n_all and not why_not)
        nothing = self.tr("Choose judgements in the list first.")
        why_not = why_not or ("" if n or is_all else nothing)
        for made, tip in (
            (self.again_button, self.tr("Take back what was said: the pairs wait again")),
            (self.delete_button, self.tr("Hide the pairs: they neither wait nor count")),
        ):
            made.setEnabled(not why_not)
            made.setToolTip(why_not or tip)
