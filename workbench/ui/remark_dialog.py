"""What is said of one answer beside its rank: a comment and tags."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCompleter,
    QDialog,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from workbench.ui.widgets import button, label
from workbench.ui.widgets.text_field import TextField


class RemarkDialog(QDialog):
    """A comment and tags on one answer, or on the prompt.

    Signals:
        said: Comment and tags, when the dialog closes by its button or by Return.
    """

    said = Signal(str, list)

    def __init__(
        self, parent: QWidget, title: str, comment: str, tags: list[str], known: list[str]
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.resize(480, 240)
        self.comment = TextField(self.tr("Comment"), comment)
        self.tags = QLineEdit(", ".join(tags))
        self.tags.setAccessibleName(self.tr("Tags"))
        self.tags.setPlaceholderText(self.tr("topic, key facts, sentiment"))
        completer = QCompleter(known, self)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        if len(known) and not tags:
            self.tags.setCompleter(completer)
        self.save = button(self.tr("Save remarks"), "filled", key="Ctrl+Return")
        self.save.clicked.connect(self._hand_in)
        self.comment.finished.connect(self._hand_in)
        self.tags.returnPressed.connect(self._hand_in)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        layout.addWidget(label(self.tr("Comment"), "muted"))
        layout.addWidget(self.comment, 1)
        layout.addWidget(label(self.tr("Tags, with commas between them"), "muted"))
        layout.addWidget(self.tags)
        if known:
            used = self.tr("In use: {tags}").format(tags=", ".join(known[:12]))
            layout.addWidget(label(used, "muted", wrap=True))
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.save)
        layout.addLayout(foot)

    def _hand_in(self) -> None:
        names = [" ".join(name.split()) for name in self.tags.text().replace("，", ",").split(",")]
        self.said.emit(self.comment.toPlainText().strip(), [name for name in names if name])
        self.accept()
