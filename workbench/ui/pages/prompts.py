"""The prompts of the experiment: what the model is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSplitter,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from workbench.app import exchange
from workbench.app.workspace import Workspace
from workbench.data.records import Prompt, Split
from workbench.errors import WorkbenchError
from workbench.ui.models.keyset import KeysetModel
from workbench.ui.models.prompts import PromptRow, prompt_fetch, prompt_key
from workbench.ui.pages.demo_groups import DemoGroupsCard
from workbench.ui.pages.page import Page, UiContext
from workbench.ui.pages.prompt_dialog import AddPromptsDialog
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.plural import counted
from workbench.ui.reading import ReadingText
from workbench.ui.widgets import Card, PageHeader, button, label

_TYPING_PAUSE_MS = 150


class PromptsPage(Page):
    """List, search, add, import, delete. Calls app.exchange and the prompt repository."""

    key = "prompts"

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self._build_header()
        self._build_list()
        self.detail = PromptDetail()
        self.detail.delete.clicked.connect(self.delete_selected)
        self.detail.answer.clicked.connect(lambda: context.show_page("answers"))
        split = QSplitter(Qt.Orientation.Horizontal)
        split.setChildrenCollapsible(False)
        split.addWidget(self._list_card)
        split.addWidget(self.detail)
        split.setStretchFactor(0, 3)
        split.setStretchFactor(1, 2)
        split.setSizes([3000, 1500])
        self.demo = DemoGroupsCard()
        self.demo.wanted.connect(self.add_demo)
        empty = QWidget()
        centred = QVBoxLayout(empty)
        centred.setContentsMargins(0, 0, 0, 0)
        centred.addWidget(self.demo)
        centred.addStretch(1)
        self._stack = QStackedWidget()
        self._stack.addWidget(empty)
        self._stack.addWidget(split)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 0, 16, 16)
        layout.addWidget(self.header)
        layout.addWidget(self._stack, 1)

    def _build_header(self) -> None:
        self.header = PageHeader(self.tr("Prompts"))
        demo = button(self.tr("Demo prompts"), "quiet", icon="prompts")
        self._demo_menu = QMenu(demo)
        self._demo_menu.aboutToShow.connect(self._fill_demo_menu)
        demo.setMenu(self._demo_menu)
        load = button(self.tr("Import file"), "outlined", icon="import")
        load.clicked.connect(self.choose_file)
        add = button(self.tr("Add prompts"), "filled", icon="plus")
        add.clicked.connect(lambda: self.add_text(""))
        for made in (demo, load, add):
            self.header.add_action(made)
            made.setEnabled(not self.ws.is_read_only)
        self.context.actions.on("prompts.import", self.choose_file)

    def _build_list(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText(self.tr("Search prompts"))
        self.search.setAccessibleName(self.tr("Search prompts"))
        self.search.setClearButtonEnabled(True)
        self.group, self.split = QComboBox(), QComboBox()
        self.group.setAccessibleName(self.tr("Group"))
        self.split.setAccessibleName(self.tr("Split"))
        for text, split in (
            (self.tr("All splits"), None),
            (self.tr("Training"), "train"),
            (self.tr("Held out"), "heldout"),
        ):
            self.split.addItem(text, split)
        columns = [
            Column[PromptRow](
                self.tr("#"), lambda row: str(row.prompt.id), "00000", is_number=True
            ),
            Column[PromptRow](self.tr("Prompt"), lambda row: row.prompt.text),
            Column[PromptRow](
                self.tr("Group"), lambda row: row.prompt.group, "creative writing", is_optional=True
            ),
            Column[PromptRow](
                self.tr("Split"), lambda row: self.split_word(row.prompt), "training"
            ),
            Column[PromptRow](
                self.tr("Answers"), lambda row: str(row.n_answers), "Answers", is_number=True
            ),
        ]
        self.model = KeysetModel(columns, prompt_key, self)
        self.table: RowsView[PromptRow] = RowsView(columns, self.tr("Prompts"), self.model)
        self.table.setSelectionMode(QTableView.SelectionMode.ExtendedSelection)
        self.table.selectionModel().selectionChanged.connect(self._selection_changed)
        self._pause = QTimer(self)
        self._pause.setSingleShot(True)
        self._pause.setInterval(_TYPING_PAUSE_MS)
        self._pause.timeout.connect(self._filter)
        self.search.textChanged.connect(self._pause.start)
        self.group.activated.connect(self._filter)
        self.split.activated.connect(self._filter)
        for standard, action in (
            (QKeySequence.StandardKey.Delete, self.delete_selected),
            (QKeySequence.StandardKey.Paste, self.paste),
        ):
            shortcut = QShortcut(QKeySequence(standard), self.table)
            shortcut.setContext(Qt.ShortcutContext.WidgetShortcut)
            shortcut.activated.connect(action)
        filters = QHBoxLayout()
        filters.setSpacing(8)
        filters.addWidget(self.search, 1)
        filters.addWidget(self.group)
        filters.addWidget(self.split)
        self._list_card = Card(self.tr("All prompts"))
        self._list_card.body.addLayout(filters)
        self._list_card.body.addWidget(self.table, 1)

    def split_word(self, prompt: Prompt) -> str:
        """How the list calls the split of a prompt."""
        return self.tr("held out") if prompt.split == "heldout" else self.tr("training")

    def refresh(self) -> None:
        """Read the list again where it stands."""
        groups = self.ws.experiment.prompts.groups()
        n = sum(groups.values())
        n_held = self.ws.experiment.prompts.count(split="heldout")
        self._stack.setCurrentIndex(1 if n else 0)
        self._fill_groups(groups)
        self.header.set_facts(
            self.tr("{prompts}, {groups}, {held} held out").format(
                prompts=counted(n, self.tr("{n} prompt"), self.tr("{n} prompts")),
                groups=counted(len(groups), self.tr("{n} group"), self.tr("{n} groups")),
                held=n_held,
            )
            if n
            else ""
        )
        if not n:
            self.demo.show_groups(exchange.demo_groups())
        if self.model.is_started:
            self.model.refresh()
        else:
            self._filter()
        self._selection_changed()

    def add_text(self, text: str) -> None:
        """Open the dialog to type or paste prompts."""
        self._ask(AddPromptsDialog(self.window(), text=text))

    def paste(self) -> None:
        """Open the dialog on what the clipboard holds."""
        self.add_text(QGuiApplication.clipboard().text())

    def choose_file(self) -> None:
        """Ask for a file and show what it holds."""
        name, _ = QFileDialog.getOpenFileName(
            self.window(),
            self.tr("Import prompts"),
            "",
            self.tr("Prompts (*.jsonl *.json *.csv *.tsv *.txt);;All files (*)"),
        )
        if name:
            self.import_file(Path(name))

    def import_file(self, path: Path) -> None:
        """Show what a file holds, and add its good rows when that is accepted."""
        try:
            preview = exchange.preview_prompts(path)
        except WorkbenchError as error:
            self.context.notify("bad", error.message, error.hint)
            return
        self._ask(AddPromptsDialog(self.window(), file=path.name, preview=preview))

    def _ask(self, dialog: AddPromptsDialog) -> None:
        dialog.accepted.connect(lambda: self._add(dialog))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

    def _add(self, dialog: AddPromptsDialog) -> None:
        preview = dialog.accepted_preview()
        n = self._try(lambda: exchange.import_prompts(self.ws, preview))
        if n is not None:
            self._tell_added(n, len(preview.rows) - n)

    def add_demo(self, names: list[str]) -> None:
        """Add groups of demo prompts; one operation for undo."""
        n = self._try(lambda: exchange.add_demo_prompts(self.ws, names))
        if n is not None:
            self._tell_added(n, 0)

    def delete_selected(self) -> None:
        """Hide the selected prompts with their answers and judgements; undo brings them back."""
        ids = [row.prompt.id for row in self.selected()]
        if not ids or self.ws.is_read_only:
            return
        n = self._try(lambda: self.ws.experiment.prompts.delete(ids))
        if n:
            self.context.notify(
                "ok",
                counted(n, self.tr("{n} prompt deleted."), self.tr("{n} prompts deleted.")),
                self.tr("{undo} brings it back, with its answers and judgements.").format(
                    undo=self.context.actions.key("edit.undo") or self.tr("Undo")
                ),
            )

    def selected(self) -> list[PromptRow]:
        """The selected rows, in order."""
        places = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self.model.rows[i] for i in places]

    def _try(self, action: Callable[[], int]) -> int | None:
        """Change the prompts; trouble that the user can act on is told."""
        try:
            n = action()
        except WorkbenchError as error:
            self.context.notify("bad", error.message, error.hint)
            return None
        self.context.bridge.experiment_changed.emit()
        return n

    def _tell_added(self, n: int, n_known: int) -> None:
        detail = ""
        if n_known > 0:
            detail = counted(
                n_known,
                self.tr("{n} was here already and is not added twice."),
                self.tr("{n} were here already and are not added twice."),
            )
        self.context.notify(
            "ok" if n else "info",
            counted(n, self.tr("{n} prompt added."), self.tr("{n} prompts added.")),
            detail,
        )

    def _fill_demo_menu(self) -> None:
        self._demo_menu.clear()
        groups = exchange.demo_groups()
        names = [group.name for group in groups]
        total = sum(group.n for group in groups)
        every = self._demo_menu.addAction(self.tr("All groups ({n})").format(n=total))
        every.triggered.connect(lambda: self.add_demo(names))
        self._demo_menu.addSeparator()
        for group in groups:
            action = self._demo_menu.addAction(f"{group.title} ({group.n})")
            action.triggered.connect(partial(self.add_demo, [group.name]))

    def _fill_groups(self, groups: dict[str, int]) -> None:
        wanted = [(self.tr("All groups"), None), *((f"{g} ({n})", g) for g, n in groups.items())]
        here = [(self.group.itemText(i), self.group.itemData(i)) for i in range(self.group.count())]
        if here == wanted:
            return
        chosen = self.group.currentData()
        self.group.clear()
        for text, name in wanted:
            self.group.addItem(text, name)
        self.group.setCurrentIndex(max(0, self.group.findData(chosen)))

    def _filter(self) -> None:
        split: Split | None = self.split.currentData()
        self.model.start(
            prompt_fetch(
                self.ws,
                split=split,
                group=self.group.currentData(),
                search=self.search.text(),
            )
        )
        n = self.ws.experiment.prompts.count(split, self.group.currentData(), self.search.text())
        self._list_card.set_fact(counted(n, self.tr("{n} shown"), self.tr("{n} shown")))
        if self.model.rows:
            self.table.selectRow(0)

    def _selection_changed(self) -> None:
        self.detail.show_rows(self.selected(), is_read_only=self.ws.is_read_only)


class PromptDetail(Card):
    """The chosen prompt in full, with its place in the experiment."""

    def __init__(self) -> None:
        super().__init__(self.tr("Prompt"))
        self.text = ReadingText(self.tr("Chosen prompt"))
        self._facts = label("", "muted", wrap=True)
        self.answer = button(self.tr("Generate answers"), "outlined", icon="answers")
        self.delete = button(self.tr("Delete prompt"), "quiet", icon="trash")
        actions = QHBoxLayout()
        actions.addWidget(self.answer)
        actions.addStretch(1)
        actions.addWidget(self.delete)
        self.body.addWidget(self.text, 1)
        self.body.addWidget(self._facts)
        self.body.addLayout(actions)

    def show_rows(self, rows: list[PromptRow], *, is_read_only: bool) -> None:
        """Show one prompt in full, or how many are selected."""
        self.delete.setEnabled(bool(rows) and not is_read_only)
        self.delete.setText(
            counted(max(1, len(rows)), self.tr("Delete prompt"), self.tr("Delete {n} prompts"))
        )
        if len(rows) != 1:
            self.set_fact("")
            self.text.set_text("")
            self._facts.setText(
                self.tr("{n} prompts are selected.").format(n=len(rows))
                if rows
                else self.tr("Choose a prompt to read it in full.")
            )
            return
        prompt = rows[0].prompt
        self.set_fact(self.tr("Prompt {n}").format(n=prompt.id))
        self.text.set_messages(prompt.messages)
        held = self.tr("Held out: used to measure, never to train.")
        self._facts.setText(
            " · ".join(
                part
                for part in (
                    prompt.group,
                    prompt.language,
                    counted(rows[0].n_answers, self.tr("{n} answer"), self.tr("{n} answers")),
                    held if prompt.split == "heldout" else self.tr("training"),
                )
                if part
            )
        )
