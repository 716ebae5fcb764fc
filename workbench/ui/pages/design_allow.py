"""The question before a Python file of the user may run as a part of a reward."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import user_functions
from workbench.config.reward_parts.kinds import FunctionPart
from workbench.errors import WorkbenchError
from workbench.ui.widgets import Banner, button, label


class AllowDialog(QDialog):
    """Says what allowing means; nothing is allowed before its button is pressed."""

    def __init__(self, parent: QWidget, path: Path) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Allow a Python file"))
        self.setMinimumWidth(520)
        try:
            names, problem = user_functions.functions(path), ""
        except WorkbenchError as error:
            names, problem = [], f"{error.message} {error.hint}".strip()
        head = self.tr("{file} will run as a program of yours.").format(file=path.name)
        there = self.tr("{path} defines {names}.").format(
            path=path, names=", ".join(names) or self.tr("no function")
        )
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.allow = button(self.tr("Allow this file"), "danger")
        self.allow.setEnabled(not problem)
        self.allow.setToolTip(problem)
        self.allow.clicked.connect(self.accept)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.allow)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(Banner("warn", head, FunctionPart.about.warning))
        layout.addWidget(label(problem or there, "muted", wrap=True))
        layout.addLayout(foot)
        cancel.setFocus()
