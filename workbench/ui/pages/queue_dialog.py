"""In which order pairs are asked, and what is generated when few wait."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QDialog,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from workbench.config.queueing import FillSettings, QueueSettings
from workbench.ui.forms.settings_form import SettingsForm
from workbench.ui.plural import counted
from workbench.ui.widgets import button, label

_SHARES = ("share_uncertainty", "share_diversity", "share_random")


class QueueDialog(QDialog):
    """The settings of order and generation; accepted only while they are right."""

    def __init__(
        self,
        parent: QWidget,
        order: QueueSettings,
        fill: FillSettings,
        *,
        is_filling: bool,
        n_pending: int,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Order of the queue"))
        self.form: SettingsForm[QueueSettings] = SettingsForm(QueueSettings)
        self.form.set_values(order.model_dump())
        self.fill_form: SettingsForm[FillSettings] = SettingsForm(FillSettings)
        self.fill_form.set_values(fill.model_dump())
        self.keep_filled = QCheckBox(self.tr("Generate answers while few pairs wait"))
        self.keep_filled.setChecked(is_filling)
        self.keep_filled.toggled.connect(self._update)
        self.start = button(self.tr("Put in order"), "filled")
        self.start.setDefault(True)
        self.start.clicked.connect(self.accept)
        for form in (self.form, self.fill_form):
            form.changed.connect(self._update)
        self._lay_out(n_pending)
        self._update()

    def _lay_out(self, n_pending: int) -> None:
        waiting = counted(n_pending, self.tr("One pair waits."), self.tr("{n} pairs wait."))
        text = label(
            waiting
            + " "
            + self.tr(
                "The pair on the screen stays; the order of the others changes in the background. "
                "Pairs whose answers are nearly the same always go to the end."
            ),
            wrap=True,
        )
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 8, 0)
        column.setSpacing(12)
        for part in (text, self.form, self.keep_filled, self.fill_form):
            column.addWidget(part)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inner)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        cancel = button(self.tr("Cancel"), "quiet")
        cancel.clicked.connect(self.reject)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(cancel)
        foot.addWidget(self.start)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(scroll, 1)
        layout.addLayout(foot)
        self.resize(480, 640)

    @property
    def is_filling(self) -> bool:
        """Whether the queue is to be kept filled."""
        return self.keep_filled.isChecked()

    def settings(self) -> QueueSettings:
        """How pairs are put in order.

        Raises:
            SettingsError: Something must be corrected first.
        """
        return self.form.settings()

    def fill_settings(self) -> FillSettings:
        """What is generated.

        Raises:
            SettingsError: Something must be corrected first.
        """
        return self.fill_form.settings()

    def _update(self) -> None:
        """Shares count in a mix only, sources only while the queue is filled."""
        is_mix = self.form.fields["strategy"].value() == "mix"
        for name in _SHARES:
            self.form.fields[name].set_locked(not is_mix)
        self.fill_form.setEnabled(self.is_filling)
        self.start.setEnabled(not (self.form.n_problems() or self.fill_form.n_problems()))
