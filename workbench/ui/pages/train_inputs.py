"""What a training run works on: the policy's model, the reward model, the prompts."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from workbench.app.reward import reward_runs
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.pages.run_facts import heldout
from workbench.ui.pages.wording import percent
from workbench.ui.theme import bold
from workbench.ui.widgets import ElidedLabel

_USABLE = ("done", "stopped")


class TrainInputs(QWidget):
    """Rows over the form. Only the reward model is chosen here; the rest has its own page."""

    changed = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        title = QLabel(self.tr("Model and data"))
        bold(title)
        self.policy = ElidedLabel("")
        self.reward = QComboBox()
        self.reward.setAccessibleName(self.tr("Reward model"))
        self.reward.setToolTip(self.tr("Which reward model scores the answers"))
        self.reward.setPlaceholderText(self.tr("none trained"))
        self.reward.setEnabled(False)
        self.reward.currentIndexChanged.connect(self.changed)
        self.prompts = ElidedLabel("")
        form = QFormLayout()
        form.setVerticalSpacing(8)
        form.setHorizontalSpacing(12)
        form.addRow(self.tr("Policy"), self.policy)
        form.addRow(self.tr("Reward"), self.reward)
        form.addRow(self.tr("Prompts"), self.prompts)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 8)
        layout.setSpacing(8)
        layout.addWidget(title)
        layout.addLayout(form)

    def refresh(self) -> None:
        """Read the choices again; the chosen reward model stays when it is still there."""
        self.policy.setText(Path(self._ws.selected_model).name or self.tr("none chosen"))
        n = self._n_prompts()
        self.prompts.setText(self.tr("1 prompt") if n == 1 else self.tr("{n} prompts").format(n=n))
        runs = [r for r in reward_runs(self._ws) if r.status in _USABLE]
        if [r.id for r in runs] != [self.reward.itemData(i) for i in range(self.reward.count())]:
            self._fill(runs)

    def _fill(self, runs: list[Run]) -> None:
        newest_before = self.reward.itemData(0)
        chosen = self.reward.currentData()
        self.reward.blockSignals(True)
        self.reward.clear()
        for run in runs:
            held = heldout(run)
            share = f" ({percent(held.accuracy)})" if held else ""
            self.reward.addItem(run.name + share, run.id)
        # A newer reward model takes the place of the newest, not of one chosen on purpose.
        keeps = chosen is not None and chosen != newest_before
        self.reward.setCurrentIndex(max(0, self.reward.findData(chosen)) if keeps else 0)
        self.reward.setEnabled(bool(runs))
        self.reward.blockSignals(False)
        self.changed.emit()

    def reward_run(self) -> int | None:
        """The chosen reward run."""
        run_id = self.reward.currentData()
        return int(run_id) if run_id is not None else None

    def hindrance(self) -> str:
        """What is missing before a run can start, as a sentence; empty when nothing is."""
        if not self._ws.selected_model:
            return self.tr("No model is chosen yet. Choose one on the Models page.")
        if not self._n_prompts():
            return self.tr("There are no training prompts yet. Add some on the Prompts page.")
        if self.reward_run() is None:
            return self.tr("A run needs a reward model. Train one on the Reward model page.")
        return ""

    def _n_prompts(self) -> int:
        return self._ws.experiment.prompts.count(split="train")
