"""The dialog that adds prompts: typed, pasted or from a file, seen before they are stored."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import (
    QDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QPlainTextEdit,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from workbench.app import exchange
from workbench.data.formats.lines import LineProblem
from workbench.data.formats.prompts import PromptPreview
from workbench.data.records import NewPrompt
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.plural import counted
from workbench.ui.widgets import Badge, button, label

_TYPING_PAUSE_MS = 150
_SHOWN = 1000


class AddPromptsDialog(QDialog):
    """Good rows and bad lines side by side; `preview` holds what was accepted.

    Args:
        parent: The window.
        file: Name of the file that `preview` was read from; None for typed text.
        preview: What the file holds.
        text: What the field begins with (pasted text).
    """

    def __init__(
        self,
        parent: QWidget | None = None,
        *,
        file: str | None = None,
        preview: PromptPreview | None = None,
        text: str = "",
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(
            self.tr("Import prompts from {name}").format(name=file)
            if file
            else self.tr("Add prompts")
        )
        self.resize(720, 560)
        self.preview = PromptPreview([], [])
        self._build(is_typed=preview is None)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_TYPING_PAUSE_MS)
        self._pause.timeout.connect(self._read_text)
        if preview is not None:
            self._show(preview)
        else:
            self.text.textChanged.connect(self._pause.start)
            self.text.setPlainText(text)
            self._read_text()

    def accepted_preview(self) -> PromptPreview:
        """The good rows, in the group that the dialog names."""
        group = self.group.text().strip()
        if not group:
            return self.preview
        return replace(self.preview, rows=[replace(row, group=group) for row in self.preview.rows])

    def _build(self, *, is_typed: bool) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(8)
        self.text = QPlainTextEdit()
        self.text.setAccessibleName(self.tr("Prompts, one per line"))
        self.text.setPlaceholderText(
            self.tr("One prompt per line. Lines of JSON and CSV with a header are read as well.")
        )
        self.text.setTabChangesFocus(True)
        self.verdict = label("", "card-title")
        self._bad = Badge("warn", "")
        head = QHBoxLayout()
        head.addWidget(self.verdict)
        head.addWidget(self._bad)
        head.addStretch(1)
        self.rows: RowsView[NewPrompt] = RowsView(
            [
                Column(self.tr("Prompt"), lambda row: row.messages[-1].content),
                Column(self.tr("Group"), lambda row: row.group, "creative writing"),
                Column(self.tr("Language"), lambda row: row.language, "Language"),
            ],
            self.tr("Prompts that will be added"),
        )
        self.problems: RowsView[LineProblem] = RowsView(
            [
                Column(self.tr("Line"), lambda p: str(p.line), "000000", is_number=True),
                Column(self.tr("What is wrong"), lambda p: p.message),
            ],
            self.tr("Lines that are left out"),
        )
        self.group = QLineEdit()
        self.group.setPlaceholderText(self.tr("as in the file, or none"))
        form = QFormLayout()
        form.addRow(self.tr("Group"), self.group)
        layout.addWidget(self.text, 2)
        self.text.setVisible(is_typed)
        layout.addLayout(head)
        layout.addWidget(self.rows, 3)
        layout.addWidget(self.problems, 1)
        layout.addLayout(form)
        layout.addLayout(self._footer())

    def _footer(self) -> QHBoxLayout:
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.add = button(self.tr("Add prompts"), "filled")
        self.add.setDefault(True)
        self.add.clicked.connect(self.accept)
        self.problems.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        footer = QHBoxLayout()
        footer.addStretch(1)
        footer.addWidget(cancel)
        footer.addWidget(self.add)
        return footer

    def accept(self) -> None:
        """Close with what the field holds now, typed a moment ago included."""
        if self._pause.isActive():
            self._pause.stop()
            self._read_text()
        if self.preview.rows:
            super().accept()

    def _read_text(self) -> None:
        self._show(exchange.preview_text(self.text.toPlainText()))

    def _show(self, preview: PromptPreview) -> None:
        self.preview = preview
        n, n_bad = len(preview.rows), len(preview.problems)
        self.verdict.setText(
            counted(n, self.tr("{n} prompt to add"), self.tr("{n} prompts to add"))
        )
        self._bad.set_text(
            counted(n_bad, self.tr("{n} line left out"), self.tr("{n} lines left out"))
        )
        self._bad.setVisible(n_bad > 0)
        self.rows.set_rows(preview.rows[:_SHOWN])
        self.problems.set_rows(preview.problems[:_SHOWN])
        self.problems.setVisible(n_bad > 0)
        self.add.setEnabled(n > 0)
        self.add.setText(counted(n, self.tr("Add {n} prompt"), self.tr("Add {n} prompts")))
        self.add.setToolTip("" if n else self.tr("There is no prompt to add yet."))
