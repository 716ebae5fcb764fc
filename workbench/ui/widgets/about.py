"""What this program is."""

from __future__ import annotations

import platform

from PySide6 import __version__ as qt_version
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench import __version__
from workbench.ui.widgets.basics import button, label


class AboutDialog(QDialog):
    """Name, versions, licence."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("About RLHF Workbench"))
        close = button(self.tr("Close"))
        close.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(24, 20, 24, 16)
        layout.setSpacing(8)
        layout.addWidget(label("RLHF Workbench", "page-title"))
        versions = self.tr("Version {own}, Python {python}, Qt {qt}").format(
            own=__version__, python=platform.python_version(), qt=qt_version
        )
        layout.addWidget(label(versions, "muted"))
        said = self.tr(
            "The whole RLHF loop on your own machine: generate, rank, train a reward model, "
            "train a policy, compare, export."
        )
        layout.addWidget(label(said, wrap=True))
        layout.addWidget(label(self.tr("Apache License 2.0"), "muted"))
        layout.addLayout(row)
        self.setMinimumWidth(440)
