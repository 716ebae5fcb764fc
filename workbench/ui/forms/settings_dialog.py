"""A settings form as a dialog, with what it is for and the button that does it."""

from __future__ import annotations

from typing import Generic, TypeVar

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.config.spec import Settings
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.widgets import button, label

S = TypeVar("S", bound=Settings)


class SettingsDialog(QDialog, Generic[S]):
    """It can be accepted only while the settings are right.

    Args:
        parent: The window.
        values: What the form begins with.
        title: Of the dialog.
        text: What happens, in a sentence or two.
        action: Words of the button that accepts.
    """

    def __init__(self, parent: QWidget, values: S, title: str, text: str, action: str) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setMinimumWidth(440)
        self.form: SettingsForm[S] = SettingsForm(type(values))
        self.form.set_values(values.model_dump())
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.start = button(action, "filled")
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
        layout.addWidget(label(text, wrap=True))
        layout.addWidget(self.form)
        layout.addStretch(1)
        layout.addLayout(foot)

    def settings(self) -> S:
        """What the form holds.

        Raises:
            SettingsError: Something must be corrected first.
        """
        return self.form.settings()
