"""How answers are sampled, for which prompts, by which policy, and about how long it takes."""

from __future__ import annotations

import contextlib

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QVBoxLayout, QWidget

from workbench.app import runs
from workbench.app.workspace import Workspace
from workbench.config.generation import SamplingSettings
from workbench.config.toml import SettingsError
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.pages.settings_column import SettingsColumn
from workbench.ui.widgets import button, label

_SELECTED, _TRAINING = "selected", "train"


class SamplingColumn(QWidget):
    """The form of `SamplingSettings` with the prompts and the policy above it."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.n_problems = 0
        self._last = SamplingSettings()
        self.targets, self.policy = QComboBox(), QComboBox()
        self.targets.addItem(self.tr("All for training"), _TRAINING)
        self.targets.addItem(self.tr("The selected ones"), _SELECTED)
        self.policy.addItem(self.tr("Base model"), None)
        for box, name in ((self.targets, self.tr("Prompts")), (self.policy, self.tr("Policy"))):
            box.setAccessibleName(name)
            box.activated.connect(self.changed)
        inputs = QWidget()
        rows = QFormLayout(inputs)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.addRow(self.tr("Prompts"), self.targets)
        rows.addRow(self.tr("Policy"), self.policy)
        self.form = SettingsForm(SamplingSettings)
        self.form.problems_changed.connect(self._problems_changed)
        self.form.changed.connect(self.changed)
        self._estimate = label("", "card-title")
        self.reset = button(self.tr("Reset to defaults"), "quiet")
        self.reset.clicked.connect(lambda: self.form.set_values(SamplingSettings().model_dump()))
        foot = QFormLayout()
        foot.addRow(self.tr("Estimate"), self._estimate)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(SettingsColumn(self.form, inputs), 1)
        layout.addLayout(foot)
        layout.addWidget(self.reset)

    @property
    def is_for_selected(self) -> bool:
        """Whether only the selected prompts are answered."""
        return bool(self.targets.currentData() == _SELECTED)

    def settings(self) -> SamplingSettings:
        """The settings of the form.

        Raises:
            SettingsError: Something must be corrected first.
        """
        found = self.form.settings()
        assert isinstance(found, SamplingSettings)
        return found

    def adapter_run(self) -> int | None:
        """The run whose adapter answers; None for the base model."""
        run_id: int | None = self.policy.currentData()
        return run_id

    def n_answers(self) -> int:
        """Answers per prompt."""
        return self._valid().n_answers

    def max_new_tokens(self) -> int:
        """Longest answer."""
        return self._valid().max_new_tokens

    def batch_size(self) -> int:
        """Answers generated side by side."""
        return self._valid().batch_size

    def _valid(self) -> SamplingSettings:
        """The settings, or the last ones that were right while a field is being typed."""
        with contextlib.suppress(SettingsError):
            self._last = self.settings()
        return self._last

    def show_targets(self, n_training: int, n_selected: int) -> None:
        """Say how many prompts each choice means."""
        self.targets.setItemText(0, self.tr("All for training ({n})").format(n=n_training))
        self.targets.setItemText(1, self.tr("The selected ones ({n})").format(n=n_selected))

    def show_policies(self, ws: Workspace) -> None:
        """Offer the base model and every trained policy."""
        trained = [run for run in runs.runs(ws, "policy") if run.status in ("done", "stopped")]
        wanted = [None, *(run.id for run in trained)]
        if [self.policy.itemData(i) for i in range(self.policy.count())] == wanted:
            return
        chosen = self.policy.currentData()
        self.policy.clear()
        self.policy.addItem(self.tr("Base model"), None)
        for run in trained:
            self.policy.addItem(run.name, run.id)
        self.policy.setCurrentIndex(max(0, self.policy.findData(chosen)))

    def show_estimate(self, text: str) -> None:
        """About how long generating takes."""
        self._estimate.setText(text)

    def _problems_changed(self, n: int) -> None:
        self.n_problems = n
        self.changed.emit()
