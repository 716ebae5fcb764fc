"""Which runs the table shows, and in which order: search, kind, state, tag."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Signal, SignalInstance
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QWidget

from workbench.app.run_table import Wanted
from workbench.ui.pages.wording import status
from workbench.ui.widgets import button

_STATUSES = ("queued", "running", "paused", "done", "stopped", "failed", "interrupted")


class RunsFilters(QWidget):
    """One row over the table; the order is here too, for those who use no mouse.

    Signals:
        changed: Other runs are wanted.
        order_changed: In another order.
    """

    changed = Signal()
    order_changed = Signal()

    def __init__(self, orders: Sequence[str]) -> None:
        super().__init__()
        tr = self.tr
        self.search = QLineEdit()
        self.search.setPlaceholderText(tr("Search name, note, tags, model"))
        self.search.setAccessibleName(tr("Search runs"))
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self.changed)
        kinds: dict[object, str] = {
            None: tr("All kinds"),
            "policy": tr("Policies"),
            "reward": tr("Reward models"),
            "evaluation": tr("Evaluations"),
        }
        states: dict[object, str] = {None: tr("All states")}
        states.update({name: status(name)[1].capitalize() for name in _STATUSES})
        self.kind = self._box(tr("Kind"), kinds)
        self.status = self._box(tr("State"), states)
        self.tag = self._box(tr("Tag"), {None: tr("All tags")})
        named: dict[object, str] = {None: tr("Newest first")}
        named.update({i: tr("By {column}").format(column=c) for i, c in enumerate(orders)})
        self.order = self._box(tr("Order"), named, self.order_changed)
        self.turn = button("", "quiet", icon="chevron-down")
        self.turn.setCheckable(True)
        self.turn.setAccessibleName(tr("Largest or last first"))
        self.turn.setToolTip(tr("Turn the order round"))
        self.turn.toggled.connect(self._on_turn)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.search, 1)
        for widget in (self.kind, self.status, self.tag, self.order, self.turn):
            layout.addWidget(widget)

    def _box(
        self, name: str, choices: dict[object, str], told: SignalInstance | None = None
    ) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName(name)
        box.setToolTip(name)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(8)
        for value, word in choices.items():
            box.addItem(word, value)
        box.currentIndexChanged.connect(told or self.changed)
        return box

    def wanted(self) -> Wanted:
        """What is asked for now."""
        return Wanted(
            self.search.text(),
            self.kind.currentData(),
            self.status.currentData(),
            self.tag.currentData(),
        )

    def column(self) -> int | None:
        """The column that gives the order; None for the newest first."""
        data = self.order.currentData()
        return data if isinstance(data, int) else None

    def show_order(self, column: int | None, *, is_falling: bool) -> None:
        """Say in which order the table is, as the head of a column was pressed."""
        for widget in (self.order, self.turn):
            widget.blockSignals(True)
        self.order.setCurrentIndex(0 if column is None else self.order.findData(column))
        self.turn.setChecked(is_falling)
        self.turn.set_icon("chevron-down" if is_falling else "chevron-right")
        for widget in (self.order, self.turn):
            widget.blockSignals(False)

    def offer_tags(self, tags: Sequence[str]) -> None:
        """Give the tags that there are now; the chosen one stays while it is there."""
        if list(tags) == [self.tag.itemData(i) for i in range(1, self.tag.count())]:
            return
        chosen = self.tag.currentData()
        self.tag.blockSignals(True)
        while self.tag.count() > 1:
            self.tag.removeItem(self.tag.count() - 1)
        for tag in tags:
            self.tag.addItem(tag, tag)
        self.tag.setCurrentIndex(0 if chosen is None else max(0, self.tag.findData(chosen)))
        self.tag.blockSignals(False)

    def _on_turn(self, is_falling: bool) -> None:
        self.turn.set_icon("chevron-down" if is_falling else "chevron-right")
        self.order_changed.emit()
