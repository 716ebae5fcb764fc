"""What annotators said: every standing judgement, to search, to look at again, to carry away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import labelling, preference_export, preference_import
from workbench.app.preference_export import ExportChoice
from workbench.app.preference_import import ImportResult
from workbench.app.tour import free_folder
from workbench.app.workspace import Workspace
from workbench.data.records import AnnotatorKind, Verdict
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.store.judgements import JudgedPair
from workbench.ui.models.judgements import judgement_fetch, judgement_key
from workbench.ui.models.keyset import KeysetModel
from workbench.ui.pages.annotator_dialog import AnnotatorDialog
from workbench.ui.pages.export_preferences_dialog import ExportPreferencesDialog
from workbench.ui.pages.import_dialog import ImportDialog
from workbench.ui.pages.judge_dialog import JudgeDialog, suggestion_words
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import moment
from workbench.ui.plural import counted
from workbench.ui.rank_controls import ProgressLine
from workbench.ui.rank_views import PromptView
from workbench.ui.reading import ReadingText
from workbench.ui.widgets import Card, EmptyState, PageHeader, button, label

_TYPING_PAUSE_MS = 150


class PreferencesPage(Page):
    """Table of judgements. Calls app.labelling, preference_import and _export."""

    key = "preferences"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._build_header()
        self._build_table()
        self.progress = ProgressLine()
        self.detail = JudgementDetail()
        self.detail.again.clicked.connect(self.rank_again)
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self._table_card)
        split.addWidget(self.detail)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setSizes([3000, 1700])
        work = QWidget()
        inner = QVBoxLayout(work)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(12)
        inner.addWidget(self.progress)
        inner.addWidget(split, 1)
        self._stack = QStackedWidget()
        self._stack.addWidget(work)
        self._stack.addWidget(self._empty_state())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.addWidget(self.header)
        layout.addWidget(self._stack, 1)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Preferences"))
        self.simulate_button = button(self.tr("Simulate annotator"), "quiet", icon="flask")
        self.simulate_button.clicked.connect(self.simulate)
        self.import_button = button(self.tr("Import preferences"), "outlined", icon="import")
        self.import_button.clicked.connect(self.choose_file)
        self.export_button = button(self.tr("Export preferences"), "filled", icon="export")
        self.export_button.clicked.connect(self.choose_folder)
        self.judge_button = button(self.tr("AI judge"), "quiet", icon="robot")
        self.judge_button.clicked.connect(self.open_judge)
        self.header.add_action(self.judge_button)
        for made in (self.simulate_button, self.import_button, self.export_button):
            self.header.add_action(made)
        self.import_button.setEnabled(not self.ws.is_read_only)
        self.context.bridge.finished.connect(self._on_finished)
        actions = self.context.actions
        actions.on("preferences.export", self.choose_folder)
        actions.on("preferences.import", self.choose_file)
        actions.on("preferences.simulate", self.simulate)
        actions.on("preferences.judge", self.open_judge)
        actions.on("preferences.suggest", self.suggest)

    def _build_table(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Search prompts and answers"))
        self.search.setAccessibleName(self.tr("Search judgements"))
        self.search.setClearButtonEnabled(True)
        self.verdict = QComboBox()
        self.verdict.setAccessibleName(self.tr("Verdict"))
        self.verdict.addItem(self.tr("All verdicts"), None)
        for verdict, word in self.verdict_words().items():
            self.verdict.addItem(word, verdict)
        words = self.verdict_words()
        columns = [
            Column[JudgedPair](
                self.tr("Verdict"), lambda p: words[p.judgement.verdict], "A better "
            ),
            Column[JudgedPair](self.tr("Prompt"), lambda p: p.prompt.text),
            Column[JudgedPair](self.tr("Annotator"), self.annotator_text, "simulated "),
            Column[JudgedPair](
                self.tr("Time"), self.seconds_text, "000.0 s", is_number=True, is_optional=True
            ),
            Column[JudgedPair](
                self.tr("When"),
                lambda p: moment(p.judgement.created_at),
                "0000-00-00 00:00",
                is_optional=True,
            ),
        ]
        self.model = KeysetModel(columns, judgement_key, self)
        self.table: RowsView[JudgedPair] = RowsView(columns, self.tr("Judgements"), self.model)
        self.table.chosen.connect(self._show)
        self.table.doubleClicked.connect(self.rank_again)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_TYPING_PAUSE_MS)
        self._pause.timeout.connect(self._filter)
        self.search.textChanged.connect(self._pause.start)
        self.verdict.activated.connect(self._filter)
        filters = QHBoxLayout()
        filters.setSpacing(8)
        filters.addWidget(self.search, 1)
        filters.addWidget(self.verdict)
        self._table_card = Card(self.tr("Judgements"))
        self._table_card.body.addLayout(filters)
        self._table_card.body.addWidget(self.table, 1)

    def _empty_state(self) -> QWidget:
        rank = button(self.tr("Go to the rank panel"), "outlined", icon="rank")
        rank.clicked.connect(self.context.actions["rank.focus"].trigger)
        return EmptyState(
            "preferences",
            self.tr("No judgements yet"),
            self.tr(
                "Rank pairs of answers in the panel at the right, import preferences, or let the "
                "simulated annotator judge by a stated rule."
            ),
            rank,
        )

    def verdict_words(self) -> dict[Verdict, str]:
        """How verdicts are called."""
        return {
            "first": self.tr("A better"),
            "second": self.tr("B better"),
            "tie": self.tr("Tie"),
            "both_bad": self.tr("Both bad"),
            "skip": self.tr("Skipped"),
        }

    def annotator_text(self, pair: JudgedPair) -> str:
        """Who judged; anything but a person is marked."""
        kinds: dict[AnnotatorKind, str] = {
            "person": "",
            "simulated": self.tr("simulated"),
            "ai": self.tr("AI"),
            "imported": self.tr("imported"),
        }
        name, kind = pair.judgement.annotator, kinds[pair.judgement.annotator_kind]
        if not kind or name == kind:
            return name
        return self.tr("{name} ({kind})").format(name=name, kind=kind)

    def seconds_text(self, pair: JudgedPair) -> str:
        """How long it took; a dash where no person looked at it."""
        seconds = pair.judgement.seconds
        return self.tr("{n} s").format(n=f"{seconds:.1f}") if seconds > 0 else "–"

    def refresh(self) -> None:
        """Read the counts and the table again where it stands."""
        judgements = self.ws.experiment.judgements
        n = judgements.count()
        self._stack.setCurrentIndex(0 if n else 1)
        progress = labelling.progress(self.ws)
        self.progress.show_progress(progress)
        self.export_button.setEnabled(n > 0)
        self.export_button.setToolTip("" if n else self.tr("There is no judgement to export."))
        can_simulate = progress.n_total > 0 and not self.ws.is_read_only
        self.simulate_button.setEnabled(can_simulate)
        self.judge_button.setEnabled(can_simulate)
        self.header.set_facts(self._facts(n))
        if self.model.is_started:
            self.model.refresh()
            self._count()
        else:
            self._filter()
        self._show(self.table.current())

    def _facts(self, n: int) -> str:
        if not n:
            return ""
        told = counted(n, self.tr("{n} judgement"), self.tr("{n} judgements"))
        kinds = self.ws.experiment.judgements.annotators().values()
        n_people = sum(kind != "simulated" for kind in kinds)
        by = counted(n_people, self.tr("{n} annotator"), self.tr("{n} annotators"))
        if "simulated" in kinds:
            by = self.tr("{annotators} and a simulated one").format(annotators=by)
        return self.tr("{judgements} by {annotators}").format(judgements=told, annotators=by)

    def _filter(self) -> None:
        self.model.start(
            judgement_fetch(self.ws, verdict=self.verdict.currentData(), search=self.search.text())
        )
        self._count()
        if self.model.rows:
            self.table.selectRow(0)
        self._show(self.table.current())

    def _count(self) -> None:
        n = self.ws.experiment.judgements.count(
            verdict=self.verdict.currentData(), search=self.search.text()
        )
        self._table_card.set_fact(self.tr("{n} shown, newest first").format(n=n))

    def _show(self, pair: JudgedPair | None) -> None:
        self.detail.show_pair(pair, self.verdict_words())

    def rank_again(self) -> None:
        """Show the chosen pair in the rank panel: a new verdict stands instead of the old one."""
        pair = self.table.current()
        if pair is not None:
            self.context.rank_panel().show_comparison(pair.judgement.comparison_id)

    def open_judge(self) -> None:
        """Try a model on own labels, and let it judge the rest; the window stays free."""
        dialog = JudgeDialog(self.window(), self.ws, self.context)
        dialog.finished.connect(dialog.deleteLater)
        dialog.show()

    def suggest(self) -> None:
        """Say what the AI judge makes of the pair in the rank panel."""
        item = self.context.rank_panel().item
        self.context.notify(*suggestion_words(self.ws, item.comparison.id if item else None))

    def simulate(self) -> None:
        """Let the simulated annotator judge what it has not judged yet."""
        dialog = AnnotatorDialog(self.window())
        dialog.accepted.connect(
            lambda: self._do(
                lambda: self.context.bridge.watch(labelling.simulate(self.ws, dialog.settings()))
            )
        )
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def choose_folder(self) -> None:
        """Ask what to export and where to, then do it."""
        folder = free_folder(self.ws, "preferences")
        dialog = ExportPreferencesDialog(self.window(), self.ws, folder)
        dialog.accepted.connect(lambda: self.export_to(dialog.folder(), dialog.choice()))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def export_to(self, folder: Path, choice: ExportChoice | None = None) -> None:
        """Write preferences into a new folder; what became of it is told at the end."""
        self._do(
            lambda: self.context.bridge.watch(
                preference_export.export_preferences(self.ws, folder, choice)
            )
        )

    def choose_file(self) -> None:
        """Ask for a file, then import it."""
        name, _ = QFileDialog.getOpenFileName(
            self.window(),
            self.tr("Import preferences"),
            "",
            self.tr("Preferences (*.jsonl *.json *.csv *.tsv *.parquet *.gz);;All files (*)"),
        )
        if name:
            self.look_at_file(Path(name))

    def look_at_file(self, path: Path) -> None:
        """Show what a file would add, then add it."""
        dialog = ImportDialog(self.window(), self.ws, path)
        dialog.accepted.connect(lambda: self.import_file(path, dialog.columns, dialog.form))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def import_file(
        self, path: Path, columns: Mapping[str, str] | None = None, form: str | None = None
    ) -> None:
        """Add the good rows of a file; what became of it is told at the end."""
        self._do(
            lambda: self.context.bridge.watch(
                preference_import.import_preferences(self.ws, path, columns, form)
            )
        )

    def _on_finished(self, job: Job, finished: Finished) -> None:
        """Tell what an import or an export of preferences did."""
        if job.kind == "export" and "n_pairs" in finished.result:
            self._tell_export(finished.result)
        elif job.kind == "import" and "n_known" in finished.result:
            self._tell_import(preference_import.result_of(finished.result))

    def _tell_export(self, result: Mapping[str, Any]) -> None:
        n = counted(result["n_pairs"], self.tr("{n} pair"), self.tr("{n} pairs"))
        self.context.notify(
            "ok",
            self.tr("{pairs} exported, {ties} ties and skips beside them.").format(
                pairs=n, ties=result["n_ties"]
            ),
            str(result["folder"]),
        )

    def _tell_import(self, result: ImportResult) -> None:
        first = result.problems[0] if result.problems else None
        self.context.notify(
            "warn" if first else "ok",
            counted(result.n, self.tr("{n} preference added."), self.tr("{n} preferences added.")),
            self.tr("{n} lines left out; line {line}: {message}").format(
                n=result.n_problems, line=first.line, message=first.message
            )
            if first
            else "",
        )

    def _do(self, action: Callable[[], object]) -> None:
        try:
            action()
        except WorkbenchError as error:
            self.context.notify("bad", error.message, error.hint)


class JudgementDetail(Card):
    """One judgement with its prompt and both answers; the preferred one is named."""

    def __init__(self) -> None:
        super().__init__(self.tr("Judgement"))
        self.prompt = PromptView()
        self._heads = (label("", "card-title"), label("", "card-title"))
        self.texts = (ReadingText(self.tr("Answer A")), ReadingText(self.tr("Answer B")))
        self.again = button(self.tr("Rank this pair again"), "outlined", icon="rank")
        self.body.addWidget(self.prompt)
        for head, text in zip(self._heads, self.texts, strict=True):
            self.body.addWidget(head)
            self.body.addWidget(text, 1)
        foot = QHBoxLayout()
        foot.addWidget(self.again)
        foot.addStretch(1)
        self.body.addLayout(foot)

    def show_pair(self, pair: JudgedPair | None, words: dict[Verdict, str]) -> None:
        """Show a judgement; None clears the card."""
        self.setVisible(pair is not None)
        if pair is None:
            return
        self.set_fact(words[pair.judgement.verdict])
        self.prompt.show_prompt(pair.prompt)
        verdict = pair.judgement.verdict
        names = (self.tr("Answer A"), self.tr("Answer B"))
        preferred = {"first": 0, "second": 1}.get(verdict)
        for i, text in enumerate((pair.first_text, pair.second_text)):
            self.texts[i].set_text(text if text.strip() else self.tr("(empty answer)"))
            name = names[i]
            is_preferred = i == preferred
            self._heads[i].setText(
                self.tr("{answer}, preferred").format(answer=name) if is_preferred else name
            )
