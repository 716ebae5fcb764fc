"""The dialog that starts the simulated annotator and says what it is."""

from __future__ import annotations

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.config.annotator import AnnotatorSettings
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.widgets import button, label


class AnnotatorDialog(QDialog):
    """The rule with its settings; accepted only while they are right."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Simulate annotator"))
        self.setMinimumWidth(440)
        text = label(
            self.tr(
                "A rule judges every pair that it has not judged yet: the friendlier and shorter "
                "answer wins. Its judgements are marked as simulated in every table and export, "
                "and undo takes them back as a whole. Where you judged a pair yourself, your "
                "judgement counts."
            ),
            wrap=True,
        )
        self.form = SettingsForm(AnnotatorSettings)
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.start = button(self.tr("Judge the pairs"), "filled")
        self.start.setDefault(True)
        self.start.clicked.connect(self.accept)
        self.form.problems_changed.connect(lambda n: self.start.setEnabled(n == 0))
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.start)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(text)
        layout.addWidget(self.form)
        layout.addStretch(1)
        layout.addLayout(foot)

    def settings(self) -> AnnotatorSettings:
        """What the form holds.

        Raises:
            SettingsError: Something must be corrected first.
        """
        found = self.form.settings()
        assert isinstance(found, AnnotatorSettings)
        return found
