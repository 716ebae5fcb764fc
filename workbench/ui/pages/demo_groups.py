"""The demo prompts by task, each added with one click."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QGridLayout, QPushButton

from workbench.app.exchange import DemoGroup
from workbench.ui.plural import counted
from workbench.ui.widgets import Card, button, label


class DemoGroupsCard(Card):
    """One row per task: what it is, how many prompts, and the button that adds them."""

    wanted = Signal(list)
    """Names of the groups to add."""

    def __init__(self) -> None:
        super().__init__(self.tr("Start with demo prompts"))
        self._grid = QGridLayout()
        self._grid.setHorizontalSpacing(24)
        self._grid.setVerticalSpacing(8)
        self._grid.setColumnStretch(1, 1)
        text = label(
            self.tr(
                "Written for this program, in English and Chinese. Or add your own: type or paste "
                "them, or import a JSONL, CSV or text file."
            ),
            "muted",
            wrap=True,
        )
        self.body.addWidget(text)
        self.body.addLayout(self._grid)
        self.buttons: list[QPushButton] = []
        self._names: list[str] = []

    def show_groups(self, groups: Sequence[DemoGroup]) -> None:
        """Make the rows; done once, since the groups come with the program."""
        names = [group.name for group in groups]
        if names == self._names:
            return
        self._names = names
        names_of = {"en": self.tr("English"), "zh": self.tr("Chinese")}
        for row, group in enumerate(groups):
            title = label(group.title, "card-title")
            n = counted(group.n, self.tr("{n} prompt"), self.tr("{n} prompts"))
            languages = ", ".join(names_of.get(code, code) for code in group.languages)
            facts = label(f"{n}, {languages}", "muted")
            add = button(self.tr("Add"), "outlined", icon="plus")
            add.setAccessibleName(self.tr("Add the group {name}").format(name=group.title))
            add.clicked.connect(partial(self.wanted.emit, [group.name]))
            self.buttons.append(add)
            self._grid.addWidget(title, row, 0)
            self._grid.addWidget(facts, row, 1)
            self._grid.addWidget(add, row, 2, Qt.AlignmentFlag.AlignRight)
        every = button(
            self.tr("Add all {n} prompts").format(n=sum(group.n for group in groups)), "outlined"
        )
        every.clicked.connect(lambda: self.wanted.emit(list(self._names)))
        self._grid.addWidget(every, len(groups), 2, Qt.AlignmentFlag.AlignRight)
