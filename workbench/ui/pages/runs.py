"""All runs of the experiment: what they were, how they ended, and what can be made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

from PySide6.QtCore import Qt
from PySide6.QtGui import QShortcut
from PySide6.QtWidgets import QDialog, QStackedWidget, QVBoxLayout, QWidget

from workbench.app import again, comparing, lineage, metric_export, run_table
from workbench.app import runs as app_runs
from workbench.app.lineage import Node
from workbench.app.run_table import Finals, RunRow
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.asking import Asking
from workbench.ui.pages.again_note import AgainNote
from workbench.ui.pages.doctor_note import DoctorNote
from workbench.ui.pages.export_dialog import ExportDialog
from workbench.ui.pages.lineage_panel import LineagePanel
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.run_details import RunDetails
from workbench.ui.pages.run_facts import OPEN, Verdict
from workbench.ui.pages.runs_bar import RunsBar
from workbench.ui.pages.runs_columns import run_columns
from workbench.ui.pages.runs_compare import CompareView
from workbench.ui.pages.runs_dialogs import DeleteDialog, FiguresDialog, NoteDialog
from workbench.ui.pages.runs_filters import RunsFilters
from workbench.ui.pages.runs_table import RunsTable
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.plural import counted
from workbench.ui.widgets import Card, PageHeader, button

_PAGES = {"reward": "reward", "policy": "train", "evaluation": "evaluate"}
_RESUMABLE = ("interrupted", "stopped", "failed")


class RunsPage(Page):
    """Table of runs with details. Calls app.runs, app.run_table, app.again, app.lineage."""

    key = "runs"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._runs: list[Run] = []
        self._finals: dict[int, Finals] = {}
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_finals)
        self._build_header()
        self.banner = VerdictBanner()
        self.table = RunsTable(run_columns(), self.tr("Runs"))
        self.table.chosen.connect(self._on_current)
        self.table.selection_changed.connect(self._update)
        self.table.order_changed.connect(self._on_header)
        self.table.doubleClicked.connect(self.open_run)
        self.filters = RunsFilters([column.title for column in self.table.run_columns])
        self.filters.changed.connect(self._show)
        self.filters.order_changed.connect(self._on_order)
        self.bar = RunsBar(is_read_only=ws.is_read_only)
        self.table_card = Card(self.tr("All runs"))
        self.table_card.body.addWidget(self.filters)
        self.table_card.body.addWidget(self.table, 1)
        self.table_card.body.addWidget(self.bar)
        self.details = RunDetails()
        self.doctor = DoctorNote(ws)
        self.again = AgainNote(ws)
        self.compare = CompareView(ws, context.theme)
        self.lineage = LineagePanel(ws, context.theme)
        self._lay_out()
        self._connect()

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Runs"))
        self.lineage_button = button(self.tr("Lineage"), "quiet", icon="runs")
        self.lineage_button.setCheckable(True)
        self.lineage_button.clicked.connect(self.toggle_lineage)
        self.resume_button = button(self.tr("Resume run"), "quiet", icon="play")
        self.resume_button.clicked.connect(self.resume)
        self.export_button = button(self.tr("Export adapter"), "outlined", icon="export")
        self.export_button.clicked.connect(self._ask_export)
        self.open_button = button(self.tr("Open run"), "filled")
        self.open_button.clicked.connect(self.open_run)
        self.compare_button = button(self.tr("Compare runs"), "outlined")
        self.context.actions.show_key(self.compare_button, "runs.compare")
        self.compare_button.clicked.connect(self.toggle_compare)
        for widget in (
            self.lineage_button,
            self.resume_button,
            self.export_button,
            self.open_button,
            self.compare_button,
        ):
            self.header.add_action(widget)

    def _lay_out(self) -> None:
        one = QWidget()
        column = QVBoxLayout(one)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        for note in (self.doctor, self.again):
            column.addWidget(note)
        column.addWidget(self.details, 1)
        self.below = QStackedWidget()
        self.below.addWidget(one)
        self.below.addWidget(self.compare)
        runs = QWidget()
        self._rows = QVBoxLayout(runs)
        self._rows.setContentsMargins(0, 0, 0, 0)
        self._rows.setSpacing(12)
        self._rows.addWidget(self.table_card, 3)
        self._rows.addWidget(self.below, 2)
        self.stack = QStackedWidget()
        self.stack.addWidget(runs)
        self.stack.addWidget(self.lineage)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(self.header)
        layout.addWidget(self.banner)
        layout.addWidget(self.stack, 1)

    def _connect(self) -> None:
        self.bar.note_button.clicked.connect(self.edit_note)
        self.bar.clone_button.clicked.connect(self.clone)
        self.bar.again_button.clicked.connect(self.run_again)
        self.bar.figures_button.clicked.connect(self._ask_figures)
        self.bar.delete_button.clicked.connect(self.delete)
        # As in a file manager. The table takes some of these keys for its search by letters.
        for key, do in (
            (Qt.Key.Key_Return, self.open_run),
            (Qt.Key.Key_Delete, self.delete),
            (Qt.Key.Key_F2, self.edit_note),
        ):
            QShortcut(key, self.table, context=Qt.ShortcutContext.WidgetShortcut).activated.connect(
                do
            )
        self.context.bridge.finished.connect(self._on_finished)
        self.lineage.opened.connect(self._open_node)
        self.context.actions.on("runs.export", self._export_here)
        self.context.actions.on("runs.compare", lambda: self._here(self.toggle_compare))
        self.context.actions.on("runs.lineage", lambda: self._here(self.toggle_lineage))

    # What is shown

    def refresh(self) -> None:
        """Read the runs again; their figures come a moment later."""
        self._runs = app_runs.runs(self.ws)
        self.filters.offer_tags(run_table.tags(self._runs))
        self._show()
        if self.is_lineage_shown:
            self.lineage.refresh()
        if self.is_comparing and any(run.status in OPEN for run in self.chosen()):
            self.compare.refresh()
        unread = [r.id for r in self._runs if r.id not in self._finals or r.status in OPEN]
        if unread:
            ws = self.ws
            self._asking.ask(lambda: run_table.finals(ws, unread))

    def _on_finals(self, answer: object) -> None:
        self._finals.update(cast("dict[int, Finals]", answer))
        self._show()

    def _show(self) -> None:
        wanted = self.filters.wanted()
        rows = [RunRow(r, self._finals.get(r.id, {})) for r in self._runs if wanted.holds(r)]
        n = len(self._runs)
        facts = counted(n, self.tr("1 run"), self.tr("{n} runs"))
        if len(rows) < n:
            facts = self.tr("{shown} of {n} runs shown").format(shown=len(rows), n=n)
        self.header.set_facts(facts)
        self.table.show_rows(rows)
        if self.table.current() is None and rows:
            self.table.selectRow(0)

    def _on_header(self) -> None:
        self.filters.show_order(self.table.sorted_by, is_falling=self.table.is_falling)

    def _on_order(self) -> None:
        self.table.order_by(self.filters.column(), is_falling=self.filters.turn.isChecked())

    def chosen(self) -> list[Run]:
        """The chosen runs, from top to bottom."""
        return [row.run for row in self.table.chosen_rows()]

    def current(self) -> Run | None:
        """The run that has the cursor."""
        row = self.table.current()
        return None if row is None else row.run

    def _on_current(self, row: RunRow | None) -> None:
        run = None if row is None else row.run
        self.details.show_run(run)
        self.doctor.show_run(run)
        self.again.show_run(run)
        self._update()

    def _update(self) -> None:
        run = self.current()
        is_policy = run is not None and run.kind == "policy"
        self.open_button.setEnabled(run is not None)
        self.open_button.setToolTip(
            self.tr("Show it on its page") if run else self.tr("Choose a run.")
        )
        self.resume_button.setVisible(is_policy and run is not None and run.status in _RESUMABLE)
        has_adapter = run is not None and run.status in ("done", "stopped") and is_policy
        self.export_button.setEnabled(has_adapter)
        self.export_button.setToolTip(
            self.tr("Write the adapter as a PEFT folder, or merged into the model")
            if has_adapter
            else self.tr("Choose a policy run that has finished or was saved.")
        )
        chosen = self.chosen()
        self.bar.show_chosen(chosen)
        if self.is_comparing:
            self.compare.show_runs([run.id for run in chosen])
        can_compare = comparing.FEWEST <= len(chosen) <= comparing.MOST
        self.compare_button.setEnabled(can_compare or self.is_comparing)
        self.compare_button.setText(
            self.tr("Back to details") if self.is_comparing else self.tr("Compare runs")
        )
        self.compare_button.setToolTip(
            self.tr("Charts, settings and figures side by side")
            if self.compare_button.isEnabled()
            else self.tr("Choose two to six runs in the table, with Shift or Ctrl.")
        )
        is_next = can_compare and not self.is_comparing
        self.compare_button.set_kind("filled" if is_next else "outlined")
        self.open_button.set_kind("outlined" if is_next else "filled")

    # Comparing, and lineage

    @property
    def is_comparing(self) -> bool:
        """Whether the chosen runs are shown side by side."""
        return self.below.currentWidget() is self.compare

    @property
    def is_lineage_shown(self) -> bool:
        """Whether the graph takes the place of the table."""
        return self.stack.currentWidget() is self.lineage

    def _here(self, do: Callable[[], None]) -> None:
        """From another page a command leads here first."""
        if not self.isVisible():
            self.context.show_page(self.key)
        do()

    def toggle_compare(self) -> None:
        """Show the chosen runs side by side under the table, or one in detail."""
        if not self.compare_button.isEnabled():
            return
        self.show_table()
        will_compare = not self.is_comparing
        self.below.setCurrentIndex(int(will_compare))
        self.bar.setVisible(not will_compare)
        self._rows.setStretch(0, 2 if will_compare else 3)
        self._rows.setStretch(1, 4 if will_compare else 2)
        self._update()

    def toggle_lineage(self) -> None:
        """Show the graph, or the table again."""
        if self.is_lineage_shown:
            self.show_table()
            return
        self.stack.setCurrentWidget(self.lineage)
        self.lineage_button.setChecked(True)
        self.lineage_button.setText(self.tr("Back to table"))
        self.lineage.show_run(self.current())
        self.lineage.graph.setFocus()

    def show_table(self) -> None:
        """Show the table in place of the graph."""
        self.stack.setCurrentIndex(0)
        self.lineage_button.setChecked(False)
        self.lineage_button.setText(self.tr("Lineage"))

    def _open_node(self, node: Node) -> None:
        """Go to the page of what was made; what an export was made from is chosen here."""
        if node.run_id is None:
            self.context.show_page("preferences")
        elif self.ws.experiment.runs.is_deleted(node.run_id):
            undo = self.context.actions.key("edit.undo") or self.tr("Undo")
            text = self.tr("{run} was deleted.").format(run=node.title)
            self.context.notify(
                "warn", text, self.tr("{undo} may bring it back.").format(undo=undo)
            )
        elif node.kind == "export":
            self.show_table()
            self.table.choose([node.run_id])
            self.table.setFocus()
        else:
            self.context.show_run(_PAGES[self.ws.run(node.run_id).kind], node.run_id)

    # Actions on one run

    def _export_here(self) -> None:
        if not self.isVisible():
            self.context.show_page(self.key)
        if self.export_button.isEnabled():
            self._ask_export()

    def open_run(self) -> None:
        """Go to the page of the chosen run and show it there."""
        run = self.current()
        if run is not None:
            self.context.show_run(_PAGES[run.kind], run.id)

    def resume(self) -> None:
        """Go on with the chosen run and watch it on its page."""
        run = self.current()
        if run is not None and self._submit(lambda: app_runs.resume(self.ws, run.id)):
            self.context.show_page("train")

    def clone(self) -> None:
        """Fill the form of the Train page with the chosen run's settings and inputs."""
        run = self.current()
        if run is not None and self.bar.clone_button.isEnabled():
            self.context.clone_run(run.id)

    def run_again(self) -> None:
        """Train once more with the same settings, inputs and data."""
        run = self.current()
        if run is not None and self.bar.again_button.isEnabled():
            self._submit(lambda: again.again(self.ws, run.id))

    def edit_note(self) -> None:
        """Ask for the chosen run's note and tags, and keep them."""
        run = self.current()
        if run is None or not self.bar.note_button.isEnabled():
            return
        dialog = NoteDialog(self, run, run_table.tags(self._runs))
        if dialog.exec() == QDialog.DialogCode.Accepted:
            self.say_of(run, dialog.note.toPlainText().strip(), dialog.tag_list())

    def say_of(self, run: Run, note: str, tags: list[str]) -> None:
        """Give a run a note and tags; undo takes back one after the other."""

        def change() -> None:
            app_runs.set_note(self.ws, run.id, note)
            app_runs.set_tags(self.ws, run.id, tags)

        self._change(change)

    def _ask_export(self) -> None:
        run = self.current()
        if run is None:
            return
        dialog = ExportDialog(self, run, self.ws.path / "exports")
        if dialog.exec() == QDialog.DialogCode.Accepted:
            folder, is_merged = dialog.folder(), dialog.is_merged.isChecked()
            self.export(run, folder, is_merged)

    def export(self, run: Run, folder: Path, is_merged: bool) -> None:
        """Write the run's adapter or merged model to a new folder."""
        self._submit(lambda: app_runs.export_adapter(self.ws, run.id, folder, is_merged))

    # Actions on several runs

    def _ask_figures(self) -> None:
        runs = self.chosen()
        dialog = FiguresDialog(self, runs, self.ws.path / "exports")
        if runs and dialog.exec() == QDialog.DialogCode.Accepted:
            self.export_figures(runs, dialog.form.currentData(), dialog.folder())

    def export_figures(self, runs: list[Run], form: str, folder: Path) -> None:
        """Write the figures of runs to a new folder."""
        ids = [run.id for run in runs]
        self._submit(lambda: metric_export.export_metrics(self.ws, ids, form, folder))

    def delete(self) -> None:
        """Take the chosen runs out of all lists; what was made from them is told before."""
        runs = self.chosen()
        if not runs or not self.bar.delete_button.isEnabled():
            return
        gone = {run.id for run in runs}
        made = {m.id: m for r in runs for m in lineage.dependants(self.ws, r.id)}
        left = [m for m in made.values() if m.id not in gone]
        if left and DeleteDialog(self, runs, left).exec() != QDialog.DialogCode.Accepted:
            return
        if self._change(lambda: app_runs.delete(self.ws, list(gone))):
            undo = self.context.actions.key("edit.undo") or self.tr("Undo")
            self.context.notify(
                "ok",
                counted(len(runs), self.tr("{n} run deleted."), self.tr("{n} runs deleted.")),
                self.tr("{undo} brings it back. Its files stay on the disk.").format(undo=undo),
            )

    def _change(self, change: Callable[[], object]) -> bool:
        """Change records; trouble that the user can act on is told."""
        try:
            change()
        except WorkbenchError as error:
            self._say(Verdict("bad", error.message, error.hint))
            return False
        self.context.bridge.experiment_changed.emit()
        return True

    def _submit(self, start: Callable[[], Job]) -> bool:
        try:
            self._job = start()
        except WorkbenchError as error:
            self._say(Verdict("bad", error.message, error.hint))
            return False
        self.banner.tell(None)
        self.context.bridge.watch(self._job)
        return True

    def _on_finished(self, job: Job, finished: Finished) -> None:
        # Its last figures may not have been read yet.
        self._finals.pop(job.run_id or 0, None)
        if job is not self._job or job.kind != "export":
            return
        self._job = None
        if finished.error:
            self._say(Verdict("bad", finished.error.message, finished.error.hint))
        elif finished.outcome == "done":
            folder = str(finished.result.get("folder", ""))
            self._say(Verdict("ok", self.tr("{job} is done").format(job=job.title), folder))

    def _say(self, verdict: Verdict) -> None:
        self.banner.tell(verdict)
