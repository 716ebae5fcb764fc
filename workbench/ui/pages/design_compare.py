"""Two versions of a design side by side: how they rank the same answers, and what changes place."""

from __future__ import annotations

import math
from dataclasses import dataclass

from PySide6.QtWidgets import QComboBox, QDialog, QGridLayout, QHBoxLayout, QVBoxLayout, QWidget

from workbench.app import design_numbers, designs
from workbench.app.design_draft import Draft, Values, part_of
from workbench.app.design_numbers import Floats
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.ui.pages.design_measuring import Measuring
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import number
from workbench.ui.plural import counted
from workbench.ui.widgets import Banner, button, label
from workbench.ui.widgets.basics import Status
from workbench.ui.widgets.remark import Remark


@dataclass(frozen=True, slots=True)
class Moved:
    """An answer with its places and totals in both."""

    text: str
    prompt: str
    before: float
    after: float
    totals: tuple[float, float]


class CompareDialog(QDialog):
    """Works on the answers of the page's table; what is not measured yet is measured on asking."""

    def __init__(self, parent: QWidget, ws: Workspace, measuring: Measuring, draft: Draft) -> None:
        super().__init__(parent)
        self._ws, self._measuring, self._draft = ws, measuring, draft
        self.setWindowTitle(self.tr("Compare versions"))
        self.resize(820, 560)
        self.first, self.second = QComboBox(), QComboBox()
        self.first.setAccessibleName(self.tr("First version"))
        self.second.setAccessibleName(self.tr("Second version"))
        runs = designs.designs(ws)
        for box in (self.first, self.second):
            box.addItem(self.tr("The draft"), None)
            for run in runs:
                box.addItem(run.name, run.id)
            box.activated.connect(self.refresh)
        self.first.setCurrentIndex(min(1, len(runs)))
        self.banner = Banner("info", "")
        self.remark = Remark()
        self.measure = button(self.tr("Measure what is missing"), "outlined", icon="play")
        self.measure.clicked.connect(self._measure)
        self.table: RowsView[Moved] = RowsView(
            [
                Column(self.tr("Answer"), lambda m: m.text, tooltip=lambda m: m.prompt),
                Column(self.tr("First"), lambda m: number(m.before, 1), "0000.0", True),
                Column(self.tr("Second"), lambda m: number(m.after, 1), "0000.0", True),
                Column(self.tr("Moves"), _moves, "−000.0 up", True),
                Column(
                    self.tr("Total, first"), lambda m: number(m.totals[0]), "Total, first", True
                ),
                Column(
                    self.tr("Total, second"), lambda m: number(m.totals[1]), "Total, second", True
                ),
            ],
            self.tr("Answers, those that change place most first"),
        )
        self._lay_out()
        measuring.changed.connect(self.refresh)
        self.refresh()

    def _lay_out(self) -> None:
        choices = QGridLayout()
        for i, (words, box) in enumerate(
            ((self.tr("First"), self.first), (self.tr("Second"), self.second))
        ):
            name = label(words)
            name.setBuddy(box)
            choices.addWidget(name, i, 0)
            choices.addWidget(box, i, 1)
        choices.setColumnStretch(1, 1)
        close = button(self.tr("Close"), "quiet")
        close.clicked.connect(self.accept)
        foot = QHBoxLayout()
        foot.addWidget(self.measure)
        foot.addStretch(1)
        foot.addWidget(close)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addLayout(choices)
        layout.addWidget(self.banner)
        layout.addWidget(self.remark)
        layout.addWidget(self.table, 1)
        layout.addLayout(foot)

    def refresh(self) -> None:
        """Compare what is chosen, as far as it is measured."""
        sides = [self._parts(box) for box in (self.first, self.second)]
        columns = self._measuring.columns
        missing = [v for parts in sides for v in parts if not columns.is_measured(v)]
        self.measure.setVisible(bool(missing))
        self.measure.setEnabled(not self._measuring.is_busy)
        self.measure.setToolTip(self.tr("On the answers of the table"))
        told = counted(
            len(missing),
            self.tr("1 part is not measured on these answers yet and counts as nothing."),
            self.tr("{n} parts are not measured on these answers yet and count as nothing."),
        )
        self.remark.tell(told if missing else "", "info")
        first, second = (self._totals(parts) for parts in sides)
        found = design_numbers.compare(first, second)
        self.banner.set(*self._verdict(found, len(first)))
        rows = columns.rows
        self.table.set_rows(
            [
                Moved(
                    rows[i].text,
                    rows[i].prompt,
                    float(found.before[i]),
                    float(found.after[i]),
                    (float(first[i]), float(second[i])),
                )
                for i in found.order.tolist()
            ]
        )

    def _verdict(self, found: design_numbers.Change, n: int) -> tuple[Status, str, str]:
        if math.isnan(found.correlation):
            return (
                "warn",
                self.tr("One of them ranks nothing: all answers get the same."),
                self.tr("{n} answers.").format(n=n),
            )
        moved = int((found.before != found.after).sum())
        text = self.tr("Rank correlation {value} over {n} answers").format(
            value=number(found.correlation), n=n
        )
        detail = self.tr(
            "{moved} of them change place. 1 means the same order, 0 none in common, −1 the "
            "reverse (Spearman)."
        ).format(moved=moved)
        return "info", text, detail

    def _parts(self, box: QComboBox) -> tuple[Values, ...]:
        run_id = box.currentData()
        if run_id is None:
            return self._draft.parts
        try:
            return Draft.of(designs.design_of(self._ws, run_id), run_id).parts
        except WorkbenchError:
            return ()

    def _totals(self, parts: tuple[Values, ...]) -> Floats:
        columns = self._measuring.columns
        raw = columns.raw(columns.find(parts))
        return design_numbers.totals(
            design_numbers.contributions(raw, [part_of(values) for values in parts])
        )

    def _measure(self) -> None:
        both = [*self._parts(self.first), *self._parts(self.second)]
        self._measuring.add(both, is_asked=True)


def _moves(moved: Moved) -> str:
    by = moved.before - moved.after
    return "–" if not by else f"{number(abs(by), 1)} {'↑' if by > 0 else '↓'}"
