"""The dialog for the rule by which labels of several annotators become what models learn."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.config.aggregation import AggregationSettings
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.widgets import button, label


class AggregationDialog(QDialog):
    """The rule's settings; accepted only while they are right."""

    def __init__(self, rule: AggregationSettings, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Rule for preferences"))
        self.setMinimumWidth(440)
        text = label(
            self.tr(
                "What reward models and policies learn follows from the labels by this rule. "
                "The labels themselves stay as they are, and each run keeps the rule it learned by."
            ),
            wrap=True,
        )
        self.form = SettingsForm(AggregationSettings)
        self.form.set_values(rule.model_dump())
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.use = button(self.tr("Use this rule"), "filled")
        self.use.setDefault(True)
        self.use.clicked.connect(self.accept)
        self.form.problems_changed.connect(lambda n: self.use.setEnabled(n == 0))
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.use)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(text)
        layout.addWidget(self.form)
        layout.addStretch(1)
        layout.addLayout(foot)

    def rule(self) -> AggregationSettings:
        """What the form holds.

        Raises:
            SettingsError: Something must be corrected first.
        """
        found = self.form.settings()
        assert isinstance(found, AggregationSettings)
        return found
