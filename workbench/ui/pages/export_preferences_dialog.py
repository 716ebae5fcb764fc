"""Which judgements to export, in which forms, split how; counted before anything is written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from workbench.app import preference_export
from workbench.app.preference_export import DEFAULT_FORMS, ExportChoice, ExportCounts
from workbench.app.workspace import Workspace
from workbench.data.formats.exports import EXPORTS
from workbench.store.exchange import PairFilter
from workbench.ui.asking import Asking
from workbench.ui.plural import counted
from workbench.ui.widgets import button, label
from workbench.ui.widgets.remark import Remark

_SHARE = 0.1


class ExportPreferencesDialog(QDialog):
    """It is accepted with `folder` and `choice` as `preference_export` takes them."""

    def __init__(self, parent: QWidget, ws: Workspace, folder: Path) -> None:
        super().__init__(parent)
        self._ws = ws
        self.setWindowTitle(self.tr("Export preferences"))
        self.setMinimumWidth(560)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show_counts)
        self._asking.failed.connect(self._show_failure)
        self.path = QLineEdit(str(folder))
        self.path.setAccessibleName(self.tr("New folder"))
        self.path.textChanged.connect(self._check)
        self.forms = {name: QCheckBox(form.title) for name, form in EXPORTS.items()}
        for name, box in self.forms.items():
            box.setChecked(name in DEFAULT_FORMS)
            box.setToolTip(EXPORTS[name].what)
            box.toggled.connect(self._check)
        self._build_filters()
        self.counts = label("", "text-2", wrap=True)
        self.remark = Remark()
        self.take = button(self.tr("Export preferences"), "filled", icon="export")
        self.take.clicked.connect(self.accept)
        self.close_button = button(self.tr("Export nothing"), "outlined")
        self.close_button.clicked.connect(self.reject)
        self._n, self._notes = 0, ""
        self._lay_out()
        self._count()

    def _build_filters(self) -> None:
        experiment = self._ws.experiment
        self.annotator = _choice(self.tr("Annotator"), self.tr("everybody"))
        for name in experiment.judgements.annotators():
            self.annotator.addItem(name, (name,))
        self.kind = _choice(self.tr("Kind"), self.tr("all kinds"))
        for text, kind in (
            (self.tr("people"), ("person",)),
            (self.tr("people and imported"), ("person", "imported")),
            (self.tr("AI judges"), ("ai",)),
            (self.tr("simulated"), ("simulated",)),
        ):
            self.kind.addItem(text, kind)
        self.tag = _choice(self.tr("Tag"), self.tr("any or none"))
        for name in experiment.remarks.vocabulary():
            self.tag.addItem(name, (name,))
        self.strength = _choice(self.tr("Strength"), self.tr("all"), 0)
        self.strength.addItem(self.tr("slightly or clearly better"), 1)
        self.strength.addItem(self.tr("clearly better"), 2)
        self.split = _choice(self.tr("Prompts"), self.tr("all prompts"))
        self.split.addItem(self.tr("training prompts"), "train")
        self.split.addItem(self.tr("held-out prompts"), "heldout")
        self.is_agreed = QCheckBox(self.tr("Only where all annotators agree"))
        self.is_split = QCheckBox(self.tr("Training and held-out prompts apart"))
        self.draws = QCheckBox(self.tr("Hold out 10 % of the prompts, drawn anew"))
        for box in (self.annotator, self.kind, self.tag, self.strength, self.split):
            box.currentIndexChanged.connect(self._count)
        for check in (self.is_agreed, self.is_split, self.draws):
            check.toggled.connect(self._count)

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        row = QHBoxLayout()
        browse = button(self.tr("Choose folder"), "outlined")
        browse.clicked.connect(self._browse)
        row.addWidget(label(self.tr("New folder")))
        row.addWidget(self.path, 1)
        row.addWidget(browse)
        layout.addLayout(row)
        columns = QHBoxLayout()
        left = QVBoxLayout()
        left.setSpacing(4)
        left.addWidget(label(self.tr("Forms"), "card-title"))
        for box in self.forms.values():
            left.addWidget(box)
        left.addStretch(1)
        right = QFormLayout()
        right.addRow(label(self.tr("Which"), "card-title"))
        for control in (self.annotator, self.kind, self.tag, self.strength, self.split):
            right.addRow(control.accessibleName(), control)
        for check in (self.is_agreed, self.is_split, self.draws):
            right.addRow(check)
        columns.addLayout(left, 1)
        columns.addLayout(right, 1)
        layout.addLayout(columns)
        layout.addWidget(self.counts)
        layout.addWidget(self.remark)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.close_button)
        foot.addWidget(self.take)
        layout.addLayout(foot)

    def folder(self) -> Path:
        """The folder to write."""
        return Path(self.path.text().strip()).expanduser()

    def choice(self) -> ExportChoice:
        """What to write."""
        which = PairFilter(
            annotators=self.annotator.currentData() or (),
            kinds=self.kind.currentData() or (),
            tags=self.tag.currentData() or (),
            split=self.split.currentData(),
            min_strength=self.strength.currentData(),
            is_agreed=self.is_agreed.isChecked(),
        )
        return ExportChoice(
            forms=tuple(name for name, box in self.forms.items() if box.isChecked()),
            which=which,
            is_split=self.is_split.isChecked() or self.draws.isChecked(),
            heldout_share=_SHARE if self.draws.isChecked() else None,
        )

    def _browse(self) -> None:
        parent = QFileDialog.getExistingDirectory(self, self.tr("Export preferences to"))
        if parent:
            self.path.setText(str(Path(parent) / self.folder().name))

    def _count(self) -> None:
        self.counts.setText(self.tr("Counting"))
        self.take.setEnabled(False)
        self._asking.ask(partial(preference_export.counts, self._ws, self.choice()))

    def _show_counts(self, found: object) -> None:
        assert isinstance(found, ExportCounts)
        self._n = found.n_all
        parts = [
            counted(found.n_pairs, self.tr("{n} pair"), self.tr("{n} pairs")),
            self.tr("{n} ties and skips").format(n=found.n_all - found.n_pairs),
            counted(found.n_prompts, self.tr("{n} prompt"), self.tr("{n} prompts")),
        ]
        if self.choice().is_split:
            train, heldout = (found.splits.get(s, 0) for s in ("train", "heldout"))
            parts.append(self.tr("{a} to train, {b} held out").format(a=train, b=heldout))
        self.counts.setText(", ".join(parts))
        told = []
        if found.n_simulated:
            told.append(
                self.tr("{n} judgements are simulated; the card says so.").format(
                    n=found.n_simulated
                )
            )
        if found.n_leaking:
            told.append(
                self.tr("{n} prompts stand in both splits; they go with the held-out ones.").format(
                    n=found.n_leaking
                )
            )
        self._notes = " ".join(told)
        self._check()

    def _show_failure(self, sentence: str) -> None:
        self._n = 0
        self.counts.setText("")
        self.remark.tell(sentence)
        self.take.setEnabled(False)

    def _check(self) -> None:
        problem = ""
        if not self.path.text().strip():
            problem = self.tr("Name a folder.")
        elif self.folder().exists():
            problem = self.tr("This folder exists already. Name a new one.")
        elif not any(box.isChecked() for box in self.forms.values()):
            problem = self.tr("Choose a form.")
        elif not self._n and not self._asking.is_waiting:
            problem = self.tr("No judgement is among those chosen.")
        self.remark.tell(problem or self._notes, "bad" if problem else "info")
        self.take.setEnabled(not problem and not self._asking.is_waiting)

    def done(self, result: int) -> None:
        """Close, whatever is still being counted."""
        self._asking.forget()
        super().done(result)


def _choice(name: str, all_of_them: str, data: object = None) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.addItem(all_of_them, data)
    return box
