"""The form of an AI judge: where it is, its rubric and template, and its numbers."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QLineEdit,
    QPlainTextEdit,
    QVBoxLayout,
    QWidget,
)

from workbench.config import toml
from workbench.config.judge import RUBRICS, JudgeNumbers, JudgeSettings
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.widgets import label

_LINES = 6


class JudgeForm(QWidget):
    """Shows settings and gives back what was made of them; the key is no setting.

    Args:
        settings: What it begins with.
    """

    changed = Signal()

    def __init__(self, settings: JudgeSettings) -> None:
        super().__init__()
        self._build_place(settings)
        self._build_words(settings)
        self.numbers = SettingsForm(JudgeNumbers)
        self.numbers.set_values({n: getattr(settings, n) for n in JudgeNumbers.model_fields})
        self._rows = QFormLayout()
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for words, widget in (
            (self.tr("Where"), self.where),
            (self.tr("Address"), self.url),
            (self.tr("Model"), self.model),
            (self.tr("Key"), self.key_edit),
            ("", self.keeps_key),
            (self.tr("Rubric"), self.rubric_name),
            ("", self.rubric),
            (self.tr("Template"), self.template),
            (self.tr("First label"), self.first_label),
            (self.tr("Second label"), self.second_label),
        ):
            made = label(words)
            made.setBuddy(widget)
            self._rows.addRow(made, widget)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 8, 0)
        layout.setSpacing(12)
        layout.addLayout(self._rows)
        layout.addWidget(self.numbers)
        layout.addStretch(1)
        self._show_place()
        self._connect()

    def _build_place(self, settings: JudgeSettings) -> None:
        self.where = QComboBox()
        self.where.setAccessibleName(self.tr("Where the judge is"))
        self.where.addItem(self.tr("The loaded model"), "loaded")
        self.where.addItem(self.tr("Another model of this machine"), "folder")
        self.where.addItem(self.tr("An endpoint with OpenAI's protocol"), "endpoint")
        self.where.setCurrentIndex(self.where.findData(settings.where))
        self.url = _edit(self.tr("Address of the endpoint"), settings.url)
        self.url.setPlaceholderText("http://127.0.0.1:8080/v1")
        self.model = _edit(self.tr("Name or path of the model"), settings.model)
        self.key_edit = _edit(self.tr("Key of the endpoint"), "")
        self.key_edit.setEchoMode(QLineEdit.EchoMode.Password)
        self.key_edit.setPlaceholderText(self.tr("empty: the one that is kept, or none"))
        self.keeps_key = QCheckBox(self.tr("Keep the key in the system's keyring"))
        self.keeps_key.setChecked(True)

    def _build_words(self, settings: JudgeSettings) -> None:
        self.rubric_name = QComboBox()
        self.rubric_name.setAccessibleName(self.tr("Rubric to begin with"))
        for name in RUBRICS:
            self.rubric_name.addItem(name[:1].upper() + name[1:], name)
        self.rubric_name.addItem(self.tr("Own words"), None)
        self.rubric = _text(self.tr("Rubric"), settings.rubric_text)
        self._name_rubric()
        self.template = _text(self.tr("Template"), settings.template)
        self.first_label = _edit(self.tr("First label"), settings.first_label)
        self.second_label = _edit(self.tr("Second label"), settings.second_label)

    def _connect(self) -> None:
        self.where.currentIndexChanged.connect(self._show_place)
        self.where.currentIndexChanged.connect(lambda _i: self.changed.emit())
        self.rubric_name.activated.connect(self._take_rubric)
        self.rubric.textChanged.connect(self._name_rubric)
        for edit in (self.url, self.model, self.first_label, self.second_label):
            edit.textChanged.connect(lambda _t: self.changed.emit())
        for text in (self.rubric, self.template):
            text.textChanged.connect(self.changed)
        self.numbers.changed.connect(self.changed)

    def settings(self) -> JudgeSettings:
        """What is entered.

        Raises:
            SettingsError: With every problem.
        """
        rubric = self.rubric.toPlainText()
        return toml.validate(
            JudgeSettings,
            {
                **self.numbers.values(),
                "where": self.where.currentData(),
                "url": self.url.text(),
                "model": self.model.text().strip(),
                # By its name, so that a later version's better words are taken over.
                "rubric": next((n for n, words in RUBRICS.items() if words == rubric), rubric),
                "template": self.template.toPlainText(),
                "first_label": self.first_label.text(),
                "second_label": self.second_label.text(),
            },
        )

    def key(self) -> str:
        """The key that was typed; empty for the one that is kept."""
        return self.key_edit.text().strip() if self.where.currentData() == "endpoint" else ""

    def is_key_kept(self) -> bool:
        """Whether the key that was typed goes into the keyring."""
        return self.keeps_key.isChecked()

    def show_problems(self, problems: dict[str, str]) -> None:
        """Mark the fields that must be corrected; the numbers mark their own."""
        for name, widget in (
            ("url", self.url),
            ("model", self.model),
            ("template", self.template),
            ("first_label", self.first_label),
            ("second_label", self.second_label),
        ):
            message = problems.get(name, "")
            widget.setAccessibleDescription(message)
            widget.setToolTip(message)

    def _show_place(self) -> None:
        where = self.where.currentData()
        self._rows.setRowVisible(self.model, where != "loaded")
        for widget in (self.url, self.key_edit, self.keeps_key):
            self._rows.setRowVisible(widget, where == "endpoint")

    def _take_rubric(self) -> None:
        words = RUBRICS.get(self.rubric_name.currentData() or "")
        if words is not None:
            self.rubric.setPlainText(words)
        else:
            self.rubric.setFocus()

    def _name_rubric(self) -> None:
        """Which of the rubrics stands there now."""
        names = list(RUBRICS.values())
        words = self.rubric.toPlainText()
        self.rubric_name.setCurrentIndex(names.index(words) if words in names else len(names))


def _edit(name: str, text: str) -> QLineEdit:
    made = QLineEdit(text)
    made.setAccessibleName(name)
    return made


def _text(name: str, text: str) -> QPlainTextEdit:
    made = QPlainTextEdit(text)
    made.setAccessibleName(name)
    made.setTabChangesFocus(True)
    made.setFixedHeight(made.fontMetrics().lineSpacing() * _LINES + 12)
    return made
