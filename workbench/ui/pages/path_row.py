"""A file or folder of the user: typed or chosen, with the sentence of what is wrong under it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from workbench.ui.widgets import button, label


class PathRow(QWidget):
    """Label over field and button; an empty field is right, and means that there is none.

    Args:
        title: What the file is.
        tip: What it must hold.
        is_folder: Whether a folder is wanted.
        instead: What is taken when the field is empty.
    """

    changed = Signal()

    def __init__(self, title: str, tip: str, *, is_folder: bool = False, instead: str = "") -> None:
        super().__init__()
        self._title, self._is_folder = title, is_folder
        self.field = QLineEdit()
        self.field.setAccessibleName(title)
        self.field.setPlaceholderText(instead or self.tr("none"))
        self.field.setToolTip(tip)
        self.field.textChanged.connect(self._check)
        words = label(title)
        words.setBuddy(self.field)
        words.setToolTip(tip)
        self.choose = button(self.tr("Choose"), "outlined")
        self.choose.setAccessibleName(self.tr("Choose: {what}").format(what=title))
        self.choose.clicked.connect(self._choose)
        self._problem = label("", wrap=True)
        self._problem.setProperty("status", "bad")
        row = QHBoxLayout()
        row.setSpacing(8)
        row.addWidget(self.field, 1)
        row.addWidget(self.choose)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(words)
        layout.addLayout(row)
        layout.addWidget(self._problem)
        self._problem.hide()

    def path(self) -> Path | None:
        """What was entered; None for nothing."""
        text = self.field.text().strip()
        return Path(text).expanduser() if text else None

    def problem(self) -> str:
        """The sentence under the field; empty when there is none."""
        return self._problem.text()

    def _check(self) -> None:
        path, problem = self.path(), ""
        if path is not None and self._is_folder and not path.is_dir():
            problem = self.tr("There is no such folder.")
        elif path is not None and not self._is_folder and not path.is_file():
            problem = self.tr("There is no such file.")
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        self.changed.emit()

    def _choose(self) -> None:
        if self._is_folder:
            chosen = QFileDialog.getExistingDirectory(self, self._title, self.field.text())
        else:
            chosen, _ = QFileDialog.getOpenFileName(self, self._title, self.field.text())
        if chosen:
            self.field.setText(chosen)
