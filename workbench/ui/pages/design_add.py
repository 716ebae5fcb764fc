"""Which part to add to a design: the kinds, what each gives and what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QComboBox, QDialog, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import design_draft
from workbench.config.reward_parts.design import PARTS
from workbench.config.reward_parts.part import About
from workbench.data.records import Run
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.widgets import button, label
from workbench.ui.widgets.remark import Remark

_REWARD_RUN = "reward run"


@dataclass(frozen=True, slots=True)
class _Kind:
    name: str
    about: About


class AddPartDialog(QDialog):
    """A list to choose from; a reward model is chosen here too.

    Args:
        parent: The window.
        runs: Reward runs that can be a part, the newest first.
    """

    def __init__(self, parent: QWidget, runs: list[Run]) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Add a part"))
        self.resize(720, 560)
        kinds = [_Kind(name, model.about) for name, model in PARTS.items()]
        self.table: RowsView[_Kind] = RowsView(
            [
                Column(self.tr("Part"), lambda k: k.about.title, "Python function  "),
                Column(
                    self.tr("Its value"),
                    lambda k: k.about.range.replace("-", "−"),
                    "up to 0 nats per token",
                ),
                Column(self.tr("Needs"), lambda k: needs(k.about) or "–"),
                Column(self.tr("Languages"), lambda k: k.about.languages or self.tr("all")),
            ],
            self.tr("Kinds of parts"),
        )
        self.table.chosen.connect(self._show)
        self.table.doubleClicked.connect(self._accept)
        self._help = label("", wrap=True)
        self._warning = Remark()
        self.run = QComboBox()
        self.run.setAccessibleName(self.tr("Reward run"))
        for run in runs:
            self.run.addItem(run.name, run.id)
        self._run_row = QWidget()
        row = QHBoxLayout(self._run_row)
        row.setContentsMargins(0, 0, 0, 0)
        name = label(self.tr("Reward run"))
        name.setBuddy(self.run)
        row.addWidget(name)
        row.addWidget(self.run, 1)
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        self.add = button(self.tr("Add part"), "filled", icon="plus")
        self.add.setDefault(True)
        self.add.clicked.connect(self._accept)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.add)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(8)
        layout.addWidget(self.table, 1)
        layout.addWidget(self._help)
        layout.addWidget(self._warning)
        layout.addWidget(self._run_row)
        layout.addLayout(foot)
        self.table.set_rows(kinds)
        self.table.selectRow(0)

    def choose(self, kind: str) -> None:
        """Put the selection on a kind."""
        self.table.selectRow(list(PARTS).index(kind))

    def values(self) -> dict[str, Any]:
        """The settings that the chosen part begins with."""
        kind = self.table.current()
        assert kind is not None
        values = design_draft.fresh(kind.name)
        if _REWARD_RUN in kind.about.needs:
            values |= {"run": self.run.currentData(), "label": self.run.currentText()}
        return values

    def _show(self, kind: _Kind | None) -> None:
        if kind is None:
            return
        self._help.setText(kind.about.help)
        is_network = _REWARD_RUN in kind.about.needs
        self._run_row.setVisible(is_network and self.run.count() > 0)
        is_missing = is_network and not self.run.count()
        nothing = self.tr("There is no reward model yet. Train one on the Reward model page.")
        self._warning.tell(nothing if is_missing else kind.about.warning, "warn")
        self.add.setEnabled(not is_missing)
        self.add.setToolTip(nothing if is_missing else "")

    def _accept(self) -> None:
        if self.add.isEnabled():
            self.accept()


def needs(about: About) -> str:
    """What a kind needs beside the answer, in words."""
    words = {
        "reward run": _tr("a reward model"),
        "references": _tr("reference answers"),
        "judge": _tr("an AI judge"),
        "file": _tr("your file"),
    }
    return ", ".join(words[need] for need in sorted(about.needs))


def _tr(text: str) -> str:
    return QCoreApplication.translate("AddPartDialog", text)
