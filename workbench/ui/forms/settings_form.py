"""A form made from a settings model: nothing of a hyperparameter is said twice."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Generic, TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from workbench.config import toml
from workbench.config.spec import Settings
from workbench.config.toml import SettingsError
from workbench.ui.forms.fields import CONTROL_WIDTH, GAP, UNIT_WIDTH, Field
from workbench.ui.theme import bold, theme
from workbench.ui.widgets import ElidedLabel, label, line

S = TypeVar("S", bound=Settings)


class _Group(QWidget):
    """Fields under a heading that folds; folded it says its values in one line."""

    def __init__(self, title: str, fields: list[Field], is_open: bool, unit_width: int) -> None:
        super().__init__()
        self.fields = fields
        self.toggle = QToolButton()
        self.toggle.setText(title)
        self.toggle.setProperty("fold", True)
        self.toggle.setCheckable(True)
        self.toggle.setChecked(is_open)
        self.toggle.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.toggle.setAccessibleName(title)
        bold(self.toggle)
        self._summary = ElidedLabel("", "muted", Qt.AlignmentFlag.AlignRight)
        self._body = QWidget()
        grid = QGridLayout(self._body)
        grid.setContentsMargins(0, 0, 0, 4)
        grid.setHorizontalSpacing(GAP)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(0, 1)
        grid.setColumnMinimumWidth(1, CONTROL_WIDTH)
        grid.setColumnMinimumWidth(2, unit_width)
        for i, field in enumerate(fields):
            field.add_to(grid, 2 * i, unit_width)
        head = QHBoxLayout()
        head.setContentsMargins(0, 0, 0, 0)
        head.setSpacing(GAP)
        head.addWidget(self.toggle)
        head.addWidget(self._summary, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(head)
        layout.addWidget(self._body)
        layout.addWidget(line())
        self.toggle.toggled.connect(self._show)
        theme().changed.connect(self.summarise)
        self._show(is_open)

    def open(self) -> None:
        """Unfold."""
        self.toggle.setChecked(True)

    def _show(self, is_open: bool) -> None:
        self._body.setVisible(is_open)
        self.summarise()

    def summarise(self) -> None:
        """Say the values in one line while they are folded away; problems come before values."""
        is_open = self.toggle.isChecked()
        icon = "chevron-down" if is_open else "chevron-right"
        self.toggle.setIcon(theme().icon(icon, "text-2", 14))
        n = sum(bool(field.problem()) for field in self.fields)
        if is_open:
            text = ""
        elif n:
            text = self.tr("1 problem") if n == 1 else self.tr("{n} problems").format(n=n)
        else:
            text = ", ".join(filter(None, (field.summary() for field in self.fields)))
        self._summary.set_token("bad" if n else "muted")
        self._summary.setText(text)


class SettingsForm(QWidget, Generic[S]):
    """Fields of a settings model in their groups, checked as a whole at every change.

    Args:
        model: The settings model.
        presets: Name of a preset to the values it changes from the defaults.
        without: Settings that are shown elsewhere; their values are the defaults here.
        is_wide: Whether texts take the whole width.
    """

    changed = Signal()
    value_changed = Signal(str, object)
    problems_changed = Signal(int)

    _OPEN_GROUPS = 3

    def __init__(
        self,
        model: type[S],
        presets: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        without: Collection[str] = (),
        is_wide: bool = False,
    ) -> None:
        super().__init__()
        self._model = model
        self._presets = presets or {}
        self._problems: dict[str, str] = {}
        self._outside: Mapping[str, str] = {}
        self._is_quiet = False
        groups = {
            title: inner
            for title, found in toml.grouped(model).items()
            if (inner := [(name, info) for name, info in found if name not in without])
        }
        # Made in the order in which they are shown: Tab goes by that.
        self.fields = {
            name: Field(name, info, self, is_wide=is_wide)
            for inner in groups.values()
            for name, info in inner
        }
        # A model may hold others with values of its own in place of their defaults.
        for name, value in _flat(model().model_dump()).items():
            if name in self.fields:
                self.fields[name].set_value(value)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        # One width for all groups, so that every control stands at the same edge.
        units = [field.unit.sizeHint().width() for field in self.fields.values()]
        unit_width = max(UNIT_WIDTH, *units)
        self.preset = QComboBox()
        if self._presets:
            layout.addLayout(self._preset_row(unit_width))
        by_group = {
            title: [self.fields[name] for name, _ in inner] for title, inner in groups.items()
        }
        self._groups = [
            _Group(title, fields, i < self._OPEN_GROUPS, unit_width)
            for i, (title, fields) in enumerate(by_group.items())
        ]
        for group in self._groups:
            layout.addWidget(group)
        for field in self.fields.values():
            field.changed.connect(lambda name=field.name: self._on_change(name))

    def _preset_row(self, unit_width: int) -> QHBoxLayout:
        self.preset.addItem(self.tr("Defaults"), None)
        for name in self._presets:
            self.preset.addItem(name[:1].upper() + name[1:], name)
        self.preset.setAccessibleName(self.tr("Preset"))
        self.preset.activated.connect(self._take_preset)
        row = QHBoxLayout()
        words = label(self.tr("Preset"))
        words.setBuddy(self.preset)
        row.addWidget(words)
        row.addStretch(1)
        self.preset.setFixedWidth(CONTROL_WIDTH + GAP + unit_width)
        row.addWidget(self.preset)
        return row

    def _take_preset(self) -> None:
        values = self._presets.get(self.preset.currentData() or "", {})
        self.set_values({**self._model().model_dump(), **values})

    def values(self) -> dict[str, Any]:
        """What is entered, nested as the model is; it may be wrong."""
        nested: dict[str, Any] = {}
        for name, field in self.fields.items():
            *path, leaf = name.split(".")
            inner = nested
            for part in path:
                inner = inner.setdefault(part, {})
            inner[leaf] = field.value()
        return nested

    def set_values(self, values: Mapping[str, Any]) -> None:
        """Show values, nested as the model is; settings that are not named stay."""
        self._is_quiet = True
        for name, value in _flat(values).items():
            if name in self.fields:
                self.fields[name].set_value(value)
        self._is_quiet = False
        self._on_change("")

    def changes(self) -> dict[str, Any]:
        """What is entered and right, and differs from the defaults, nested as the model is."""
        defaults = _flat(self._model().model_dump())
        nested: dict[str, Any] = {}
        for name, value in _flat(self.values()).items():
            if name in self._problems or str(value) == str(defaults[name]):
                continue
            *path, leaf = name.split(".")
            inner = nested
            for part in path:
                inner = inner.setdefault(part, {})
            inner[leaf] = value
        return nested

    def settings(self) -> S:
        """The settings.

        Raises:
            SettingsError: With every problem; they also stand under their fields.
        """
        return toml.validate(self._model, self.values())

    def n_problems(self) -> int:
        """How many settings must be corrected."""
        return len(self._problems)

    def problems(self) -> dict[str, str]:
        """The sentences under the fields, by name of the setting."""
        return dict(self._problems)

    def set_outside_problems(self, problems: Mapping[str, str]) -> None:
        """Show what hinders settings that are right by themselves, such as too little data.

        Args:
            problems: The sentence under the field, by name of the setting; what this form does
                not have is passed over.
        """
        outside = {name: told for name, told in problems.items() if name in self.fields}
        if outside != self._outside:
            self._outside = outside
            self._show_problems()

    def focus_first(self) -> None:
        """Put the cursor into the first field. No focus proxy: Tab would skip what is before it."""
        next(iter(self.fields.values())).control.setFocus(Qt.FocusReason.ShortcutFocusReason)

    def go_to_first_problem(self) -> None:
        """Put the cursor into the first field that must be corrected; from there to the next."""
        wrong = [(g, f) for g in self._groups for f in g.fields if f.problem()]
        if not wrong:
            return
        here = next((i for i, (_, f) in enumerate(wrong) if f.control.hasFocus()), -1)
        group, field = wrong[(here + 1) % len(wrong)]
        group.open()
        field.control.setFocus(Qt.FocusReason.ShortcutFocusReason)
        if isinstance(field.control, QLineEdit):
            field.control.selectAll()

    def set_locked(self, locked: bool) -> None:
        """Lock all but the settings that may change while a run goes on."""
        self.preset.setEnabled(not locked)
        for field in self.fields.values():
            field.set_locked(locked and not field.is_live)

    def _on_change(self, name: str) -> None:
        if self._is_quiet:
            return
        self._show_problems()
        self.changed.emit()
        if name and name not in self._problems:
            self.value_changed.emit(name, self.fields[name].value())

    def _show_problems(self) -> None:
        try:
            self.settings()
            problems = dict(self._outside)
        except SettingsError as error:
            problems = {p.field: p.message for p in error.problems}
        for field in self.fields.values():
            field.set_problem(problems.get(field.name, ""))
        for group in self._groups:
            group.summarise()
        self._problems = problems
        self.problems_changed.emit(len(problems))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
