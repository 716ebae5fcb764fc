"""Where to export a trained policy to, and in which form."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from workbench.data.records import Run
from workbench.ui.widgets import button


class ExportDialog(QDialog):
    """Asks for a folder that does not exist yet, and whether to merge."""

    def __init__(self, parent: QWidget, run: Run, exports: Path) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export the adapter of {run}").format(run=run.name))
        self._stem = exports / f"{run.name.lower().replace(' ', '-')}-adapter"
        note = QLabel(
            self.tr(
                "A PEFT folder that any program can load on the same base model, "
                "with a card that says where it came from."
            )
        )
        note.setWordWrap(True)
        self.path = QLineEdit(str(self._stem))
        self.path.setAccessibleName(self.tr("Folder to write"))
        self.path.textChanged.connect(self._update)
        browse = button(self.tr("Choose folder"), "outlined")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(browse)
        self.is_merged = QCheckBox(self.tr("Write the merged model instead (as large as the base)"))
        self.problem = QLabel()
        self.problem.setProperty("status", "bad")
        self.problem.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.write = buttons.addButton(
            self.tr("Export adapter"), QDialogButtonBox.ButtonRole.AcceptRole
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(note)
        layout.addLayout(row)
        layout.addWidget(self.is_merged)
        layout.addWidget(self.problem)
        layout.addWidget(buttons)
        self.setMinimumWidth(520)
        self._update()

    def folder(self) -> Path:
        """The folder to write."""
        return Path(self.path.text().strip()).expanduser()

    def _browse(self) -> None:
        parent = QFileDialog.getExistingDirectory(self, self.tr("Folder for the export"))
        if parent:
            self.path.setText(str(Path(parent) / self._stem.name))

    def _update(self) -> None:
        problem = ""
        if not self.path.text().strip():
            problem = self.tr("Name a folder.")
        elif self.folder().exists():
            problem = self.tr("This folder exists already. Name a new one.")
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.write.setEnabled(not problem)
