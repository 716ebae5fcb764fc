"""One part of a design as a row: its weight, when it is paid, its settings, what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from workbench.app.design_draft import core
from workbench.config.reward_parts.design import PARTS, Problem
from workbench.config.reward_parts.part import Part
from workbench.ui.forms.fields import as_text
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.theme import bold, repolish, theme
from workbench.ui.widgets import ElidedLabel, button, label
from workbench.ui.widgets.remark import Remark
from workbench.ui.widgets.weight_slider import WeightSlider

_NOT_IN_FORM = ("kind", "weight", "paid", "run")
_KEY_STEP = 0.1


class PartRow(QWidget):
    """Shows the values of one part, which may be wrong, and tells what the user changes.

    Signals:
        changed: Settings that have another value now, and whether more of the same gesture may
            follow, as while a weight is dragged.
        moved: So many places further down.
        removed, normalised, allowed: The buttons.
    """

    changed = Signal(object, bool)
    moved = Signal(int)
    removed = Signal()
    normalised = Signal()
    allowed = Signal(str)

    def __init__(self, values: Mapping[str, Any]) -> None:
        super().__init__()
        self._values = dict(values)
        self.model: type[Part] = PARTS[str(values["kind"])]
        self.form: SettingsForm[Part] | None = None
        self._problems: Sequence[Problem] = ()
        self._build()
        self._lay_out()
        theme().changed.connect(self._tint)
        self._tint()
        self.show_values(values)

    def _build(self) -> None:
        about = self.model.about
        self.fold = self._tool(self.tr("Settings of {part}").format(part=about.title))
        self.fold.setCheckable(True)
        self.fold.toggled.connect(self._show_form)
        self.name = ElidedLabel("")
        bold(self.name)
        self.up = self._tool(self.tr("Move {part} up").format(part=about.title))
        self.up.clicked.connect(lambda: self.moved.emit(-1))
        self.down = self._tool(self.tr("Move {part} down").format(part=about.title))
        self.down.clicked.connect(lambda: self.moved.emit(1))
        self.remove = self._tool(self.tr("Remove {part}").format(part=about.title))
        self.remove.clicked.connect(self.removed)
        self.slider = WeightSlider(self.tr("Weight of {part}").format(part=about.title))
        self.slider.weight_changed.connect(self._take_slider)
        self.slider.settled.connect(lambda: self.changed.emit({}, False))
        self.number = Number(self.tr("Weight of {part} as a number").format(part=about.title))
        self.number.textEdited.connect(self._take_number)
        self.number.stepped.connect(self._step)
        self.paid = QComboBox()
        self.paid.setAccessibleName(self.tr("When {part} is paid").format(part=about.title))
        self.paid.addItem(self.tr("at the end"), "end")
        self.paid.addItem(self.tr("by token"), "token")
        self.paid.setToolTip(
            self.tr("By token pays each token what it added; the sum stays the same.")
            if about.is_by_token
            else self.tr("This part has a value for whole answers only.")
        )
        self.paid.setEnabled(about.is_by_token)
        self.paid.activated.connect(self._take_paid)
        self.normalise = button(self.tr("Normalise"), "link")
        self.normalise.setToolTip(
            self.tr(
                "Shift and scale from the base's answers: mean 0 and spread 1, then weights of "
                "different parts compare"
            )
        )
        self.normalise.clicked.connect(self.normalised)
        self.fact = ElidedLabel("", "muted")
        self.problem, self.note = Remark(), Remark()
        self.run = QComboBox()
        self.run.setAccessibleName(self.tr("Reward run that scores"))
        self.run.activated.connect(self._take_run)
        self.choose = button(self.tr("Choose a file"), "link")
        self.choose.clicked.connect(self._choose_file)
        self.allow = button(self.tr("Allow this file to run"), "link")
        self.allow.clicked.connect(lambda: self.allowed.emit(str(self._values.get("file", ""))))

    def _tool(self, name: str) -> QToolButton:
        made = QToolButton()
        made.setProperty("quiet", True)
        made.setAccessibleName(name)
        made.setToolTip(name)
        made.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        return made

    def _lay_out(self) -> None:
        head = QHBoxLayout()
        head.setSpacing(2)
        head.addWidget(self.fold)
        head.addWidget(self.name, 1)
        for made in (self.up, self.down, self.remove):
            head.addWidget(made)
        middle = QHBoxLayout()
        middle.setSpacing(8)
        middle.addWidget(self.slider, 1)
        middle.addWidget(self.number)
        middle.addWidget(self.paid)
        foot = QHBoxLayout()
        foot.setSpacing(4)
        foot.addWidget(self.fact, 1)
        foot.addWidget(self.normalise)
        own = QHBoxLayout()
        own.addWidget(self.run)
        own.addWidget(self.choose)
        own.addWidget(self.allow)
        own.addStretch(1)
        self._body = QVBoxLayout(self)
        self._body.setContentsMargins(0, 4, 0, 6)
        self._body.setSpacing(2)
        for row in (head, middle, foot):
            self._body.addLayout(row)
        self._body.addWidget(self.problem)
        self._body.addWidget(self.note)
        if self.model.about.warning:
            self._body.addWidget(label(self.model.about.warning, "muted", wrap=True))
        self._body.addLayout(own)
        self.run.setVisible("reward run" in self.model.about.needs)
        is_file = "file" in self.model.about.needs
        self.choose.setVisible(is_file)
        self.allow.setVisible(is_file)

    @property
    def kind(self) -> str:
        """The kind of part that it can show."""
        return str(self._values["kind"])

    @property
    def key(self) -> str:
        """What it is known by when rows are made anew: what it measures."""
        return json.dumps(core(self._values), sort_keys=True, default=str)

    def show_values(self, values: Mapping[str, Any]) -> None:
        """Show other values of the same kind; nothing is told."""
        self._values = dict(values)
        self.name.setText(str(values.get("label") or "").strip() or self.model.about.title)
        weight = values.get("weight")
        if isinstance(weight, int | float):
            self.slider.set_weight(float(weight))
        if self.number.value() != weight:
            self.number.setText(as_text(weight).replace("-", "−"))
        with QSignalBlocker(self.run):
            self.run.setCurrentIndex(self.run.findData(values.get("run")))
        with QSignalBlocker(self.paid):
            self.paid.setCurrentIndex(max(0, self.paid.findData(values.get("paid"))))
        if self.form is not None and self.form.values() != self._of_form():
            with QSignalBlocker(self.form):
                self.form.set_values(self._of_form())

    def show_runs(self, runs: Sequence[tuple[str, int]]) -> None:
        """Which reward runs a part can take; the one that it has stays, also when it is gone."""
        with QSignalBlocker(self.run):
            self.run.clear()
            for name, run_id in runs:
                self.run.addItem(name, run_id)
            chosen = self.run.findData(self._values.get("run"))
            if chosen < 0:
                self.run.insertItem(0, self.tr("Choose a reward run"), self._values.get("run"))
            self.run.setCurrentIndex(max(0, chosen))

    def show_fact(self, text: str, tip: str = "") -> None:
        """The muted line under the weight: how much the part decides, or what it is."""
        if text != self.fact.text():  # a new text asks for a new layout of all rows
            self.fact.setText(text)
            self.fact.setToolTip(tip or text)

    def show_place(self, *, is_first: bool, is_last: bool) -> None:
        """Which ways it can move."""
        self.up.setEnabled(not is_first)
        self.down.setEnabled(not is_last)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """What is wrong with it, beside the row and at the fields."""
        self._problems = problems
        told = " ".join(self._sentence(p) for p in problems)
        self.problem.tell(told)
        is_wrong = any(p.field == "weight" for p in problems)
        if bool(self.number.property("problem")) != is_wrong:
            self.number.setProperty("problem", is_wrong)
            repolish(self.number)
        if self.form is not None:
            self.form.set_outside_problems({p.field: p.message for p in problems})

    def _sentence(self, problem: Problem) -> str:
        info = self.model.model_fields.get(problem.field)
        return f"{info.title}: {problem.message}" if info and info.title else problem.message

    def set_locked(self, is_locked: bool) -> None:
        """Show only."""
        for made in (
            self.slider,
            self.number,
            self.remove,
            self.normalise,
            self.choose,
            self.allow,
        ):
            made.setEnabled(not is_locked)
        self.run.setEnabled(not is_locked)
        self.paid.setEnabled(not is_locked and self.model.about.is_by_token)
        if is_locked:
            self.up.setEnabled(False)
            self.down.setEnabled(False)

    def _show_form(self, is_open: bool) -> None:
        if is_open and self.form is None:
            self.form = SettingsForm(self.model, without=_NOT_IN_FORM, is_wide=True)
            self.form.set_values(self._of_form())
            self.form.changed.connect(self._take_form)
            self._body.addWidget(self.form)
            self.show_problems(self._problems)
        if self.form is not None:
            self.form.setVisible(is_open)
        self._tint()

    def _of_form(self) -> dict[str, Any]:
        return {k: v for k, v in self._values.items() if k not in _NOT_IN_FORM}

    def _tell(self, changes: dict[str, Any], *, goes_on: bool = False) -> None:
        self._values |= changes
        self.changed.emit(changes, goes_on)

    def _take_slider(self, weight: float) -> None:
        self.number.setText(as_text(weight).replace("-", "−"))
        self._tell({"weight": weight}, goes_on=self.slider.isSliderDown())

    def _take_number(self) -> None:
        weight = self.number.value()
        if isinstance(weight, float):
            self.slider.set_weight(weight)
        self._tell({"weight": weight})

    def _step(self, steps: int) -> None:
        weight = self.number.value()
        if isinstance(weight, float):
            stepped = round(weight + steps * _KEY_STEP, 6)
            self.number.setText(as_text(stepped).replace("-", "−"))
            self._take_number()

    def _take_paid(self) -> None:
        self._tell({"paid": self.paid.currentData()})

    def _take_run(self) -> None:
        changes = {"run": self.run.currentData()}
        if self.name.text() in {self.run.itemText(i) for i in range(self.run.count())}:
            changes["label"] = self.run.currentText()  # it was named after the run
        self._tell(changes)
        self.show_values(self._values)

    def _take_form(self) -> None:
        assert self.form is not None
        changes = {k: v for k, v in self.form.values().items() if self._values.get(k) != v}
        if changes:
            self._tell(changes)
            self.name.setText(
                str(self._values.get("label") or "").strip() or self.model.about.title
            )

    def _choose_file(self) -> None:
        here = str(Path(str(self._values.get("file", ""))).parent)
        name, _ = QFileDialog.getOpenFileName(
            self.window(), self.tr("Choose a Python file"), here, self.tr("Python (*.py)")
        )
        if name:
            self._tell({"file": name})
            self.show_values(self._values)

    def _tint(self) -> None:
        look = theme()
        folded = "chevron-down" if self.fold.isChecked() else "chevron-right"
        for made, icon in (
            (self.fold, folded),
            (self.up, "chevron-up"),
            (self.down, "chevron-down"),
            (self.remove, "trash"),
        ):
            made.setIcon(look.icon(icon, "text-2", 14))


class Number(QLineEdit):
    """A number field whose arrow keys go up and down."""

    stepped = Signal(int)

    def __init__(self, name: str) -> None:
        super().__init__()
        self.setAccessibleName(name)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setFixedWidth(60)

    def value(self) -> float | str:
        """The number; the text where it is none."""
        text = self.text().strip().replace("−", "-").replace(",", ".")
        try:
            return float(text)
        except ValueError:
            return self.text()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102
        steps = {Qt.Key.Key_Up: 1, Qt.Key.Key_Down: -1}
        if event.key() in steps:
            self.stepped.emit(steps[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)
