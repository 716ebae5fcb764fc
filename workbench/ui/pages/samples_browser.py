"""The answers that a run kept: one prompt through the steps, against the base, token by token."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QHBoxLayout,
    QLineEdit,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from workbench.app import samples
from workbench.app.samples import Book, Kept, Tokens
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.asking import Asking
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.samples_diff import DiffView
from workbench.ui.pages.samples_tokens import TokenSheet
from workbench.ui.pages.wording import number, percent
from workbench.ui.plural import counted
from workbench.ui.widgets import button, label
from workbench.ui.widgets.token_view import scale_of

KINDS = ("watched", "rollouts", "all")


class SamplesBrowser(QDialog):
    """A window beside the main one; it reads from the store, beside both.

    Up and down go through the table, Ctrl with left and right through the steps of one prompt.
    """

    def __init__(self, parent: QWidget, ws: Workspace, run: Run) -> None:
        super().__init__(parent)
        self._ws, self._run_id = ws, run.id
        self.book = Book((), {}, 0)
        self._scales: dict[str, float] = {}
        self.setWindowTitle(self.tr("Samples of {run}").format(run=run.name))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_book)
        self._asking.failed.connect(self._on_failed)
        self._asking_tokens = Asking(ws, self)
        self._asking_tokens.answered.connect(self._on_tokens)
        self._build_filters()
        self._build_table()
        self._lay_out()
        self._add_keys()
        self.read()

    def _build_filters(self) -> None:
        self.kind = _choice(self.tr("Which samples"))
        for kind, words in (
            ("watched", self.tr("Fixed prompts")),
            ("rollouts", self.tr("Learned from")),
            ("all", self.tr("All")),
        ):
            self.kind.addItem(words, kind)
        self.prompt = _choice(self.tr("Prompt"))
        self.prompt.setMinimumContentsLength(28)
        self.order = _choice(self.tr("Order"))
        for order, words in (
            ("step", self.tr("By update")),
            ("best", self.tr("Best reward first")),
            ("worst", self.tr("Worst reward first")),
            ("kl", self.tr("Largest KL first")),
            ("length", self.tr("Longest first")),
            ("change", self.tr("Most changed first")),
        ):
            self.order.addItem(words, order)
        self.text = QLineEdit()
        self.text.setPlaceholderText(self.tr("Contains"))
        self.text.setAccessibleName(self.tr("Only answers that contain"))
        self.text.setClearButtonEnabled(True)
        self.again = button(self.tr("Read again"), "quiet", key="F5")
        self.again.clicked.connect(self.read)
        for box in (self.kind, self.prompt, self.order):
            box.currentIndexChanged.connect(lambda _index: self._fill())
        self.text.textChanged.connect(lambda _text: self._fill())

    def _build_table(self) -> None:
        self.facts = label("", "muted")
        self.question = label("", "prompt", wrap=True)
        self.table: RowsView[Kept] = RowsView(
            [
                Column(self.tr("Update"), lambda k: str(k.sample.step), "Update", True),
                Column(self.tr("Reward"), lambda k: number(k.sample.reward), "−00.00", True),
                Column(self.tr("KL"), lambda k: number(k.sample.kl, 1), "−000.0", True),
                Column(self.tr("Tokens"), lambda k: str(k.sample.n_tokens), "Tokens", True),
                Column(
                    self.tr("Change"),
                    lambda k: percent(k.change),
                    "Change",
                    True,
                    tooltip=lambda _k: _tr("Letter triples that only this or the base answer has"),
                ),
                Column(self.tr("Prompt"), self._asked, is_optional=True),
                Column(self.tr("Answer"), lambda k: k.sample.text or _tr("(empty answer)")),
            ],
            self.tr("Samples"),
        )
        self.table.chosen.connect(self._on_chosen)
        self.diff = DiffView()
        self.tokens = TokenSheet()
        self.tabs = QTabWidget()
        self.tabs.addTab(self.diff, self.tr("Against the base"))
        self.tabs.addTab(self.tokens, self.tr("Tokens"))
        self.tabs.currentChanged.connect(lambda _index: self._read_tokens())

    def _lay_out(self) -> None:
        self.earlier = button(self.tr("Earlier"), "quiet", key="Ctrl+←")
        self.later = button(self.tr("Later"), "quiet", key="Ctrl+→")
        self.earlier.clicked.connect(lambda: self.go(-1))
        self.later.clicked.connect(lambda: self.go(1))
        filters = QHBoxLayout()
        filters.setSpacing(8)
        for box in (self.kind, self.prompt, self.order):
            filters.addWidget(box)
        filters.addWidget(self.text)
        filters.addStretch(1)
        filters.addWidget(self.facts)
        filters.addWidget(self.again)
        steps = QHBoxLayout()
        steps.addWidget(self.question, 1)
        steps.addWidget(self.earlier)
        steps.addWidget(self.later)
        reading = QWidget()
        below = QVBoxLayout(reading)
        below.setContentsMargins(0, 8, 0, 0)
        below.addLayout(steps)
        below.addWidget(self.tabs, 1)
        split = QSplitter(Qt.Orientation.Vertical)
        split.setChildrenCollapsible(False)
        split.addWidget(self.table)
        split.addWidget(reading)
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(8)
        layout.addLayout(filters)
        layout.addWidget(split, 1)
        self.resize(1080, 760)

    def _add_keys(self) -> None:
        for keys, do in (
            ("F5", self.read),
            ("Ctrl+Left", lambda: self.go(-1)),
            ("Ctrl+Right", lambda: self.go(1)),
            ("Ctrl+F", self.text.setFocus),
        ):
            _bind(self, keys, do)

    # Reading

    def read(self) -> None:
        """Read the samples again, such as those that a running run has added."""
        ws, run_id = self._ws, self._run_id
        self.facts.setText(self.tr("Reading"))
        self._asking.ask(lambda: samples.read(ws, run_id))

    def _on_book(self, answer: object) -> None:
        self.book = cast("Book", answer)
        has_watched = any(k.sample.is_watched for k in self.book.kept)
        if not has_watched and self.kind.currentData() == "watched":
            self.kind.setCurrentIndex(KINDS.index("all"))
        chosen = self.prompt.currentData()
        self.prompt.blockSignals(True)
        self.prompt.clear()
        self.prompt.addItem(self.tr("All prompts"), None)
        for prompt_id in dict.fromkeys(k.sample.prompt_id for k in self.book.kept):
            self.prompt.addItem(self._prompt_text(prompt_id)[:80], prompt_id)
        self.prompt.setCurrentIndex(max(0, self.prompt.findData(chosen)))
        self.prompt.blockSignals(False)
        self._fill()

    def _on_failed(self, sentence: str) -> None:
        self.facts.setText(sentence)

    def _prompt_text(self, prompt_id: int) -> str:
        prompt = self.book.prompts.get(prompt_id)
        if prompt is None:
            return self.tr("(deleted prompt {n})").format(n=prompt_id)
        return " ".join(prompt.text.split())

    def _asked(self, kept: Kept) -> str:
        return self._prompt_text(kept.sample.prompt_id)

    # The table

    def _fill(self) -> None:
        kind, prompt_id = self.kind.currentData(), self.prompt.currentData()
        wanted = self.text.text().casefold()
        shown = [
            k
            for k in self.book.kept
            if (kind == "all" or k.sample.is_watched == (kind == "watched"))
            and prompt_id in (None, k.sample.prompt_id)
            and wanted in k.sample.text.casefold()
        ]
        self.table.leave_out([] if prompt_id is None else [self.tr("Prompt")])
        self.table.set_rows(samples.ordered(shown, self.order.currentData()), key=lambda k: k.id)
        if self.table.current() is None and shown:
            self.table.selectRow(0)
        told = counted(len(shown), self.tr("1 answer"), self.tr("{n} answers"))
        if self.book.n_left_out:
            more = self.tr("{n} older ones are not listed").format(n=self.book.n_left_out)
            told = f"{told}, {more}"
        self.facts.setText(told if self.book.kept else self.tr("This run has kept no samples."))

    def _on_chosen(self, kept: Kept | None) -> None:
        self.question.setText("" if kept is None else self._asked(kept))
        for made, by in ((self.earlier, -1), (self.later, 1)):
            made.setEnabled(kept is not None and self._neighbour(by) is not None)
        self.diff.show_sample(kept)
        self._read_tokens()

    def go(self, by: int) -> None:
        """To the same prompt's answer of an earlier or a later step."""
        row = self._neighbour(by)
        if row is not None:
            self.table.selectRow(row)

    def _neighbour(self, by: int) -> int | None:
        """The row of the same prompt that is next in steps, forwards or backwards."""
        current, rows = self.table.current(), self.table.rows()
        if current is None:
            return None
        same = sorted(
            (k.sample.step, k.id, row)
            for row, k in enumerate(rows)
            if k.sample.prompt_id == current.sample.prompt_id
            and k.sample.is_watched == current.sample.is_watched
        )
        places = [row for _, _, row in same]
        at = places.index(rows.index(current)) + by
        return places[at] if 0 <= at < len(places) else None

    # Tokens

    def _read_tokens(self) -> None:
        kept = self.table.current()
        if self.tabs.currentWidget() is not self.tokens:
            return
        if kept is None:
            self.tokens.show_tokens(Tokens((), {}), {})
            return
        ws, number_ = self._ws, kept.id
        self._asking_tokens.ask(lambda: samples.tokens(ws, number_))

    def _on_tokens(self, answer: object) -> None:
        found = cast("Tokens", answer)
        for name, values in found.figures.items():
            # One scale for all that is read: it grows, and never shrinks.
            self._scales[name] = max(self._scales.get(name, 0.0), scale_of(values))
        self.tokens.show_tokens(found, self._scales)


def _choice(name: str) -> QComboBox:
    box = QComboBox()
    box.setAccessibleName(name)
    box.setToolTip(name)
    return box


def _bind(owner: QWidget, keys: str, do: Callable[[], object]) -> None:
    QShortcut(QKeySequence(keys), owner).activated.connect(do)


def _tr(text: str) -> str:
    return QCoreApplication.translate("samples", text)
