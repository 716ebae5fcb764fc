"""What a file of preferences would add, before it is added: form, columns and first rows."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtWidgets import QComboBox, QDialog, QFormLayout, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import preference_import
from workbench.app.workspace import Workspace
from workbench.data.formats.preferences import FORMS, PreferencePreview
from workbench.data.formats.rows import PreferenceRow
from workbench.ui.asking import Asking
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.plural import counted
from workbench.ui.widgets import ElidedLabel, button, label
from workbench.ui.widgets.remark import Remark

_LINES = 2000
_SHOWN = 50
_PROBLEMS = 3
_OURS = ("prompt", "chosen", "rejected", "first", "second", "verdict", "completion", "label")


class ImportDialog(QDialog):
    """Reads the first lines of a file in the background at every change of form or columns.

    It is accepted with `columns` and `form` as `preference_import.import_preferences` takes them.
    """

    def __init__(self, parent: QWidget, ws: Workspace, path: Path) -> None:
        super().__init__(parent)
        self.path = path
        self._ws = ws
        self.setWindowTitle(self.tr("Import preferences"))
        self.resize(820, 560)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._show_preview)
        self._asking.failed.connect(self._show_failure)
        self.form_choice = QComboBox()
        self.form_choice.setAccessibleName(self.tr("Form"))
        self.form_choice.addItem(self.tr("Find out"), None)
        for form in FORMS.values():
            self.form_choice.addItem(form.title, form.name)
        self.form_choice.currentIndexChanged.connect(self._read)
        self.facts = ElidedLabel("", "text-2")
        self._columns: dict[str, QComboBox] = {}
        self._grid = QFormLayout()
        self._grid_box = QWidget()
        self._grid_box.setLayout(self._grid)
        self._build_table()
        self.remark = Remark()
        self.take = button(self.tr("Import preferences"), "filled", icon="import")
        self.take.clicked.connect(self.accept)
        self.close_button = button(self.tr("Import nothing"), "outlined")
        self.close_button.clicked.connect(self.reject)
        self._lay_out()
        self._read()

    @property
    def form(self) -> str | None:
        """The chosen form; None finds out."""
        chosen: str | None = self.form_choice.currentData()
        return chosen

    @property
    def columns(self) -> dict[str, str] | None:
        """Our names to those of the file, as far as they were chosen; None guesses."""
        chosen = {ours: box.currentData() for ours, box in self._columns.items()}
        return {ours: name for ours, name in chosen.items() if name} or None

    def _build_table(self) -> None:
        words = {
            "first": self.tr("first better"),
            "second": self.tr("second better"),
            "tie": self.tr("tie"),
            "both_bad": self.tr("both bad"),
            "skip": self.tr("skipped"),
        }
        columns = [
            Column[PreferenceRow](self.tr("Prompt"), lambda r: _line(r.messages[-1].content)),
            Column[PreferenceRow](self.tr("Chosen or first"), lambda r: _line(r.first)),
            Column[PreferenceRow](self.tr("Rejected or second"), lambda r: _line(r.second)),
            Column[PreferenceRow](
                self.tr("Verdict"), lambda r: words[r.verdict], "second better ", is_optional=True
            ),
        ]
        self.table: RowsView[PreferenceRow] = RowsView(columns, self.tr("First rows"))

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        layout.addWidget(label(self.path.name, "prompt"))
        head = QHBoxLayout()
        head.addWidget(label(self.tr("Form")))
        head.addWidget(self.form_choice)
        head.addWidget(self.facts, 1)
        layout.addLayout(head)
        layout.addWidget(self._grid_box)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.remark)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.close_button)
        foot.addWidget(self.take)
        layout.addLayout(foot)

    def _read(self) -> None:
        self.take.setEnabled(False)
        self.facts.setText(self.tr("reading"))
        read = partial(
            preference_import.preview_preferences, self.path, self.columns, self.form, _LINES
        )
        self._asking.ask(read)

    def _show_preview(self, found: object) -> None:
        assert isinstance(found, PreferencePreview)
        self.table.rows_model.set_rows(found.rows[:_SHOWN])
        n = counted(len(found.rows), self.tr("{n} pair"), self.tr("{n} pairs"))
        which = n if found.is_complete else self.tr("{n} in the first lines").format(n=n)
        self.facts.setText(f"{found.form}: {which}" if found.form else which)
        self._offer_columns(found)
        self._tell(found)
        self.take.setEnabled(bool(found.rows))

    def _show_failure(self, sentence: str) -> None:
        self.table.rows_model.set_rows([])
        self.facts.setText("")
        self.remark.tell(sentence)
        self._offer_columns_of_file()

    def _tell(self, found: PreferencePreview) -> None:
        """What is left out: the first lines by number, the rest as a count."""
        told = [
            self.tr("Line {n}: {message}").format(n=p.line, message=p.message)
            for p in found.problems[:_PROBLEMS]
        ]
        if found.n_problems > _PROBLEMS:
            more = self.tr("{n} more lines are left out.")
            told.append(more.format(n=found.n_problems - _PROBLEMS))
        if found.n_duplicates:
            told.append(
                counted(
                    found.n_duplicates,
                    self.tr("{n} line repeats an earlier one."),
                    self.tr("{n} lines repeat earlier ones."),
                )
            )
        told += found.notes
        if not found.rows and not told:
            told.append(self.tr("There is no pair in this file."))
        self.remark.tell("\n".join(told), "warn" if found.rows else "bad")

    def _offer_columns_of_file(self) -> None:
        """Columns can be named where no form was found; what they are is asked of the file."""
        if self._columns:
            return
        columns = Asking(self._ws, self)
        columns.answered.connect(self._offer)
        columns.ask(partial(preference_import.column_names, self.path))

    def _offer(self, names: object) -> None:
        if isinstance(names, tuple) and names and not self._columns:
            self._make_boxes(names, {})

    def _offer_columns(self, found: PreferencePreview) -> None:
        """Show the mapping where columns were taken by other names."""
        if found.mapping and not self._columns:
            self._make_boxes(found.columns, {ours: name for name, ours in found.mapping.items()})

    def _make_boxes(self, names: tuple[str, ...], chosen: dict[str, str]) -> None:
        for ours in _OURS:
            box = QComboBox()
            box.setAccessibleName(ours)
            box.addItem("–", "")
            for name in names:
                box.addItem(name, name)
            box.setCurrentIndex(max(0, box.findData(chosen.get(ours, ""))))
            box.currentIndexChanged.connect(self._read)
            self._columns[ours] = box
            self._grid.addRow(ours, box)

    def done(self, result: int) -> None:
        """Close, whatever is still being read."""
        self._asking.forget()
        super().done(result)


def _line(text: str) -> str:
    return " ".join(text.split())[:200]
