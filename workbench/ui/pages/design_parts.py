"""The parts of a design as rows, with the KL penalty as one more at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from workbench.app.design_draft import Draft
from workbench.config.reward_parts.design import Problem
from workbench.ui.forms.fields import as_text
from workbench.ui.pages.design_row import Number, PartRow
from workbench.ui.theme import bold, scaled
from workbench.ui.widgets import label, line
from workbench.ui.widgets.remark import Remark

_KL_STEP = 0.01


class PartsList(QScrollArea):
    """Rows of the draft; what is changed is told, never decided here.

    Signals:
        edited: Index, changed settings, whether more of the gesture may follow.
        moved: Index, places further down.
        removed, normalised: Index.
        allowed: Path of a file that may run from now on.
        kl_edited: What a nat of KL costs.
    """

    edited = Signal(int, object, bool)
    moved = Signal(int, int)
    removed = Signal(int)
    normalised = Signal(int)
    allowed = Signal(str)
    kl_edited = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[PartRow] = []
        self._is_locked = False
        self.setProperty("plain", True)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        inner = QWidget()
        self._layout = QVBoxLayout(inner)
        self._layout.setContentsMargins(0, 0, 6, 0)
        self._layout.setSpacing(0)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(0)
        self.kl = _KlRow()
        self.kl.edited.connect(self.kl_edited)
        self._layout.addLayout(self._rows)
        self._layout.addWidget(self.kl)
        self._layout.addStretch(1)
        self.setWidget(inner)

    def show_draft(
        self,
        draft: Draft,
        runs: Sequence[tuple[str, int]],
        watch: Callable[[QWidget], None],
    ) -> None:
        """Show a draft; rows are made anew only when there are others.

        Args:
            draft: What is to be shown.
            runs: Reward runs that can be a part, with their names.
            watch: Called with each new row.
        """
        kinds = [row.kind for row in self.rows]
        if kinds != [str(values["kind"]) for values in draft.parts]:
            self._build(draft.parts, watch)
        for row, values in zip(self.rows, draft.parts, strict=True):
            row.show_values(values)
            row.show_runs(runs)
        self.kl.show_weight(draft.kl_weight)
        self.kl.setVisible(bool(draft.parts))

    def _build(self, parts: Sequence[Mapping[str, Any]], watch: Callable[[QWidget], None]) -> None:
        opened = {row.key for row in self.rows if row.fold.isChecked()}
        while (item := self._rows.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self.rows = [PartRow(values) for values in parts]
        for i, row in enumerate(self.rows):
            row.changed.connect(partial(self.edited.emit, i))
            row.moved.connect(partial(self.moved.emit, i))
            row.removed.connect(partial(self.removed.emit, i))
            row.normalised.connect(partial(self.normalised.emit, i))
            row.allowed.connect(self.allowed)
            row.show_place(is_first=i == 0, is_last=i == len(self.rows) - 1)
            row.fold.setChecked(row.key in opened)
            row.set_locked(self._is_locked)
            self._rows.addWidget(row)
            self._rows.addWidget(line())
            watch(row)

    def show_problems(self, problems: Sequence[Problem]) -> None:
        """What is wrong with each part, beside its row."""
        for i, row in enumerate(self.rows):
            row.show_problems([p for p in problems if p.part == i])

    def set_locked(self, is_locked: bool) -> None:
        """Show only."""
        self._is_locked = is_locked
        for row in self.rows:
            row.set_locked(is_locked)

    def focus_row(self, index: int, control: str = "slider") -> None:
        """Put the keyboard on a row's control."""
        if not self.rows:
            return
        row = self.rows[max(0, min(index, len(self.rows) - 1))]
        target: QWidget = getattr(row, control)
        if not target.isEnabled():
            target = row.slider
        target.setFocus(Qt.FocusReason.OtherFocusReason)
        QApplication.sendPostedEvents()
        self.ensureWidgetVisible(row)


class _KlRow(QWidget):
    """KL is a part of what training pays, though not of the design."""

    edited = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        name = label(self.tr("KL to the base"))
        bold(name)
        self.number = Number(self.tr("What a nat of KL costs"))
        self.number.textEdited.connect(self._take)
        self.number.stepped.connect(self._step)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.addWidget(name, 1)
        head.addWidget(label(self.tr("costs")))
        head.addWidget(self.number)
        head.addWidget(label(self.tr("per nat"), "muted"))
        self._problem = Remark()
        note = label(
            self.tr(
                "What training takes off for leaving the base, shown in this table only: a run has "
                "its own setting for it."
            ),
            "muted",
            wrap=True,
        )
        scaled(note, 0.92)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 8, 0, 8)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self._problem)
        layout.addWidget(note)

    def show_weight(self, weight: float) -> None:
        if self.number.value() != weight:
            self.number.setText(as_text(weight))

    def _take(self) -> None:
        value = self.number.value()
        is_right = isinstance(value, float) and 0 <= value <= 10
        self._problem.tell("" if is_right else self.tr("Give a number from 0 to 10, such as 0.05."))
        if is_right:
            self.edited.emit(value)

    def _step(self, steps: int) -> None:
        value = self.number.value()
        if isinstance(value, float):
            self.number.setText(as_text(max(0.0, round(value + steps * _KL_STEP, 6))))
            self._take()
