"""Who judges: several people can label one experiment, each with a queue of their own."""

from __future__ import annotations

from PySide6.QtWidgets import QComboBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.pages.page import UiContext
from workbench.ui.widgets import button, label
from workbench.ui.widgets.remark import Remark


class AnnotatorChoice(QWidget):
    """Asks for a name in a dialog; those who judged before are offered."""

    def __init__(self, ws: Workspace, context: UiContext, window: QWidget) -> None:
        super().__init__(window)
        self.hide()
        self._ws, self._context, self._window = ws, context, window
        self.dialog: QDialog | None = None

    def ask(self) -> None:
        """Open the dialog."""
        dialog = self.dialog = QDialog(self._window)
        dialog.setWindowTitle(self.tr("Annotator"))
        self.name = QComboBox()
        self.name.setEditable(True)
        self.name.setAccessibleName(self.tr("Name"))
        kinds = self._ws.experiment.judgements.annotators()
        people = [name for name, kind in kinds.items() if kind in ("person", "imported")]
        for name in dict.fromkeys((self._ws.annotator, *people)):
            self.name.addItem(name)
        self.remark = Remark()
        take = button(self.tr("Judge under this name"), "filled")
        take.clicked.connect(self._take)
        close = button(self.tr("Keep the name"), "outlined")
        close.clicked.connect(dialog.reject)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(close)
        foot.addWidget(take)
        layout = QVBoxLayout(dialog)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        layout.addWidget(label(self.tr("Who judges from now on"), "card-title"))
        layout.addWidget(self.name)
        layout.addWidget(self.remark)
        layout.addLayout(foot)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()
        self.name.setFocus()

    def _take(self) -> None:
        try:
            labelling.choose_annotator(self._ws, self.name.currentText())
        except WorkbenchError as error:
            self.remark.tell(f"{error.message} {error.hint}".strip())
            return
        if self.dialog is not None:
            self.dialog.accept()
        self._context.rank_panel().refresh_queue()
        self._context.bridge.experiment_changed.emit()
