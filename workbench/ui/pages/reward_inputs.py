"""What a reward model is trained on: its base, and how much was said of answers."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QComboBox, QFormLayout, QLabel, QVBoxLayout, QWidget

from workbench.app import library, reward_data
from workbench.app.workspace import Workspace
from workbench.ui.asking import Asking
from workbench.ui.theme import bold


class _Found(NamedTuple):
    names: tuple[str, ...]
    amount: str


class RewardInputs(QWidget):
    """Rows over the form. Reads the catalogue and counts labels beside the worker."""

    changed = Signal()

    def __init__(self, ws: Workspace) -> None:
        super().__init__()
        self._ws = ws
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show)
        heading = QLabel(self.tr("Model and data"))
        bold(heading)
        self.base_box = QComboBox()
        self.base_box.setAccessibleName(self.tr("Base of the reward model"))
        self.base_box.setToolTip(
            self.tr(
                "The model that carries the reward model. On another than the chosen one it reads "
                "answers as text, and both models are in memory while a policy is trained."
            )
        )
        self.base_box.addItem(self.tr("the chosen model"), "")
        self.base_box.currentIndexChanged.connect(self.changed)
        self.data = QLabel()
        self.data.setWordWrap(True)
        form = QFormLayout()
        form.setVerticalSpacing(8)
        form.setHorizontalSpacing(12)
        form.addRow(self.tr("Base"), self.base_box)
        form.addRow(self.tr("Data"), self.data)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 8)
        layout.setSpacing(8)
        layout.addWidget(heading)
        layout.addLayout(form)

    def base(self) -> str:
        """Name of the base; empty for the chosen model."""
        return str(self.base_box.currentData() or "")

    def refresh(self) -> None:
        """Read bases and labels again; what is chosen stays when it is still there."""
        self._asking.ask(self._find)

    def _find(self) -> _Found:
        chosen = self._ws.selected_model
        names = [
            info.name
            for info in library.models()
            if not info.problems
            and not info.is_conversion_needed
            and chosen not in (info.name, str(info.path))
        ]
        return _Found(tuple(dict.fromkeys(names)), reward_data.amount(self._ws))

    def _show(self, found: object) -> None:
        assert isinstance(found, _Found)
        self.data.setText(found.amount)
        name = Path(self._ws.selected_model).name
        self.base_box.setItemText(
            0, self.tr("{model} (chosen)").format(model=name) if name else self.tr("none chosen")
        )
        shown = [str(self.base_box.itemData(i)) for i in range(1, self.base_box.count())]
        if shown == list(found.names):
            return
        chosen = self.base()
        self.base_box.blockSignals(True)
        while self.base_box.count() > 1:
            self.base_box.removeItem(1)
        for each in found.names:
            self.base_box.addItem(each, each)
        self.base_box.setCurrentIndex(max(0, self.base_box.findData(chosen)))
        self.base_box.blockSignals(False)
        if self.base() != chosen:
            self.changed.emit()
