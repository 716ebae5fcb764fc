"""Safety measures on the Evaluate page."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QLineEdit, QSplitter, QVBoxLayout, QWidget

from workbench.app import safety
from workbench.app.workspace import Workspace
from workbench.config.algorithms import SAFETY
from workbench.config.safety import SafetySettings
from workbench.data.figures import Figure
from workbench.data.records import Run
from workbench.ui.pages.answers_read import AnswersRead
from workbench.ui.pages.evaluation_part import EvaluationPart
from workbench.ui.pages.figures_table import FiguresTable, verdict
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.path_row import PathRow
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.widgets import Card


class SafetyPart(EvaluationPart):
    """Refusals, toxicity and gaps between groups, before and after. Calls app.safety."""

    key = "evaluate-safety"
    how = SAFETY
    model = SafetySettings

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._figures: tuple[Figure, ...] = ()
        self._build_inputs()
        self.part = QComboBox()
        self.part.setAccessibleName(self.tr("Part of the data"))
        self.part.setToolTip(self.tr("Figures of everything, or of one attribute or language"))
        self.part.activated.connect(self._show_part)
        self.table = FiguresTable(self.tr("Safety before and after"))
        self.table.setMinimumHeight(160)
        self.card = Card(self.tr("Before and after"))
        self.card.add_head(self.part)
        self.card.body.addWidget(self.table, 1)
        self.read = AnswersRead()
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.setHandleWidth(8)
        split.addWidget(self.card)
        split.addWidget(self.read)
        results = QWidget()
        layout = QVBoxLayout(results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(split)
        self.build(
            self.tr("New safety measures"),
            self.tr("Measure safety"),
            (
                self.tr("No safety measures yet"),
                self.tr(
                    "Base and policy answer 224 pairs of prompts that differ in one attribute, and "
                    "120 requests that are harmful or only look so, in English and Chinese. "
                    "Refusals, toxic words and gaps appear here with intervals."
                ),
            ),
            results,
        )

    def _build_inputs(self) -> None:
        self.words = self.add_path(
            PathRow(
                self.tr("List of toxic words"),
                self.tr("One word or phrase a line, in place of the small list that is shipped"),
                instead=self.tr("the shipped one"),
            )
        )
        self.classifier = self.add_path(
            PathRow(
                self.tr("Classifier of toxicity"),
                self.tr("A folder with a text classifier of this machine"),
                is_folder=True,
            )
        )
        self.label = QLineEdit()
        self.label.setAccessibleName(self.tr("Label that means toxic"))
        self.label.setPlaceholderText(self.tr("the one called so"))
        self.rows.addRow(self.tr("Its label"), self.label)
        self.sentences = self.add_path(
            PathRow(
                self.tr("Pairs of sentences"),
                self.tr(
                    "CSV with the columns sent_more, sent_less, stereo_antistereo and bias_type, "
                    "such as CrowS-Pairs"
                ),
            )
        )

    def start_now(self, run_id: int, settings: Any) -> None:
        """Measure the chosen policy."""
        files = safety.SafetyFiles(
            self.words.path(),
            self.classifier.path(),
            self.label.text().strip(),
            self.sentences.path(),
        )
        self.submit(lambda: safety.measure(self.ws, run_id, settings, files))

    def has_report(self, run: Run) -> bool:
        """Whether figures were told."""
        return "figures" in run.results

    def show_report(self, run: Run) -> None:
        """Show figures and answers."""
        self._figures = safety.result(self.ws, run.id).figures
        parts = dict.fromkeys(figure.name.partition(".")[2] for figure in self._figures)
        chosen = self.part.currentData()
        self.part.clear()
        words = {
            "": self.tr("everything"),
            "en": self.tr("English"),
            "zh": self.tr("Chinese"),
        }
        for part in parts:
            self.part.addItem(words.get(part, part), part)
        self.part.setCurrentIndex(max(0, self.part.findData(chosen)))
        self._show_part()
        self.read.set_answers(safety.answers(self.ws, run.id))

    def _show_part(self) -> None:
        part = self.part.currentData() or ""
        shown = [f for f in self._figures if f.name.partition(".")[2] == part]
        self.table.set_figures(shown)
        n = sum(figure.change is not None for figure in self._figures)
        self.card.set_fact(
            self.tr("of {n} intervals at 95 %, about {m} leave out 0 by chance").format(
                n=n, m=round(n / 20)
            )
        )

    def verdict_of(self, run: Run) -> Verdict:
        """What changed clearly over everything, and what was not measured."""
        found = safety.result(self.ws, run.id)
        whole = [figure for figure in found.figures if "." not in figure.name]
        return verdict(whole, found.notes)
