"""The widgets of the designer page and what they say; what they do is the page's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PySide6.QtCore import QObject, Qt
from PySide6.QtWidgets import (
    QComboBox,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import design_numbers
from workbench.app.design_columns import Column
from workbench.app.design_numbers import Floats
from workbench.config.reward_parts.part import Part
from workbench.ui.pages.design_add import needs
from workbench.ui.pages.design_parts import PartsList
from workbench.ui.pages.design_plots import Distributions
from workbench.ui.pages.design_table import TotalsTable
from workbench.ui.pages.wording import number, percent
from workbench.ui.plural import counted
from workbench.ui.widgets import Badge, Card, EmptyState, PageHeader, button, label
from workbench.ui.widgets.basics import Status
from workbench.ui.widgets.remark import Remark

N_ANSWERS = (16, 50, 200, 500)
_SLOW_S = 0.5


class DesignLayout(QObject):
    """Parts at the left; the table of answers over the distributions at the right."""

    def __init__(self, page: QWidget) -> None:
        super().__init__(page)
        self._build_header()
        self._build_parts()
        self._build_answers()
        right = QSplitter(Qt.Orientation.Vertical)
        right.setChildrenCollapsible(False)
        right.addWidget(self._answers_card)
        right.addWidget(self._plots_card)
        right.setStretchFactor(0, 3)
        right.setStretchFactor(1, 2)
        right.setSizes([3000, 2000])
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self._parts_card)
        split.addWidget(right)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        split.setSizes([2000, 3000])
        first = button(self.tr("Add the first part"), "filled", icon="plus")
        self.add_buttons.append(first)
        self._first = first
        empty = EmptyState(
            "design",
            self.tr("No reward designed yet"),
            self.tr(
                "A reward is a sum of parts: a reward model, a length target, words to avoid and "
                "others. Each weight shows at once what it does to the answers that are here."
            ),
            first,
        )
        self._stack = QStackedWidget()
        self._stack.addWidget(empty)
        self._stack.addWidget(split)
        layout = QVBoxLayout(page)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(0)
        layout.addWidget(self.header)
        layout.addWidget(self._stack, 1)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Reward design"))
        self.badge = Badge("neutral", "")
        self.undo = button(self.tr("Undo"), "quiet", icon="undo")
        self.redo = button(self.tr("Redo"), "quiet", icon="redo")
        self.versions = button(self.tr("Versions"), "outlined")
        self.versions_menu = QMenu(self.versions)
        self.versions.setMenu(self.versions_menu)
        self.compare = button(self.tr("Compare"), "outlined")
        self.save = button(self.tr("Save version"), "filled", icon="save")
        self.undo.setToolTip(self.tr("Take back the last edit of this design"))
        self.redo.setToolTip(self.tr("Do it again"))
        self.header.add_badge(self.badge)
        for made in (self.undo, self.redo, self.compare, self.versions, self.save):
            self.header.add_action(made)

    def _build_parts(self) -> None:
        self._parts_card = Card(self.tr("Parts"))
        add = button(self.tr("Add part"), "link", icon="plus")
        self.add_buttons = [add]
        self._parts_card.add_head(add)
        self.name = QLineEdit()
        self.name.setAccessibleName(self.tr("Name of the design"))
        row = QHBoxLayout()
        words = label(self.tr("Name"))
        words.setBuddy(self.name)
        row.addWidget(words)
        row.addWidget(self.name, 1)
        self.problem = Remark()
        self.parts = PartsList()
        self._parts_card.body.addLayout(row)
        self._parts_card.body.addWidget(self.problem)
        self._parts_card.body.addWidget(self.parts, 1)
        self._parts_card.setMinimumWidth(330)

    def _build_answers(self) -> None:
        self._answers_card = Card(self.tr("Answers"))
        self.shown = QComboBox()
        self.shown.setAccessibleName(self.tr("Numbers in the table"))
        self.shown.addItem(self.tr("What parts add"))
        self.shown.addItem(self.tr("Raw values"))
        self.n_answers = QComboBox()
        self.n_answers.setAccessibleName(self.tr("How many answers"))
        for n in N_ANSWERS:
            self.n_answers.addItem(self.tr("{n} answers").format(n=n), n)
        self.n_answers.setCurrentIndex(1)
        self.measure = button(self.tr("Measure"), "outlined", icon="play")
        for made in (self.shown, self.n_answers, self.measure):
            self._answers_card.add_head(made)
        self.told = Remark()
        self.table = TotalsTable()
        self._nothing = label("", "muted", wrap=True)
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._answers_card.body.addWidget(self.told)
        self._answers_card.body.addWidget(self._nothing, 1)
        self._answers_card.body.addWidget(self.table, 1)
        self.plots = Distributions()
        scroll = QScrollArea()
        scroll.setProperty("plain", True)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self.plots)
        self._plots_card = Card(self.tr("Distributions"), self.tr("one axis, mean ± spread"))
        self._plots_card.body.addWidget(scroll, 1)

    def show_state(
        self,
        *,
        is_read_only: bool,
        n_parts: int,
        problem: str,
        n_wrong: int,
        has_answers: bool,
        is_measured: bool,
        is_busy: bool,
        version: tuple[str, bool],
    ) -> None:
        """Say where the design stands, and enable what can be done."""
        self._stack.setCurrentIndex(1 if n_parts else 0)
        name, is_same = version
        if not n_parts:
            self.header.set_facts("")
        elif not name:
            self.header.set_facts(self.tr("No version is saved yet"))
        elif is_same:
            self.header.set_facts(name)
        else:
            self.header.set_facts(self.tr("changed since {version}").format(version=name))
        self.badge.setVisible(bool(n_parts) and not is_same)
        self.badge.set("neutral", self.tr("draft, kept"))
        self.problem.tell(problem)
        wrong = counted(
            n_wrong,
            self.tr("Correct the part that is marked first."),
            self.tr("Correct the {n} parts that are marked first."),
        )
        why = ""
        if is_read_only:
            why = self.tr("This experiment is open read-only.")
        elif not n_parts:
            why = self.tr("Add a part first.")
        elif n_wrong or problem:
            why = problem or wrong
        self.save.setEnabled(not why and not is_same)
        same = self.tr("Nothing has changed since this version was saved.")
        self.save.setToolTip(why or (same if is_same else self.tr("Every algorithm takes it")))
        self.save.set_kind("filled" if n_parts else "outlined")
        for made in self.add_buttons:
            made.setEnabled(not is_read_only)
            made.setToolTip(self.tr("This experiment is open read-only.") if is_read_only else "")
        self.name.setReadOnly(is_read_only)
        self.measure.setText(self.tr("Stop measuring") if is_busy else self.tr("Measure"))
        self.measure.setEnabled(is_busy or (has_answers and not is_read_only))
        self.measure.setToolTip(self._why_measure(has_answers))
        self.compare.setEnabled(is_measured)
        self.compare.setToolTip(
            self.tr("How two versions rank these answers")
            if is_measured
            else self.tr("Measure the answers first.")
        )
        self.table.setVisible(is_measured)
        self._plots_card.setVisible(is_measured)
        self._nothing.setVisible(not is_measured)
        self._nothing.setText(self._say_nothing(has_answers=has_answers, is_busy=is_busy))

    def _why_measure(self, has_answers: bool) -> str:
        if not has_answers:
            return self.tr("There are no answers yet. Generate some on the Answers page.")
        return self.tr("What each part makes of the newest answers; the model is loaded for it")

    def _say_nothing(self, *, has_answers: bool, is_busy: bool) -> str:
        if is_busy:
            return self.tr("The answers are being measured.")
        if not has_answers:
            return self.tr("There are no answers yet. Generate some on the Answers page.")
        return self.tr(
            "Measure the answers: each part gets a column, and weights show what they do at once."
        )

    def show_shares(
        self,
        parts: Sequence[Part | None],
        columns: Sequence[Column | None],
        paid: Floats,
        shares: Floats,
    ) -> None:
        """Beside each part, how much it decides; where one decides nearly all, or nothing.

        Args:
            parts: None where settings are wrong.
            columns: What was measured.
            paid: (A, P), what each part adds.
            shares: (P + 1,), the last of KL.
        """
        is_constant = design_numbers.are_constant(paid)
        for i, row in enumerate(self.parts.rows):
            column, kind = columns[i], row.model.about
            if column is not None and not column.problem:
                words = self.tr("decides {share} of the differences")
                row.show_fact(words.format(share=percent(shares[i])), kind.help)
            elif row.name.text() != kind.title:
                row.show_fact(kind.title, kind.help)
            else:
                what = ", ".join(filter(None, [needs(kind), kind.languages]))
                row.show_fact(what or kind.range, kind.help)
            told: str = ""
            status: Status = "info"
            if len(paid):
                part = parts[i]
                weight = 0.0 if part is None else part.weight
                told, status = self._note(column, len(paid))
                if not told and weight and is_constant[i] and column is not None:
                    told, status = self._say_constant(column), "warn"
                elif not told and len(parts) > 1 and shares[i] > design_numbers.DOMINANT:
                    words = self.tr(
                        "It decides {share} of the differences; the others hardly count."
                    )
                    told, status = words.format(share=percent(shares[i])), "warn"
            if told != row.note.text():
                row.note.tell(told, status)

    def _note(self, column: Column | None, n_answers: int) -> tuple[str, Status]:
        """What is to be said of a part whatever it weighs."""
        if column is None:
            return self.tr("Not measured yet: it counts as nothing in the totals."), "info"
        if column.problem:
            return column.problem, "bad"
        seconds = column.seconds / n_answers
        if seconds > _SLOW_S:
            words = self.tr("It takes {seconds} s for each answer, in training too.")
            return words.format(seconds=f"{seconds:.1f}"), "info"
        return "", "info"

    def _say_constant(self, column: Column) -> str:
        words = self.tr("All these answers get {value} from it: it changes nothing here.")
        return words.format(value=number(float(column.values[~np.isnan(column.values)][0])))
