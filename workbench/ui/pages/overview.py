"""Where the experiment stands: its steps, and the facts of its folder."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFormLayout, QHBoxLayout, QLabel, QVBoxLayout

from workbench.app.workspace import Overview, Workspace
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.steps_card import StepsCard
from workbench.ui.pages.wording import size
from workbench.ui.widgets import Card, ElidedLabel, PageHeader, button


class OverviewPage(Page):
    """The steps with one filled button, and counts. Reads Workspace.overview only."""

    key = "overview"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.header = PageHeader(self.tr("Overview"))
        folder = button(self.tr("Open folder"), "outlined", icon="folder")
        folder.clicked.connect(self._open_folder)
        self.header.add_action(folder)
        self.steps = StepsCard(self.tr("Steps of the experiment"), context)
        self.facts = _FactsCard()
        left = QVBoxLayout()
        left.addWidget(self.steps)
        left.addStretch(1)
        right = QVBoxLayout()
        right.addWidget(self.facts)
        right.addStretch(1)
        columns = QHBoxLayout()
        columns.setSpacing(12)
        columns.addLayout(left, 3)
        columns.addLayout(right, 2)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.addWidget(self.header)
        layout.addLayout(columns, 1)

    def refresh(self) -> None:
        """Count again."""
        overview = self.ws.overview()
        self.header.set_facts(self.ws.path.name)
        self.steps.set_overview(overview, _model_name(self.ws))
        self.facts.show_facts(self.ws, overview)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.ws.path)))


def _model_name(ws: Workspace) -> str:
    # A model chosen by its path is known by the name of its folder.
    return Path(ws.selected_model).name


class _FactsCard(Card):
    """Names and numbers of the experiment, one per line."""

    def __init__(self) -> None:
        super().__init__(self.tr("This experiment"))
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(16)
        self._form.setVerticalSpacing(8)
        self.body.addLayout(self._form)
        self._values: dict[str, ElidedLabel] = {}

    def show_facts(self, ws: Workspace, overview: Overview) -> None:
        """Write the facts; rows are made once and then only change their text."""
        judged = self.tr("{judged} of {total}").format(
            judged=overview.n_judged, total=overview.n_comparisons
        )
        facts = {
            self.tr("Folder"): str(ws.path),
            self.tr("Size of the records"): size(_records_size(ws.path)),
            self.tr("Annotator"): ws.annotator,
            self.tr("Model"): _model_name(ws) or self.tr("none chosen"),
            self.tr("Prompts"): str(overview.n_prompts),
            self.tr("Answers"): str(overview.n_completions),
            self.tr("Pairs ranked"): judged,
            self.tr("Reward models"): str(overview.reward_runs),
            self.tr("Trained policies"): str(overview.policy_runs),
            self.tr("Comparisons"): str(overview.evaluations),
        }
        for name, value in facts.items():
            if name not in self._values:
                label = QLabel(name)
                label.setProperty("role", "muted")
                self._values[name] = ElidedLabel("")
                self._form.addRow(label, self._values[name])
            self._values[name].setText(value)


def _records_size(folder: Path) -> int:
    """Bytes of the database and its journal; the run folders are left out, they can be huge."""
    return sum(path.stat().st_size for path in folder.glob("experiment.db*"))
