"""One field of a settings form: label, control, unit, help or problem under it."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from workbench.config.toml import bounds
from workbench.ui.theme import repolish, scaled, theme
from workbench.ui.widgets import label
from workbench.ui.widgets.text_field import TextField

CONTROL_WIDTH = 80
UNIT_WIDTH = 44
GAP = 8
ROW_HEIGHT = 28
_LINES = 4  # of a text of several lines


def as_text(value: object) -> str:
    """A value as a field shows it: 1e-05 as 1e-5, and 1.0 not as 1, for it may be 0.9 too."""
    if not isinstance(value, float):
        return str(value)
    if value.is_integer() and abs(value) < 1000:
        return f"{value:.1f}"
    short = f"{value:g}"
    exact = short if float(short) == value else repr(value)
    return exact.replace("e-0", "e-").replace("e+0", "e+")


class Field(QObject):
    """The widgets of one setting; values are what pydantic takes (text for numbers).

    Args:
        name: Dotted name of the setting.
        info: Its declaration.
        parent: The form.
        is_wide: Whether a text takes the whole width, in several lines where its kind has them.
    """

    changed = Signal()

    def __init__(
        self, name: str, info: FieldInfo, parent: QWidget, *, is_wide: bool = False
    ) -> None:
        super().__init__(parent)
        self._is_wide = is_wide and info.annotation is str
        extra = info.json_schema_extra
        ui: dict[str, Any] = extra.get("ui", {}) if isinstance(extra, dict) else {}  # type: ignore[assignment]
        self.name = name
        self.info = info
        self.group: str = ui.get("group", "General")
        self.is_live: bool = ui.get("is_live", False)
        self._symbol: str = ui.get("symbol", "")
        title = info.title or name
        if self._symbol and self._symbol not in title.split():
            title = f"{title} {self._symbol}"
        self.title = title
        self.label = label(title, wrap=True)
        self.unit = label(ui.get("unit", ""), "muted")
        scaled(self.unit, 0.92)
        self.help = label(info.description or "", "muted", wrap=True)
        scaled(self.help, 0.92)
        # Shown before the form has its layout: without a parent it would be a window.
        self.help.setParent(parent)
        self._problem_icon = QLabel()
        self._problem = label("", wrap=True)
        self._problem.setProperty("status", "bad")
        scaled(self._problem, 0.92)
        self.control = self._make_control()
        self.control.setObjectName(f"field-{name}")
        self.control.setAccessibleName(title)
        self.control.setAccessibleDescription(info.description or "")
        self.control.setToolTip(self._tip())
        self.label.setToolTip(self._tip())
        self.label.setBuddy(self.control)
        self.set_value(info.get_default())
        self.set_problem("")
        theme().changed.connect(self._tint)
        self._tint()

    def _tip(self) -> str:
        low, high = bounds(self.info)
        tip = self.info.description or ""
        if low is not None and high is not None:
            tip += f" ({as_text(float(low))} – {as_text(float(high))})"
        return f"{tip} [{self.name}]"

    def _make_control(self) -> QWidget:
        annotation = self.info.annotation
        if annotation is bool:
            box = QCheckBox()
            box.toggled.connect(lambda _on: self.changed.emit())
            box.setMinimumHeight(ROW_HEIGHT)
            return box
        if get_origin(annotation) is Literal:
            combo = QComboBox()
            combo.addItems([str(choice) for choice in get_args(annotation)])
            combo.currentIndexChanged.connect(lambda _i: self.changed.emit())
            return combo
        if self._is_wide and _has_lines(self.info):
            text = TextField(self.title, "")
            text.setFixedHeight(text.fontMetrics().lineSpacing() * _LINES + 12)
            text.textChanged.connect(self.changed)
            return text
        edit = QLineEdit()
        edit.textChanged.connect(lambda _t: self.changed.emit())
        if not self._is_wide:
            edit.setFixedWidth(CONTROL_WIDTH)
        if annotation in (int, float):
            edit.setAlignment(Qt.AlignmentFlag.AlignRight)
        return edit

    def add_to(self, grid: QGridLayout, row: int, unit_width: int) -> None:
        """Take two rows of a grid: the control, and help or problem under it."""
        grid.addWidget(self.label, row, 0)
        below = QVBoxLayout()
        below.setSpacing(4)
        if self._is_wide:
            below.addWidget(self.control)
        elif isinstance(self.control, QComboBox):
            # A choice takes the unit's column too: its words are longer than numbers.
            self.control.setFixedWidth(CONTROL_WIDTH + GAP + unit_width)
            grid.addWidget(self.control, row, 1, 1, 2)
        else:
            grid.addWidget(self.control, row, 1)
            grid.addWidget(self.unit, row, 2)
        under = QHBoxLayout()
        under.setSpacing(4)
        under.addWidget(self._problem_icon, 0, Qt.AlignmentFlag.AlignTop)
        under.addWidget(self._problem, 1)
        under.addWidget(self.help, 1)
        below.addLayout(under)
        grid.addLayout(below, row + 1, 0, 1, 3)

    def value(self) -> object:
        """What the user entered; numbers as text when they are none, for the sentence."""
        control = self.control
        if isinstance(control, QCheckBox):
            return control.isChecked()
        if isinstance(control, QComboBox):
            return control.currentText()
        if isinstance(control, QPlainTextEdit):
            return control.toPlainText()
        assert isinstance(control, QLineEdit)
        text = control.text().strip().replace("−", "-")
        if self.info.annotation in (int, float):
            kind: type[int] | type[float] = self.info.annotation  # type: ignore[assignment]
            try:
                return kind(text)
            except ValueError:
                return text
        return text

    def set_value(self, value: object) -> None:
        """Show a value."""
        control = self.control
        if isinstance(control, QCheckBox):
            control.setChecked(bool(value))
        elif isinstance(control, QComboBox):
            control.setCurrentText(str(value))
        elif isinstance(control, QLineEdit):
            control.setText(as_text(value))
            control.setCursorPosition(0)
        elif isinstance(control, QPlainTextEdit) and control.toPlainText() != str(value):
            control.setPlainText(str(value))

    def summary(self) -> str:
        """Name and value in a word or two, for a folded group."""
        name = self._symbol or self.title
        value = self.value()
        if isinstance(value, bool):
            return name if value else ""
        return f"{name} {as_text(value)} {self.unit.text()}".strip()

    def set_problem(self, message: str) -> None:
        """Show a sentence in place of the help, or the help again."""
        has_problem = bool(message)
        self._problem.setText(message)
        self._problem.setVisible(has_problem)
        self._problem_icon.setVisible(has_problem)
        # Help costs a line per field: shown for live settings only, else in the tooltip.
        self.help.setVisible(not has_problem and self.is_live)
        self.control.setAccessibleDescription(message or self.info.description or "")
        if bool(self.control.property("problem")) != has_problem:
            self.control.setProperty("problem", has_problem)
            repolish(self.control)

    def _tint(self) -> None:
        self._problem_icon.setPixmap(theme().pixmap("bad", "bad", 14))

    def problem(self) -> str:
        """The sentence under the field, empty when there is none."""
        return self._problem.text()

    def set_locked(self, locked: bool) -> None:
        """Make the control flat and dead; live settings are left alone by the form."""
        self.control.setEnabled(not locked)


def _has_lines(info: FieldInfo) -> bool:
    """Whether a text is one of several lines: a list with an entry per line, or a template."""
    is_list = any(isinstance(constraint, BeforeValidator) for constraint in info.metadata)
    return is_list or "\n" in str(info.default)
