"""The tabs of the Evaluate page: the comparison, and parts that are made when first shown."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedWidget, QTabBar, QVBoxLayout, QWidget

from workbench.app.workspace import Workspace
from workbench.data.records import Run
from workbench.ui.pages.evaluation_part import EvaluationPart
from workbench.ui.pages.gate_card import GatePart
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.safety_card import SafetyPart
from workbench.ui.pages.text_metrics_card import TextMetricsPart

_PARTS: tuple[type[EvaluationPart], ...] = (TextMetricsPart, SafetyPart, GatePart)


class EvaluationTabs(QWidget):
    """A bar of tabs over what the chosen one shows.

    Signals:
        shown: The part that is shown now; None for the comparison.
        facts_changed: The line of facts of the part that is shown.
    """

    shown = Signal(object)
    facts_changed = Signal(str)

    def __init__(self, comparison: QWidget, ws: Workspace, context: UiContext) -> None:
        super().__init__()
        self._ws, self._context = ws, context
        self._made: dict[int, EvaluationPart] = {}
        self.bar = QTabBar()
        self.bar.setExpanding(False)
        self.bar.setDrawBase(False)
        self.bar.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.bar.setAccessibleName(self.tr("Kinds of evaluation"))
        for title in (
            self.tr("Comparison"),
            self.tr("Text metrics"),
            self.tr("Safety"),
            self.tr("Gate"),
        ):
            self.bar.addTab(title)
        self.stack = QStackedWidget()
        self.stack.addWidget(comparison)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        layout.addWidget(self.bar)
        layout.addWidget(self.stack, 1)
        self.bar.currentChanged.connect(self._show)

    def current(self) -> EvaluationPart | None:
        """The part that is shown; None for the comparison."""
        return self._made.get(self.bar.currentIndex())

    def parts(self) -> list[EvaluationPart]:
        """Those that were shown once."""
        return list(self._made.values())

    def choose(self, index: int) -> None:
        """Go to a tab."""
        self.bar.setCurrentIndex(index)

    def refresh(self) -> None:
        """Show the records as they are now."""
        if (part := self.current()) is not None:
            part.refresh()

    def show_run(self, run: Run) -> bool:
        """Show a run of one of the parts; False when it is none of theirs."""
        for i, part in enumerate(_PARTS, 1):
            if part.how.name == run.algorithm:
                self.choose(i)
                self._part(i).show_run(run.id)
                return True
        return False

    def _show(self, index: int) -> None:
        if index == 0:
            self.stack.setCurrentIndex(0)
            self.shown.emit(None)
            return
        part = self._part(index)
        self.stack.setCurrentWidget(part)
        self.shown.emit(part)
        part.refresh()

    def _part(self, index: int) -> EvaluationPart:
        part = self._made.get(index)
        if part is None:
            part = self._made[index] = _PARTS[index - 1](self._ws, self._context)
            part.facts_changed.connect(
                lambda facts, made=part: (
                    self.facts_changed.emit(facts) if made is self.current() else None
                )
            )
            self.stack.addWidget(part)
        return part
