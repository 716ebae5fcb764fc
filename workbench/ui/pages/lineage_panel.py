"""The lineage of an experiment with what can be asked of it."""

from __future__ import annotations

from typing import cast

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from workbench.app.lineage import Lineage, Node, lineage
from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.asking import Asking
from workbench.ui.pages.lineage_graph import LineageGraph
from workbench.ui.theme import Theme
from workbench.ui.widgets import Card, button, label


class LineagePanel(QWidget):
    """The graph in a card, and the current node in words under it. Reads beside the window.

    Signals:
        opened: A node is to be shown on its page.
    """

    opened = Signal(object)

    def __init__(self, ws: Workspace, theme: Theme) -> None:
        super().__init__()
        self._ws = ws
        self._run: Run | None = None
        self._whole = Lineage((), ())
        self._asking = Asking(ws, self)
        self._asking.answered.connect(self._on_answer)
        self._asking.failed.connect(self._on_failure)
        self.graph = LineageGraph(theme)
        self.graph.opened.connect(self.opened)
        self.graph.moved.connect(self._on_moved)
        self.only = QCheckBox()
        self.only.toggled.connect(self._draw)
        self.words = label("", "text-2", wrap=True)
        self.open_button = button(self.tr("Open its page"), "outlined")
        self.open_button.clicked.connect(self._open)
        self.room = QScrollArea()
        self.room.setWidget(self.graph)
        self.room.setWidgetResizable(True)
        self.room.setFrameShape(QFrame.Shape.NoFrame)
        self.room.setAccessibleName(self.tr("What was made from what"))
        foot = QHBoxLayout()
        foot.addWidget(self.words, 1)
        foot.addWidget(self.open_button)
        card = Card(self.tr("What was made from what"))
        card.body.addWidget(self.only)
        card.body.addWidget(self.room, 1)
        card.body.addLayout(foot)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(card)
        self._name_choice()

    def show_run(self, run: Run | None) -> None:
        """Read the graph, with a run as the current node."""
        self._run = run
        self._name_choice()
        self.refresh()

    def refresh(self) -> None:
        """Read the graph again."""
        ws = self._ws
        self._asking.ask(lambda: lineage(ws))

    def _name_choice(self) -> None:
        self.only.setEnabled(self._run is not None)
        name = self._run.name if self._run else self.tr("the chosen run")
        self.only.setText(self.tr("Only what hangs together with {run}").format(run=name))
        self.only.setToolTip("" if self._run else self.tr("Choose a run in the table first."))

    def _on_answer(self, answer: object) -> None:
        is_first = not self._whole.nodes
        self._whole = cast("Lineage", answer)
        self._draw(goes_to_run=is_first or self._run is not None)

    def _on_failure(self, sentence: str) -> None:
        self.words.setText(sentence)

    def _draw(self, *_: object, goes_to_run: bool = True) -> None:
        key = f"run:{self._run.id}" if self._run else ""
        shown = self._whole
        if self.only.isChecked() and key:
            shown = shown.around(key)
        self.graph.set_graph(shown, key if goes_to_run else "")

    def _on_moved(self, node: Node | None) -> None:
        self.words.setText(self.graph.accessibleDescription())
        self.open_button.setEnabled(node is not None)
        self.open_button.setToolTip("" if node else self.tr("Nothing was made yet."))
        if node is not None:
            box = self.graph.box(node.key).toRect()
            self.room.ensureVisible(box.center().x(), box.center().y(), 120, 60)

    def _open(self) -> None:
        if (node := self.graph.current()) is not None:
            self.opened.emit(node)
