"""Which folder to import as a reward model, and whether it is copied."""

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

from workbench.app import reward_import
from workbench.ui.pages.wording import size
from workbench.ui.widgets import button


class RewardImportDialog(QDialog):
    """Asks for a classifier with one label, or an adapter of one. Calls app.reward_import."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Import a reward model"))
        note = QLabel(
            self.tr(
                "A folder with a sequence classifier that has one label, or a LoRA adapter of one "
                "(SEQ_CLS). It is tried on your ranked pairs, none of which it has seen."
            )
        )
        note.setWordWrap(True)
        self.path = QLineEdit()
        self.path.setAccessibleName(self.tr("Folder to import"))
        self.path.setPlaceholderText(self.tr("Folder with config.json or adapter_config.json"))
        self.path.textChanged.connect(self._update)
        browse = button(self.tr("Choose folder"), "outlined")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(browse)
        self.is_copied = QCheckBox()
        self.problem = QLabel()
        self.problem.setProperty("status", "bad")
        self.problem.setWordWrap(True)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.take = buttons.addButton(self.tr("Import"), QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(note)
        layout.addLayout(row)
        layout.addWidget(self.is_copied)
        layout.addWidget(self.problem)
        layout.addWidget(buttons)
        self.setMinimumWidth(520)
        self._update()

    def folder(self) -> Path:
        """The folder to import."""
        return Path(self.path.text().strip()).expanduser()

    def _browse(self) -> None:
        chosen = QFileDialog.getExistingDirectory(self, self.tr("Reward model to import"))
        if chosen:
            self.path.setText(chosen)

    def _update(self) -> None:
        named = bool(self.path.text().strip())
        is_there = named and self.folder().is_dir()
        n_bytes = reward_import.weight_bytes(self.folder()) if is_there else 0
        words = self.tr("Copy the weights into the experiment")
        self.is_copied.setText(f"{words} ({size(n_bytes)})" if n_bytes else words)
        self.is_copied.setChecked(n_bytes < reward_import.COPIED_BELOW)
        self.problem.setText("" if is_there or not named else self.tr("There is no such folder."))
        self.problem.setVisible(named and not is_there)
        self.take.setEnabled(is_there)
