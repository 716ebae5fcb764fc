"""A bug gets a report that can be copied, and the window goes on."""

from __future__ import annotations

import logging
import platform
import sys
import traceback
from pathlib import Path
from types import TracebackType

from PySide6 import __version__ as qt_version
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QApplication,
    QDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QVBoxLayout,
)

from workbench import __version__
from workbench.errors import WorkbenchError
from workbench.ui.widgets import button, label

log = logging.getLogger(__name__)
_LOG_BYTES = 8_000


def report(details: str, folder: Path | None = None) -> str:
    """Versions, the error and the end of the log as text. No texts of the experiment."""
    lines = [
        f"RLHF Workbench {__version__}",
        f"Python {platform.python_version()}, PySide6 {qt_version}, {platform.platform()}",
    ]
    torch = sys.modules.get("torch")
    if torch is not None:
        lines.append(f"torch {torch.__version__}")
    lines += ["", details]
    path = folder / "logs" / "workbench.log" if folder else None
    if path is not None and path.is_file():
        lines += ["", "Log:", path.read_bytes()[-_LOG_BYTES:].decode("utf-8", "replace")]
    return "\n".join(lines)


def copy_report(folder: Path, details: str = "") -> None:
    """Put a report into the clipboard."""
    QApplication.clipboard().setText(report(details, folder))


class CrashDialog(QDialog):
    """What went wrong, that nothing is lost, and the report."""

    def __init__(self, details: str) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(self.tr("A fault in RLHF Workbench"))
        self.text = QPlainTextEdit(details)
        self.text.setReadOnly(True)
        self.text.setAccessibleName(self.tr("Report"))
        copy = button(self.tr("Copy report"), "outlined", icon="copy")
        copy.clicked.connect(lambda: QApplication.clipboard().setText(self.text.toPlainText()))
        close = button(self.tr("Go on"), "outlined")
        close.clicked.connect(self.accept)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(copy)
        row.addWidget(close)
        layout = QVBoxLayout(self)
        said = self.tr(
            "Something went wrong that should not. Judgements and finished steps are safe on the "
            "disk. The report below holds no text of yours; copy it into an issue."
        )
        layout.addWidget(label(said, wrap=True))
        layout.addWidget(self.text, 1)
        layout.addLayout(row)
        self.resize(640, 420)


def install() -> None:
    """Show every uncaught error of the GUI thread in a dialog, one at a time."""
    open_dialogs: list[CrashDialog] = []

    def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            QApplication.quit()
            return
        log.error("uncaught", exc_info=(kind, error, trace))
        if open_dialogs:
            return
        if isinstance(error, WorkbenchError):
            details = str(error)
        else:
            details = report("".join(traceback.format_exception(kind, error, trace)))
        dialog = CrashDialog(details)
        open_dialogs.append(dialog)
        dialog.finished.connect(lambda _result: open_dialogs.clear())
        dialog.open()

    sys.excepthook = show
