"""What the list of judgements shows, and in which order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QComboBox, QGridLayout, QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from workbench.app.feedback import STARS
from workbench.store.judgement_list import Order, Wanted
from workbench.ui.pages.judgement_words import kind_words, stars, verdict_words
from workbench.ui.widgets import button

_TYPING_PAUSE_MS = 150
_N_COLUMNS = 4


class JudgementFilters(QWidget):
    """Search, verdict and order in one row; the other filters below it, when they are asked for."""

    changed = Signal()
    opened = Signal()
    """The other filters were shown: their choices may be out of date."""

    def __init__(self) -> None:
        super().__init__()
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Search prompts and answers"))
        self.search.setAccessibleName(self.tr("Search judgements"))
        self.search.setClearButtonEnabled(True)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_TYPING_PAUSE_MS)
        self._pause.timeout.connect(self.changed)
        self.search.textChanged.connect(self._pause.start)
        self._build_choices()
        self.more_button = button("", "quiet", icon="chevron-right")
        self.more_button.clicked.connect(self.toggle_more)
        first = QHBoxLayout()
        first.setSpacing(8)
        first.addWidget(self.search, 1)
        first.addWidget(self.verdict)
        first.addWidget(self.order_box)
        first.addWidget(self.more_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addLayout(first)
        layout.addWidget(self._build_more())
        self._name_more()

    def _build_choices(self) -> None:
        tr = self.tr
        self.verdict = self._box(tr("Verdict"), tr("All verdicts"), verdict_words())
        strengths = {1: tr("Slightly better"), 2: tr("Clearly better"), 0: tr("Strength not said")}
        self.strength = self._box(tr("Strength"), tr("All strengths"), strengths)
        self.kind = self._box(tr("Kind of annotator"), tr("All kinds"), kind_words())
        rated = {n: stars(n) for n in reversed(STARS)}
        self.rating = self._box(tr("Rating"), tr("All ratings"), rated)
        commented = {True: tr("With comment"), False: tr("Without comment")}
        self.comment = self._box(tr("Comment"), tr("All comments"), commented)
        self.annotator = self._box(tr("Annotator"), tr("All annotators"), {})
        self.group = self._box(tr("Group"), tr("All groups"), {})
        self.tag = self._box(tr("Tag"), tr("All tags"), {})
        orders: dict[Order, str] = {
            "newest": tr("Newest first"),
            "oldest": tr("Oldest first"),
            "longest": tr("Longest first"),
            "prompt": tr("By prompt"),
        }
        self.order_box = QComboBox()
        self.order_box.setAccessibleName(tr("Order"))
        for order, word in orders.items():
            self.order_box.addItem(word, order)
        self.order_box.activated.connect(self.changed)

    def _build_more(self) -> QWidget:
        self._more = QWidget()
        grid = QGridLayout(self._more)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(8)
        self._boxes = (
            self.strength,
            self.annotator,
            self.kind,
            self.rating,
            self.group,
            self.tag,
            self.comment,
        )
        for i, box in enumerate(self._boxes):
            grid.addWidget(box, i // _N_COLUMNS, i % _N_COLUMNS)
        self.clear_button = button(self.tr("Clear filters"), "quiet")
        self.clear_button.clicked.connect(self.clear)
        grid.addWidget(self.clear_button, len(self._boxes) // _N_COLUMNS, _N_COLUMNS - 1)
        for column in range(_N_COLUMNS):
            grid.setColumnStretch(column, 1)
        self._more.hide()
        return self._more

    def _box(self, name: str, every: str, choices: Mapping[Any, str]) -> QComboBox:
        box = QComboBox()
        box.setAccessibleName(name)
        box.setToolTip(name)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(9)
        box.addItem(every, None)
        for value, word in choices.items():
            box.addItem(word, value)
        box.activated.connect(self._chosen)
        return box

    def wanted(self) -> Wanted:
        """What is asked for now."""
        return Wanted(
            verdict=self.verdict.currentData(),
            strength=self.strength.currentData(),
            annotator=self.annotator.currentData(),
            annotator_kind=self.kind.currentData(),
            group=self.group.currentData(),
            tag=self.tag.currentData(),
            rating=self.rating.currentData(),
            has_comment=self.comment.currentData(),
            search=self.search.text(),
        )

    def order(self) -> Order:
        """Which judgement comes first."""
        order: Order = self.order_box.currentData()
        return order

    @property
    def is_open(self) -> bool:
        """Whether the filters below the first row are shown."""
        return not self._more.isHidden()

    def toggle_more(self) -> None:
        """Show or hide the filters below the first row; they apply either way."""
        self._more.setVisible(not self.is_open)
        self.more_button.set_icon("chevron-down" if self.is_open else "chevron-right")
        if self.is_open:
            self.opened.emit()

    def clear(self) -> None:
        """Ask for nothing."""
        self._pause.stop()
        self.search.clear()
        self._pause.stop()
        for box in (self.verdict, *self._boxes):
            box.setCurrentIndex(0)
        self._chosen()

    def offer(self, annotators: Sequence[str], groups: Sequence[str], tags: Sequence[str]) -> None:
        """Give the choices that the experiment has now; what is chosen stays while it is there."""
        nameless = self.tr("(no group)")
        _offer(self.annotator, [(name, name) for name in annotators])
        _offer(self.group, [(name or nameless, name) for name in groups])
        _offer(self.tag, [(name, name) for name in tags])
        self._name_more()

    def _chosen(self) -> None:
        self._name_more()
        self.changed.emit()

    def _name_more(self) -> None:
        n = sum(box.currentIndex() > 0 for box in self._boxes)
        text = self.tr("Filters ({n})").format(n=n) if n else self.tr("Filters")
        self.more_button.setText(text)


def _offer(box: QComboBox, wanted: list[tuple[str, str]]) -> None:
    here = [(box.itemText(i), box.itemData(i)) for i in range(1, box.count())]
    if here == wanted:
        return
    chosen = box.currentData()
    while box.count() > 1:
        box.removeItem(box.count() - 1)
    for text, name in wanted:
        box.addItem(text, name)
    box.setCurrentIndex(0 if chosen is None else max(0, box.findData(chosen)))
