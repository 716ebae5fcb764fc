"""The models on this machine: what they are, whether they fit, and how to get more."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtGui import QIcon
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from workbench.app import library
from workbench.app.workspace import Workspace
from workbench.errors import WorkbenchError
from workbench.events import Event, Finished, Progress
from workbench.jobs.runner import Job
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Kind, Verdict
from workbench.ui.pages.verdict_banner import VerdictBanner
from workbench.ui.pages.wording import MISSING, count, size
from workbench.ui.widgets import Card, PageHeader, button

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo

_JOBS = ("load", "import")


class ModelsPage(Page):
    """Table of models, details of the chosen one, loading and importing. Calls app.library."""

    key = "models"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._job: Job | None = None
        self._build_header()
        self.banner = VerdictBanner()
        self.table: RowsView[ModelInfo] = RowsView(self._columns(), self.tr("Models"))
        self.table.chosen.connect(self._on_chosen)
        self.table.doubleClicked.connect(self.load)
        models_card = Card(self.tr("On this machine"))
        models_card.body.addWidget(self.table)
        self.details = _Details()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(self.header)
        layout.addWidget(self.banner)
        layout.addLayout(self._progress_row())
        layout.addWidget(models_card, 3)
        layout.addWidget(self.details, 2)
        context.bridge.happened.connect(self._on_event)
        context.bridge.finished.connect(self._on_finished)
        context.theme.changed.connect(self.table.viewport().update)
        context.actions.on("models.load", self._load_here)
        context.actions.on("models.import", self._ask_gguf)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Models"))
        starter = button(self.tr("Get starter model"), "quiet", icon="download")
        starter.clicked.connect(lambda: self._submit(lambda: library.fetch_starter(self.ws)))
        hub = button(self.tr("Get from the Hub"), "quiet", icon="download")
        hub.clicked.connect(self._ask_hub)
        gguf = button(self.tr("Import GGUF"), "outlined", icon="import")
        gguf.clicked.connect(self._ask_gguf)
        self.load_button = button(self.tr("Load model"), "filled", icon="models")
        self.load_button.clicked.connect(self.load)
        self.starter_button, self.hub_button, self.gguf_button = starter, hub, gguf
        for widget in (starter, hub, gguf, self.load_button):
            self.header.add_action(widget)

    def _progress_row(self) -> QHBoxLayout:
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress_note = QLabel()
        self.cancel_button = button(self.tr("Cancel"), "outlined")
        self.cancel_button.clicked.connect(self._cancel)
        row = QHBoxLayout()
        row.addWidget(self.progress_note)
        row.addWidget(self.progress, 1)
        row.addWidget(self.cancel_button)
        self._show_progress(False)
        return row

    def _columns(self) -> list[Column[ModelInfo]]:
        return [
            Column(self.tr("Model"), lambda m: m.name, icon=self._icon, tooltip=_tooltip),
            Column(self.tr("State"), self._state, "can be converted"),
            Column(self.tr("Parameters"), lambda m: count(m.n_parameters), "000 M", True),
            Column(self.tr("Size"), lambda m: size(m.size_bytes), "000.0 MB", True),
            Column(self.tr("Type"), lambda m: m.dtype or MISSING, "bfloat16", is_optional=True),
            Column(
                self.tr("Licence"), lambda m: m.licence or MISSING, "apache-2.0", is_optional=True
            ),
            Column(self.tr("Chat template"), self._template, "Chat template", is_optional=True),
            Column(self.tr("Fits"), self._fits, "unknown"),
        ]

    def _icon(self, model: ModelInfo) -> QIcon:
        theme = self.context.theme
        if model.problems:
            return theme.icon("bad", "bad", 14)
        if self._is_loaded(model):
            return theme.icon("check", "ok", 14)
        return theme.icon("models", "muted", 14)

    def _is_loaded(self, model: ModelInfo) -> bool:
        return self.ws.is_model_loaded and self.ws.model_name == model.name

    def _state(self, model: ModelInfo) -> str:
        if model.problems:
            return self.tr("cannot be loaded")
        if self._is_loaded(model):
            return self.tr("loaded")
        if self.ws.selected_model in (model.name, str(model.path)):
            return self.tr("chosen")
        return self.tr("can be converted") if model.is_conversion_needed else self.tr("ready")

    def _template(self, model: ModelInfo) -> str:
        return self.tr("yes") if model.has_chat_template else self.tr("no")

    def _fits(self, model: ModelInfo) -> str:
        return self.tr("yes") if library.fit(model).is_enough else self.tr("too large")

    def refresh(self) -> None:
        """Read the catalogue again."""
        models = library.models(self.ws)
        self.header.set_facts(self.tr("{n} on this machine").format(n=len(models)))
        self.table.set_rows(models, key=lambda m: m.path)
        if self.table.current() is None and models:
            chosen = [
                i for i, m in enumerate(models) if self.ws.selected_model in (m.name, str(m.path))
            ]
            self.table.selectRow(chosen[0] if chosen else 0)
        self._update()

    def _on_chosen(self, model: ModelInfo | None) -> None:
        self.details.show_model(model, library.fit(model).sentence if model else "")
        self._update()

    def _update(self) -> None:
        model = self.table.current()
        why = self._hindrance(model)
        self.load_button.setEnabled(not why)
        self.load_button.setToolTip(why or self.tr("Choose this model and load it into memory"))

    def _hindrance(self, model: ModelInfo | None) -> str:
        if model is None:
            return self.tr("Choose a model in the table first.")
        if model.problems:
            return model.problems[0]
        if self._job is not None:
            return self.tr("Wait until the current import or load has ended.")
        return self.tr("This model is loaded already.") if self._is_loaded(model) else ""

    # Actions

    def _load_here(self) -> None:
        if self.isVisible():
            self.load()
        else:
            self.context.show_page(self.key)

    def load(self) -> None:
        """Choose the current model and load it; a GGUF file is converted first."""
        model = self.table.current()
        if self._hindrance(model) or model is None:
            return
        if model.is_conversion_needed:
            self._submit(lambda: library.import_gguf(self.ws, model.path))
            return

        def choose_and_load() -> Job:
            library.select_model(self.ws, str(model.path))
            return library.load_model(self.ws)

        self._submit(choose_and_load)

    def _ask_gguf(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, self.tr("Import a GGUF model"), "", self.tr("GGUF models (*.gguf)")
        )
        if path:
            self._submit(lambda: library.import_gguf(self.ws, Path(path)))

    def _ask_hub(self) -> None:
        dialog = HubDialog(self)
        if dialog.exec() == QDialog.DialogCode.Accepted:
            repo = dialog.repo.text().strip()
            self._submit(lambda: library.fetch_hub(self.ws, repo))

    def _submit(self, start: Callable[[], Job]) -> None:
        try:
            self._job = start()
        except WorkbenchError as error:
            self._say("bad", error.message, error.hint)
            return
        self.banner.tell(None)
        self.context.bridge.watch(self._job)
        self.progress.setRange(0, 0)
        self.progress_note.setText(self._job.title)
        self._show_progress(True)
        self._update()

    def _cancel(self) -> None:
        if self._job is not None:
            self.ws.runner.cancel(self._job)

    def _on_event(self, job: Job, event: Event) -> None:
        if job is self._job and isinstance(event, Progress):
            self.progress.setRange(0, event.total)
            self.progress.setValue(event.done)
            if event.note:
                self.progress_note.setText(event.note)

    def _on_finished(self, job: Job, finished: Finished) -> None:
        if job is not self._job:
            if self.isVisible():
                self.table.viewport().update()
            return
        self._job = None
        self._show_progress(False)
        if finished.error:
            self._say("bad", finished.error.message, finished.error.hint)
        elif finished.outcome == "cancelled":
            self._say("warn", self.tr("{job} was cancelled.").format(job=job.title), "")
        self.refresh()

    def _say(self, kind: Kind, text: str, detail: str) -> None:
        self.banner.tell(Verdict(kind, text, detail))

    def _show_progress(self, shown: bool) -> None:
        for widget in (self.progress, self.progress_note, self.cancel_button):
            widget.setVisible(shown)


def _licence(model: ModelInfo) -> str:
    return model.licence or MISSING


def _tooltip(model: ModelInfo) -> str:
    return "\n".join((str(model.path), *model.problems))


class _Details(Card):
    """Everything the catalogue knows of one model; its problems first."""

    def __init__(self) -> None:
        super().__init__(self.tr("Details"))
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.body.addWidget(self.text)
        self.body.addStretch(1)

    def show_model(self, model: ModelInfo | None, fit: str) -> None:
        """Write the details, one fact per line."""
        if model is None:
            self.text.setText(self.tr("Choose a model to see what it is."))
            return
        tokens = ", ".join(f"{k} {v}" for k, v in model.special_tokens.items()) or MISSING
        lines = [
            *model.problems,
            fit,
            self.tr("Architecture: {name}").format(name=model.architecture or MISSING),
            self.tr("Context: {n} tokens").format(n=model.context_length),
            self.tr("Special tokens: {tokens}").format(tokens=tokens),
            self.tr("Folder: {path}").format(path=model.path),
        ]
        self.text.setText("\n".join(line for line in lines if line))


class HubDialog(QDialog):
    """Asks for the id of a model on the Hugging Face Hub; says that this uses the network."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Get a model from the Hub"))
        note = QLabel(
            self.tr(
                "The model is downloaded from huggingface.co into your model folder. "
                "Only safetensors weights are taken, and no code of the model is run."
            )
        )
        note.setWordWrap(True)
        self.repo = QLineEdit()
        self.repo.setPlaceholderText("HuggingFaceTB/SmolLM2-135M-Instruct")
        self.repo.setAccessibleName(self.tr("Model id on the Hub"))
        self.repo.textChanged.connect(self._update)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.download = buttons.addButton(
            self.tr("Download model"), QDialogButtonBox.ButtonRole.AcceptRole
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setSpacing(12)
        layout.addWidget(note)
        layout.addWidget(self.repo)
        layout.addWidget(buttons)
        self.setMinimumWidth(440)
        self._update()

    def _update(self) -> None:
        owner, slash, name = self.repo.text().strip().partition("/")
        is_complete = bool(owner and slash and name)
        self.download.setEnabled(is_complete)
        self.download.setToolTip(
            "" if is_complete else self.tr("Write the id as owner/name, as the Hub shows it.")
        )
