"""What is asked about runs: note and tags, whether to delete, and as what to write figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from workbench.app.exports import free_folder
from workbench.app.metric_export import FORMS
from workbench.data.records import Run
from workbench.ui.widgets import button, label

_WIDTH = 480


class NoteDialog(QDialog):
    """A run's note and tags."""

    def __init__(self, parent: QWidget, run: Run, known_tags: Sequence[str]) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Note and tags of {run}").format(run=run.name))
        self.note = QPlainTextEdit(run.note)
        self.note.setTabChangesFocus(True)
        self.note.setAccessibleName(self.tr("Note"))
        self.tags = QLineEdit(", ".join(run.tags))
        self.tags.setAccessibleName(self.tr("Tags"))
        help_text = self.tr("Separated by commas.")
        if known_tags:
            used = self.tr("In use: {tags}.").format(tags=", ".join(known_tags))
            help_text = f"{help_text} {used}"
        form = QFormLayout()
        form.addRow(self.tr("Note"), self.note)
        form.addRow(self.tr("Tags"), self.tags)
        form.addRow("", label(help_text, "help", wrap=True))
        layout = QVBoxLayout(self)
        layout.addLayout(form)
        layout.addWidget(_buttons(self, self.tr("Save note and tags"))[0])
        self.setMinimumWidth(_WIDTH)

    def tag_list(self) -> list[str]:
        """The tags, one by one."""
        return [tag.strip() for tag in self.tags.text().split(",") if tag.strip()]


class DeleteDialog(QDialog):
    """Says what was made from the runs before they go."""

    def __init__(self, parent: QWidget, runs: Sequence[Run], made: Sequence[Run]) -> None:
        super().__init__(parent)
        names = ", ".join(run.name for run in runs)
        self.setWindowTitle(self.tr("Delete {runs}").format(runs=names))
        self.words = label(
            self.tr(
                "{made} stays, but was made from it. It cannot be run again exactly, and new "
                "training cannot build on what is deleted. Undo brings it back."
            ).format(made=", ".join(run.name for run in made)),
            wrap=True,
        )
        layout = QVBoxLayout(self)
        layout.addWidget(self.words)
        box, self.delete_button = _buttons(self, self.tr("Delete runs"))
        layout.addWidget(box)
        self.setMinimumWidth(_WIDTH)


class FiguresDialog(QDialog):
    """In which form the figures of runs are written, and where to."""

    def __init__(self, parent: QWidget, runs: Sequence[Run], exports: Path) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Export figures"))
        self._exports = exports
        self.form = QComboBox()
        self.form.setAccessibleName(self.tr("Form"))
        titles = {
            "csv": self.tr("CSV, one file per run"),
            "jsonl": self.tr("JSON lines, one file per run"),
            "tensorboard": self.tr("TensorBoard event files"),
            "wandb": self.tr("Weights & Biases, offline"),
        }
        for form in FORMS:
            self.form.addItem(titles.get(form, form), form)
        self.form.currentIndexChanged.connect(self._propose)
        self.path = QLineEdit()
        self.path.setAccessibleName(self.tr("Folder to write"))
        self.path.textChanged.connect(self._update)
        browse = button(self.tr("Choose folder"), "outlined")
        browse.clicked.connect(self._browse)
        row = QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(browse)
        self.problem = QLabel()
        self.problem.setProperty("status", "bad")
        self.problem.setWordWrap(True)
        form_layout = QFormLayout()
        form_layout.addRow(self.tr("Runs"), label(", ".join(run.name for run in runs), wrap=True))
        form_layout.addRow(self.tr("Form"), self.form)
        form_layout.addRow(self.tr("Folder"), row)
        layout = QVBoxLayout(self)
        layout.addLayout(form_layout)
        layout.addWidget(self.problem)
        box, self.write = _buttons(self, self.tr("Export figures"))
        layout.addWidget(box)
        self.setMinimumWidth(_WIDTH + 80)
        self._propose()

    def folder(self) -> Path:
        """The folder to write."""
        return Path(self.path.text().strip()).expanduser()

    def _propose(self) -> None:
        name = f"metrics-{self.form.currentData()}"
        self.path.setText(str(free_folder(self._exports / name)))

    def _browse(self) -> None:
        parent = QFileDialog.getExistingDirectory(self, self.tr("Folder for the export"))
        if parent:
            name = f"metrics-{self.form.currentData()}"
            self.path.setText(str(free_folder(Path(parent) / name)))

    def _update(self) -> None:
        problem = ""
        if not self.path.text().strip():
            problem = self.tr("Name a folder.")
        elif self.folder().exists():
            problem = self.tr("This folder exists already. Name a new one.")
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.write.setEnabled(not problem)


def _buttons(dialog: QDialog, does: str) -> tuple[QDialogButtonBox, QPushButton]:
    """Cancel, and the button that does it."""
    box = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
    doing = box.addButton(does, QDialogButtonBox.ButtonRole.AcceptRole)
    box.accepted.connect(dialog.accept)
    box.rejected.connect(dialog.reject)
    return box, doing
