"""The settings beside a page: head with the state, what the job works on, then the form."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from workbench.ui.forms.form_stack import FormStack
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.theme import bold, theme
from workbench.ui.widgets import Badge, button

WIDTH = 296
NARROW = 1200
"""Below this window width the settings wait behind F4."""


class SettingsColumn(QWidget):
    """A fixed column with a scrolling form; the head says "locked" or how many problems.

    Args:
        form: The form derived from the settings model, or one for each of several.
        inputs: Rows above the form (policy, reward, prompts), if the job has any.
    """

    def __init__(self, form: SettingsForm[Any] | FormStack, inputs: QWidget | None = None) -> None:
        super().__init__()
        self.form = form
        self.setFixedWidth(WIDTH)
        self._is_needed = True
        self._is_wanted = False
        self.button = button(self.tr("Settings"), "quiet")
        self.button.clicked.connect(self.toggle)
        title = QLabel(self.tr("Settings"))
        bold(title)
        self._note = QLabel(self.tr("locked while running"))
        self._note.setProperty("role", "muted")
        self._lock = QLabel()
        self._problems = Badge("bad", "")
        head = QHBoxLayout()
        head.setContentsMargins(0, 4, 16, 4)
        head.addWidget(title, 1)
        for widget in (self._lock, self._note, self._problems):
            head.addWidget(widget)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 12, 12)
        column.setSpacing(8)
        if inputs:
            column.addWidget(inputs)
        column.addWidget(form)
        column.addStretch(1)
        self.area = QScrollArea()
        self.area.setProperty("plain", True)
        self.area.setFrameShape(QFrame.Shape.NoFrame)
        self.area.setWidgetResizable(True)
        self.area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.area.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(head)
        layout.addWidget(self.area, 1)
        form.problems_changed.connect(self.set_problems)
        theme().changed.connect(self._tint)
        self._tint()
        self.set_locked(False)
        self.set_problems(0)

    def toggle(self) -> None:
        """Show or hide the settings; on a wide window, put the cursor into them."""
        if self.window().width() < NARROW:
            self._is_wanted = not self._is_wanted
            self.fit()
        if self.isVisible():
            self.form.focus_first()

    def go_to_first_problem(self) -> None:
        """Show the settings and put the cursor into the first field with an error."""
        self._is_wanted = True
        self.fit()
        self.form.go_to_first_problem()

    def set_needed(self, needed: bool) -> None:
        """A page that shows a report has no use for settings."""
        self._is_needed = needed
        self.fit()

    def fit(self) -> None:
        """Show the settings where there is room for them, or where they were asked for."""
        is_narrow = self.window().width() < NARROW
        self.button.setVisible(is_narrow and self._is_needed)
        self.setVisible(self._is_needed and (self._is_wanted or not is_narrow))

    def set_locked(self, locked: bool) -> None:
        """Lock all but the live settings while a run uses them."""
        self.form.set_locked(locked)
        self._note.setVisible(locked)
        self._lock.setVisible(locked)

    def _tint(self) -> None:
        self._lock.setPixmap(theme().pixmap("lock", "muted", 14))

    def set_problems(self, n: int) -> None:
        """Say how many settings must be corrected."""
        text = self.tr("1 problem") if n == 1 else self.tr("{n} problems").format(n=n)
        self._problems.set_text(text)
        self._problems.setVisible(n > 0)
