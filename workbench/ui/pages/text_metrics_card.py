"""Text metrics on the Evaluate page."""

from __future__ import annotations

from typing import Any

from PySide6.QtWidgets import QComboBox, QVBoxLayout, QWidget

from workbench.app import evaluate, text_evaluation
from workbench.app.workspace import Workspace
from workbench.config.algorithms import TEXT_METRICS
from workbench.config.text_evaluation import TextEvaluationSettings
from workbench.data.records import Run
from workbench.ui.pages.evaluation_part import EvaluationPart
from workbench.ui.pages.figures_table import FiguresTable, verdict
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.path_row import PathRow
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.widgets import Card, label


class TextMetricsPart(EvaluationPart):
    """BLEU, ROUGE, perplexity, variety and more, before and after. Calls app.text_evaluation."""

    key = "evaluate-text"
    how = TEXT_METRICS
    model = TextEvaluationSettings

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.answers = QComboBox()
        self.answers.setAccessibleName(self.tr("Answers to measure"))
        self.answers.setToolTip(
            self.tr("Answers of a comparison are measured as they are, without answering anew")
        )
        self.rows.addRow(self.tr("Answers"), self.answers)
        self.references = self.add_path(
            PathRow(
                self.tr("File of references"),
                self.tr("JSONL or CSV with answers to held-out prompts, in place of your own"),
                instead=self.tr("the experiment's"),
            )
        )
        self.text = self.add_path(
            PathRow(
                self.tr("Held-out text"),
                self.tr("TXT or JSONL that nobody was trained on, for its perplexity"),
            )
        )
        results = QWidget()
        self.card = Card(self.tr("Before and after"))
        self.table = FiguresTable(self.tr("Text metrics before and after"))
        self.signatures = label("", "muted", wrap=True)
        self.card.body.addWidget(self.table, 1)
        self.card.body.addWidget(self.signatures)
        layout = QVBoxLayout(results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.card)
        self.build(
            self.tr("New text metrics"),
            self.tr("Measure texts"),
            (
                self.tr("No text metrics yet"),
                self.tr(
                    "Base and policy answer the held-out prompts with the same seeds. Perplexity, "
                    "BLEU, chrF, ROUGE, variety, repetition and KL appear here with intervals."
                ),
            ),
            results,
        )

    def on_policy(self) -> None:
        """Another policy has other comparisons."""
        super().on_policy()
        self._offer_answers()

    def refresh(self) -> None:
        """Read everything again; comparisons may have come."""
        super().refresh()
        self._offer_answers()

    def _offer_answers(self) -> None:
        """The answers that comparisons of this policy stored; the choice stays."""
        chosen, run_id = self.answers.currentData(), self.policy.run_id()
        self.answers.clear()
        self.answers.addItem(self.tr("Answer the prompts anew"), None)
        for run in [] if run_id is None else evaluate.evaluations(self.ws, run_id):
            self.answers.addItem(self.tr("Those of {run}").format(run=run.name), run.id)
        self.answers.setCurrentIndex(max(0, self.answers.findData(chosen)))

    def start_now(self, run_id: int, settings: Any) -> None:
        """Measure the chosen policy."""
        self.submit(
            lambda: text_evaluation.measure(
                self.ws,
                run_id,
                settings,
                pairs_run=self.answers.currentData(),
                references_file=self.references.path(),
                text_file=self.text.path(),
            )
        )

    def has_report(self, run: Run) -> bool:
        """Whether figures were told."""
        return "figures" in run.results

    def show_report(self, run: Run) -> None:
        """Show the figures, and how sacreBLEU made its own."""
        found = text_evaluation.result(self.ws, run.id)
        self.table.set_figures(found.figures, found.signatures)
        self.signatures.setText("\n".join(f"{k}: {v}" for k, v in found.signatures.items()))
        self.signatures.setVisible(bool(found.signatures))
        self.card.set_fact(
            self.tr("{answers} answers to {prompts} prompts a side, 95 % intervals").format(
                answers=run.results.get("n_answers", 0), prompts=run.results.get("n_prompts", 0)
            )
        )

    def verdict_of(self, run: Run) -> Verdict:
        """What changed clearly, and what was not measured."""
        found = text_evaluation.result(self.ws, run.id)
        return verdict(found.figures, found.notes)
