"""What annotators said: every standing judgement, to search, to look at again, to carry away."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QFileDialog,
    QSplitter,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from workbench.app import judgements_list, labelling, preference_export, preference_import
from workbench.app.preference_export import ExportChoice
from workbench.app.preference_import import ImportResult
from workbench.app.tour import free_folder
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.store.judgement_list import ListedJudgement
from workbench.ui.forms.settings_dialog import SettingsDialog
from workbench.ui.models.judgements import judgement_fetch, judgement_key
from workbench.ui.models.keyset import KeysetModel
from workbench.ui.pages.chosen_bar import ChosenBar
from workbench.ui.pages.export_preferences_dialog import ExportPreferencesDialog
from workbench.ui.pages.import_dialog import ImportDialog
from workbench.ui.pages.judge_dialog import JudgeDialog, suggestion_words
from workbench.ui.pages.judgement_detail import JudgementDetail
from workbench.ui.pages.judgement_filters import JudgementFilters
from workbench.ui.pages.judgement_words import annotator_text, seconds_text, verdict_text
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.wording import moment
from workbench.ui.plural import counted
from workbench.ui.rank_controls import ProgressLine
from workbench.ui.widgets import Card, EmptyState, PageHeader, button


class PreferencesPage(Page):
    """Table of judgements.

    Calls app.judgements_list, labelling, preference_import and preference_export.
    """

    key = "preferences"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._n_matching = 0
        self._is_all_chosen = False
        self._build_header()
        self.detail = JudgementDetail()
        self.detail.again.clicked.connect(self.rank_again)
        self._build_table()
        self.progress = ProgressLine()
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
        columns = [
            Column[ListedJudgement](
                self.tr("Verdict"), lambda p: verdict_text(p.judgement), "A slightly better"
            ),
            Column[ListedJudgement](self.tr("Prompt"), lambda p: p.prompt.text),
            Column[ListedJudgement](
                self.tr("Annotator"), lambda p: annotator_text(p.judgement), "imported: anna"
            ),
            Column[ListedJudgement](
                self.tr("Time"),
                lambda p: seconds_text(p.judgement),
                "000.0 s",
                is_number=True,
                is_optional=True,
            ),
            Column[ListedJudgement](
                self.tr("Tags"), lambda p: ", ".join(p.tags), "key facts, to", is_optional=True
            ),
            Column[ListedJudgement](
                self.tr("When"),
                lambda p: moment(p.judgement.created_at),
                "0000-00-00 00:00",
                is_optional=True,
            ),
        ]
        self.model = KeysetModel(columns, judgement_key, self)
        self.table: RowsView[ListedJudgement] = RowsView(columns, self.tr("Judgements"), self.model)
        self.table.setSelectionMode(QTableView.SelectionMode.ExtendedSelection)
        self.table.chosen.connect(self.detail.show_listed)
        self.table.doubleClicked.connect(self.rank_again)
        self.table.selectionModel().selectionChanged.connect(self._choice_changed)
        self.model.rowsInserted.connect(self._extend_choice)
        for key, action in (
            (QKeySequence.StandardKey.Delete, self.delete_chosen),
            (QKeySequence.StandardKey.SelectAll, self.choose_all),
            (QKeySequence(Qt.Key.Key_Return), self.rank_again),
        ):
            shortcut = QShortcut(QKeySequence(key), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(action)
        self.filters = JudgementFilters()
        self.filters.changed.connect(self._filter)
        self.filters.opened.connect(self._offer)
        self.bar = ChosenBar()
        self.bar.all_wanted.connect(self.choose_all)
        self.bar.again_button.clicked.connect(self.queue_chosen_again)
        self.bar.delete_button.clicked.connect(self.delete_chosen)
        self._table_card = Card(self.tr("Judgements"))
        self._table_card.body.addWidget(self.filters)
        self._table_card.body.addWidget(self.table, 1)
        self._table_card.body.addWidget(self.bar)

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
        if self.filters.is_open:
            self._offer()
        if self.model.is_started:
            self.model.refresh()
            self._count(is_same=True)
        else:
            self._filter()
        self.detail.show_listed(self.table.current())

    def _facts(self, n: int) -> str:
        if not n:
            return ""
        told = counted(n, self.tr("{n} judgement"), self.tr("{n} judgements"))
        kinds = list(self.ws.experiment.judgements.annotators().values())
        n_people = len(kinds) - kinds.count("simulated") - kinds.count("ai")
        by = counted(n_people, self.tr("{n} annotator"), self.tr("{n} annotators"))
        if "simulated" in kinds:
            by = self.tr("{annotators} and a simulated one").format(annotators=by)
        if n_judges := kinds.count("ai"):
            judges = counted(n_judges, self.tr("{n} AI judge"), self.tr("{n} AI judges"))
            by = self.tr("{annotators} and {judges}").format(annotators=by, judges=judges)
        return self.tr("{judgements} by {annotators}").format(judgements=told, annotators=by)

    def _offer(self) -> None:
        experiment = self.ws.experiment
        self.filters.offer(
            experiment.judgement_list.annotators(),
            list(experiment.prompts.groups()),
            list(experiment.remarks.vocabulary()),
        )

    def _filter(self) -> None:
        fetch = judgement_fetch(self.ws, self.filters.wanted(), self.filters.order())
        self.model.start(fetch)
        self._count(is_same=False)
        if self.model.rows:
            self.table.selectRow(0)
        self.detail.show_listed(self.table.current())

    def _count(self, *, is_same: bool) -> None:
        """Count what matches; a choice of all holds only while it is the same."""
        n_before = self._n_matching
        self._n_matching = judgements_list.count(self.ws, self.filters.wanted())
        self._is_all_chosen = self._is_all_chosen and is_same and n_before == self._n_matching
        self._table_card.set_fact(
            counted(self._n_matching, self.tr("{n} judgement"), self.tr("{n} judgements"))
        )
        self._tell_choice()

    # The choice

    def chosen(self) -> list[ListedJudgement]:
        """The chosen rows that are loaded, in order."""
        places = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self.model.rows[i] for i in places]

    def choose_all(self) -> None:
        """Choose all that match the filter, loaded or not."""
        self.table.selectAll()
        self._is_all_chosen = self._n_matching > 0
        self._tell_choice()

    def _extend_choice(self) -> None:
        if self._is_all_chosen:
            self.choose_all()

    def _choice_changed(self) -> None:
        self._is_all_chosen = False
        self._tell_choice()

    def _tell_choice(self) -> None:
        why_not = ""
        if self.ws.is_read_only:
            why_not = self.tr("Not while the experiment is open read-only.")
        n = len(self.table.selectionModel().selectedRows())
        self.bar.show_chosen(n, self._n_matching, is_all=self._is_all_chosen, why_not=why_not)

    def delete_chosen(self) -> None:
        """Hide the pairs of the chosen judgements; undo brings them back."""
        self._change(
            lambda: judgements_list.delete_all(self.ws, self.filters.wanted()),
            lambda rows: judgements_list.delete_pairs(
                self.ws, [row.judgement.comparison_id for row in rows]
            ),
            (self.tr("{n} pair deleted."), self.tr("{n} pairs deleted.")),
        )

    def queue_chosen_again(self) -> None:
        """Take the chosen judgements back, so that their pairs wait again."""
        self._change(
            lambda: judgements_list.take_back_all(self.ws, self.filters.wanted()),
            lambda rows: judgements_list.take_back(self.ws, [row.judgement.id for row in rows]),
            (self.tr("{n} judgement taken back."), self.tr("{n} judgements taken back.")),
        )

    def _change(
        self,
        change_all: Callable[[], int | Job],
        change: Callable[[list[ListedJudgement]], int | Job],
        sentences: tuple[str, str],
    ) -> None:
        rows = self.chosen()
        if self.ws.is_read_only or not (rows or self._is_all_chosen):
            return
        place = self.model.rows.index(rows[0]) if rows else 0

        def do() -> None:
            done = change_all() if self._is_all_chosen else change(rows)
            if isinstance(done, Job):
                self.context.bridge.watch(done)
                return
            self.context.bridge.experiment_changed.emit()
            if self.model.rows:
                self.table.selectRow(min(place, len(self.model.rows) - 1))
            self.context.notify(
                "ok",
                counted(done, *sentences),
                self.tr("{undo} makes it as it was before.").format(
                    undo=self.context.actions.key("edit.undo") or self.tr("Undo")
                ),
            )

        self._do(do)

    def rank_again(self) -> None:
        """Show the chosen pair in the rank panel: a new verdict stands instead of the old one."""
        listed = self.table.current()
        if listed is not None:
            self.context.rank_panel().show_comparison(listed.judgement.comparison_id)

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
        dialog = SettingsDialog(
            self.window(),
            AnnotatorSettings(),
            self.tr("Simulate annotator"),
            self.tr(
                "A rule judges every pair that it has not judged yet: the friendlier and shorter "
                "answer wins. Its judgements are marked as simulated in every table and export, "
                "and undo takes them back as a whole. Where you judged a pair yourself, your "
                "judgement counts."
            ),
            self.tr("Judge the pairs"),
        )
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
