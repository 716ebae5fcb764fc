"""The steps as a card: done, next and later; only the next one has the filled button."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from workbench.app.workspace import Overview
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.steps import ORDER, StepInfo, steps_of
from workbench.ui.theme import bold
from workbench.ui.widgets import Card, button


class StepsCard(Card):
    """Rows of steps with their state. A button leads to the page where the step is done.

    Args:
        title: Head of the card.
        context: For changing the page.
        keys: Which steps are shown.
        own_page: The page that holds the card: a step that is done here gets no button.
    """

    def __init__(
        self, title: str, context: UiContext, keys: Sequence[str] = ORDER, own_page: str = ""
    ) -> None:
        super().__init__(title)
        self._context = context
        self._keys = keys
        self._own_page = own_page
        self._rows: list[_StepRow] = []
        self._column = QVBoxLayout()
        self._column.setSpacing(0)
        self.body.addLayout(self._column)
        context.theme.changed.connect(self._rebuild)
        self._steps: list[StepInfo] = []

    def set_overview(self, overview: Overview, model: str) -> None:
        """Show the states that follow from the counts."""
        steps = [s for s in steps_of(overview, model) if s.key in self._keys]
        n_done = sum(s.state == "done" for s in steps)
        self.set_fact(self.tr("{done} of {n} done").format(done=n_done, n=len(steps)))
        if steps != self._steps:
            self._steps = steps
            self._rebuild()

    def is_all_done(self) -> bool:
        """Whether no step is left."""
        return all(s.state == "done" for s in self._steps)

    def next_button(self) -> QPushButton | None:
        """The filled button of the next step, if it is shown."""
        return next((row.button for row in self._rows if row.button), None)

    def _rebuild(self) -> None:
        while (item := self._column.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()
        self._rows = []
        for i, step in enumerate(self._steps):
            if i:
                line = QFrame()
                line.setProperty("line", True)
                line.setFixedHeight(1)
                self._column.addWidget(line)
            row = _StepRow(step, self._context, self._own_page)
            self._rows.append(row)
            self._column.addWidget(row)


class _StepRow(QWidget):
    def __init__(self, step: StepInfo, context: UiContext, own_page: str) -> None:
        super().__init__()
        self.button: QPushButton | None = None
        theme = context.theme
        icon = QLabel()
        name, token = ("check", "ok") if step.state == "done" else (step.icon, "text-2")
        icon.setPixmap(theme.pixmap(name, token, 20))
        title, text = QLabel(step.title), QLabel(step.text)
        bold(title)
        text.setProperty("role", "muted")
        text.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 8, 0, 8)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        grid.addWidget(icon, 0, 0, 2, 1, Qt.AlignmentFlag.AlignVCenter)
        grid.addWidget(title, 0, 1)
        grid.addWidget(text, 1, 1)
        grid.addWidget(self._end(step, context, own_page), 0, 2, 2, 1)

    def _end(self, step: StepInfo, context: UiContext, own_page: str) -> QWidget:
        if step.state == "next" and step.page != own_page:
            self.button = button(step.action, "filled", icon=step.icon)
            self.button.clicked.connect(lambda: context.show_page(step.page))
            return self.button
        words = {"done": self.tr("done"), "next": self.tr("next"), "later": step.after}
        label = QLabel(words[step.state])
        if step.state == "done":
            label.setProperty("status", "ok")
        else:
            label.setProperty("role", "muted")
        return label
