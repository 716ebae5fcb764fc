"""All runs of the experiment: what they were, how they ended, and what can be taken away."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QDialog, QVBoxLayout

from workbench.app import runs as app_runs
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.events import Finished
from workbench.jobs.runner import Job
from workbench.ui.pages.doctor_note import DoctorNote
from workbench.ui.pages.export_dialog import ExportDialog
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_details import RunDetails, differing
from workbench.ui.pages.run_facts import Verdict, heldout, reason, win_rates
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import MISSING, moment, number, percent_interval, status
from workbench.ui.widgets import Card, PageHeader, button

_PAGES = {"reward": "reward", "policy": "train", "evaluation": "evaluate"}
_RESUMABLE = ("interrupted", "stopped", "failed")


class RunsPage(Page):
    """Table of runs with details; opens, resumes and exports. Calls app.runs."""

    key = "runs"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._finals: dict[int, dict[str, float]] = {}
        self._build_header()
        self.banner = VerdictBanner()
        self.table: RowsView[Run] = RowsView(self._columns(), self.tr("Runs"))
        self.table.chosen.connect(self._on_chosen)
        self.table.doubleClicked.connect(self.open_run)
        table_card = Card(self.tr("All runs"))
        table_card.body.addWidget(self.table)
        self.details = RunDetails()
        self.doctor = DoctorNote(ws)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(self.header)
        layout.addWidget(self.banner)
        layout.addWidget(table_card, 3)
        layout.addWidget(self.doctor)
        layout.addWidget(self.details, 2)
        context.bridge.finished.connect(self._on_finished)
        context.actions.on("runs.export", self._export_here)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Runs"))
        self.resume_button = button(self.tr("Resume run"), "quiet", icon="play")
        self.resume_button.clicked.connect(self.resume)
        self.export_button = button(self.tr("Export adapter"), "outlined", icon="export")
        self.export_button.clicked.connect(self._ask_export)
        self.open_button = button(self.tr("Open run"), "filled", icon="runs")
        self.open_button.clicked.connect(self.open_run)
        for widget in (self.resume_button, self.export_button, self.open_button):
            self.header.add_action(widget)

    def _columns(self) -> list[Column[Run]]:
        return [
            Column(self.tr("Run"), lambda r: r.name),
            Column(self.tr("State"), _word, "interrupted", icon=self._icon, tooltip=_why),
            Column(self.tr("Updates"), self._updates, "0000 / 0000", True),
            Column(self.tr("Reward"), lambda r: self._final(r, "objective/scores"), "−00.00", True),
            Column(self.tr("KL, nats"), lambda r: self._final(r, "objective/kl"), "KL, nats", True),
            Column(self.tr("Held-out or win rate"), _share, "Held-out or win rate", True),
            Column(
                self.tr("Settings"), _summary, "Updates 20, Learning rate 0.001,", is_optional=True
            ),
            Column(
                self.tr("Started"),
                lambda r: moment(r.created_at),
                "0000-00-00 00:00",
                is_optional=True,
            ),
        ]

    def _icon(self, run: Run) -> QIcon | None:
        return self.context.theme.status_icon(status(run.status)[0])

    def refresh(self) -> None:
        """Read the runs again."""
        runs = app_runs.runs(self.ws)
        for run in runs:
            if run.kind == "policy" and (run.id not in self._finals or run.finished_at is None):
                self._finals[run.id] = _last(app_runs.metrics(self.ws, run.id))
        self.header.set_facts(
            self.tr("1 run") if len(runs) == 1 else self.tr("{n} runs").format(n=len(runs))
        )
        self.table.set_rows(runs, key=lambda r: r.id)
        if self.table.current() is None and runs:
            self.table.selectRow(0)
        self._update()

    def _final(self, run: Run, name: str) -> str:
        return number(self._finals.get(run.id, {}).get(name))

    def _updates(self, run: Run) -> str:
        if run.kind != "policy":
            return MISSING
        done = int(self._finals.get(run.id, {}).get("step", 0))
        return f"{done} / {run.settings.get('updates', MISSING)}"

    def _on_chosen(self, run: Run | None) -> None:
        self.details.show_run(run)
        self.doctor.show_run(run)
        self._update()

    def _update(self) -> None:
        run = self.table.current()
        is_policy = run is not None and run.kind == "policy"
        self.open_button.setEnabled(run is not None)
        self.resume_button.setVisible(is_policy and run is not None and run.status in _RESUMABLE)
        has_adapter = run is not None and run.status in ("done", "stopped") and is_policy
        self.export_button.setEnabled(has_adapter)
        self.export_button.setToolTip(
            self.tr("Write the adapter as a PEFT folder, or merged into the model")
            if has_adapter
            else self.tr("Choose a policy run that has finished or was saved.")
        )

    # Actions

    def _export_here(self) -> None:
        if not self.isVisible():
            self.context.show_page(self.key)
        if self.export_button.isEnabled():
            self._ask_export()

    def open_run(self) -> None:
        """Go to the page of the chosen run and show it there."""
        run = self.table.current()
        if run is not None:
            self.context.show_run(_PAGES[run.kind], run.id)

    def resume(self) -> None:
        """Go on with the chosen run and watch it on its page."""
        run = self.table.current()
        if run is not None and self._submit(lambda: app_runs.resume(self.ws, run.id)):
            self.context.show_page("train")

    def _ask_export(self) -> None:
        run = self.table.current()
        if run is None:
            return
        dialog = ExportDialog(self, run, self.ws.path / "exports")
        if dialog.exec() == QDialog.DialogCode.Accepted:
            folder, is_merged = dialog.folder(), dialog.is_merged.isChecked()
            self.export(run, folder, is_merged)

    def export(self, run: Run, folder: Path, is_merged: bool) -> None:
        """Write the run's adapter or merged model to a new folder."""
        self._submit(lambda: app_runs.export_adapter(self.ws, run.id, folder, is_merged))

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


def _word(run: Run) -> str:
    return status(run.status)[1]


def _why(run: Run) -> str:
    return reason(run) or _word(run)


def _last(metrics: Mapping[str, Sequence[tuple[int, float]]]) -> dict[str, float]:
    """Last value of each metric, and the last step under "step"."""
    last = {name: points[-1][1] for name, points in metrics.items() if points}
    last["step"] = max((points[-1][0] for points in metrics.values() if points), default=0)
    return last


def _share(run: Run) -> str:
    held = heldout(run)
    if held:
        return percent_interval(held.accuracy, held.low, held.high)
    rates = win_rates(run)
    return percent_interval(rates[0].value, rates[0].low, rates[0].high) if rates else MISSING


def _summary(run: Run) -> str:
    """What differs from the defaults, in one line."""
    changed = differing(run)
    text = ", ".join(f"{title} {value}" for title, value in changed)
    return text or QCoreApplication.translate("runs", "defaults")


def _started(run: Run) -> str:
    return moment(run.created_at)
