"""Which trained policy an evaluation is about."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QComboBox

from workbench.app.workspace import Workspace


class PolicyPicker(QComboBox):
    """Policies that were trained to an end or stopped, the newest first; its data is the run."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(self.tr("Trained policy"))
        self.setPlaceholderText(self.tr("none trained"))
        self.setEnabled(False)

    def fill(self, ws: Workspace) -> bool:
        """Read the policies again; whether they are others than before. The choice stays."""
        runs = [r for r in ws.experiment.runs.list("policy") if r.status in ("done", "stopped")]
        ids = [run.id for run in runs[::-1]]
        if ids == [self.itemData(i) for i in range(self.count())]:
            return False
        chosen = self.currentData()
        with QSignalBlocker(self):
            self.clear()
            for run in runs[::-1]:
                self.addItem(run.name, run.id)
            self.setCurrentIndex(max(0, self.findData(chosen)))
        self.setEnabled(bool(runs))
        return True

    def run_id(self) -> int | None:
        """The chosen policy's run."""
        chosen: int | None = self.currentData()
        return chosen
