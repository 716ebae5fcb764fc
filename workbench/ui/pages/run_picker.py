"""A list of runs to look at, with a first entry for a new one."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox

from workbench.data.records import Run
from workbench.ui.pages.wording import status


class RunPicker(QComboBox):
    """Names and states of runs; tells the chosen run's id, None for the first entry."""

    picked = Signal(object)

    def __init__(self, new: str) -> None:
        super().__init__()
        self._new = new
        self.setAccessibleName(self.tr("Run to show"))
        self.setToolTip(self.tr("Show another run, or set up a new one"))
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.set_runs([])
        # `activated`, not `currentIndexChanged`: only what the user does is a choice.
        self.activated.connect(lambda i: self.picked.emit(self.itemData(i)))

    def set_runs(self, runs: Sequence[Run]) -> None:
        """Offer these runs; the choice stays when its run is still there."""
        wanted: list[tuple[str, int | None]] = [(self._new, None)]
        wanted += [(f"{r.name}, {status(r.status)[1]}", r.id) for r in runs]
        if wanted == [(self.itemText(i), self.itemData(i)) for i in range(self.count())]:
            return
        current = self.currentData()
        self.clear()
        for text, run_id in wanted:
            self.addItem(text, run_id)
        self.set_current(current)

    def set_current(self, run_id: int | None) -> None:
        """Choose without telling."""
        self.setCurrentIndex(max(0, self.findData(run_id)))
