"""One form for each of several settings models, of which one is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from workbench.config.algorithms import Algorithm
from workbench.config.spec import Settings
from workbench.ui.forms.settings_form import SettingsForm


class FormStack(QWidget):
    """Forms of algorithms, each made when it is first shown.

    What the user changed goes along to another algorithm's form where that has the same setting.

    Args:
        algorithm: Whose form is shown first.
    """

    value_changed = Signal(str, object)
    problems_changed = Signal(int)
    changed = Signal()

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self._forms: dict[str, SettingsForm[Any]] = {}
        self._is_locked = False
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self.algorithm = algorithm
        self.form = self._form_of(algorithm)
        self.form.setVisible(True)

    def choose(self, algorithm: Algorithm) -> None:
        """Show an algorithm's form."""
        if algorithm.name == self.algorithm.name:
            return
        changed = self.form.changes()
        self.form.setVisible(False)
        self.algorithm = algorithm
        self.form = self._form_of(algorithm)
        self.form.set_values(changed)
        self.form.set_locked(self._is_locked)
        self.form.setVisible(True)
        self.problems_changed.emit(self.form.n_problems())
        self.changed.emit()

    def show_settings(self, algorithm: Algorithm, values: Mapping[str, Any]) -> None:
        """Show the settings that a run was made with."""
        self.choose(algorithm)
        self.form.set_values(values)

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Change settings of the shown form, nested as the model is."""
        self.form.set_values(values)

    def settings(self) -> Settings:
        """The shown form's settings.

        Raises:
            SettingsError: With every problem; they also stand under their fields.
        """
        settings: Settings = self.form.settings()
        return settings

    def n_problems(self) -> int:
        """How many settings of the shown form must be corrected."""
        return self.form.n_problems()

    def set_outside_problems(self, problems: Mapping[str, str]) -> None:
        """Sentences about settings that are right by themselves; see `SettingsForm`."""
        self.form.set_outside_problems(problems)

    def set_locked(self, locked: bool) -> None:
        """Lock all but the settings that may change while a run goes on."""
        self._is_locked = locked
        self.form.set_locked(locked)

    def focus_first(self) -> None:
        """Put the cursor into the first field."""
        self.form.focus_first()

    def go_to_first_problem(self) -> None:
        """Put the cursor into the first field that must be corrected."""
        self.form.go_to_first_problem()

    def _form_of(self, algorithm: Algorithm) -> SettingsForm[Any]:
        form = self._forms.get(algorithm.name)
        if form is None:
            form = SettingsForm(algorithm.settings, algorithm.presets)
            form.setVisible(False)
            form.value_changed.connect(self.value_changed)
            form.problems_changed.connect(self._on_problems)
            form.changed.connect(self._on_change)
            self._layout.addWidget(form)
            self._forms[algorithm.name] = form
        return form

    def _on_problems(self, n: int) -> None:
        if self.sender() is self.form:
            self.problems_changed.emit(n)

    def _on_change(self) -> None:
        if self.sender() is self.form:
            self.changed.emit()
