"""The regression gate on the Evaluate page."""

from __future__ import annotations

from typing import Any

from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QVBoxLayout, QWidget

from workbench.app import gate
from workbench.app.gate import Check
from workbench.app.workspace import Workspace
from workbench.config.algorithms import GATE
from workbench.config.gate import GateSettings
from workbench.data.records import Run
from workbench.errors import WorkbenchError
from workbench.ui.pages.evaluation_part import EvaluationPart
from workbench.ui.pages.page import UiContext
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.theme import theme
from workbench.ui.widgets import Card

_ICONS = {"passed": ("check", "ok"), "failed": ("bad", "bad"), "unmeasured": ("warn", "warn")}


class GatePart(EvaluationPart):
    """Bounds, and which of them a policy keeps. Calls app.gate."""

    key = "evaluate-gate"
    how = GATE
    model = GateSettings

    def __init__(self, ws: Workspace, context: UiContext) -> None:
        super().__init__(ws, context)
        self.table: RowsView[Check] = RowsView(
            [
                Column(self.tr("Check"), lambda c: c.title, tooltip=lambda c: c.sentence),
                Column(self.tr("Result"), self._word, "not measured", icon=_icon),
                Column(self.tr("Figure"), _figure, "−000.00 [−000.00, 000.00]", True),
                Column(self.tr("Bound"), self._bound, "at least 000.00", True),
                Column(self.tr("Unit"), lambda c: c.unit or MISSING, "points", is_optional=True),
            ],
            self.tr("Checks of the gate"),
        )
        self.card = Card(self.tr("Checks"))
        self.card.body.addWidget(self.table, 1)
        results = QWidget()
        layout = QVBoxLayout(results)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.card)
        self.build(
            self.tr("New run of the gate"),
            self.tr("Run the gate"),
            (
                self.tr("The gate has not been run yet"),
                self.tr(
                    "It holds the newest text metrics, safety measures and comparison of a policy "
                    "against bounds. An export says in its card and in gate.json whether the "
                    "policy passed."
                ),
            ),
            results,
        )

    def start_now(self, run_id: int, settings: Any) -> None:
        """Check the chosen policy; all of it is measured already."""
        try:
            found = gate.check(self.ws, run_id, settings)
        except WorkbenchError as error:
            self.notice = Verdict("bad", error.message, error.hint)
            self.draw(self.run())
            return
        self.show_run(found.run.id)

    def has_report(self, run: Run) -> bool:
        """Whether checks were made."""
        return "checks" in run.results

    def show_report(self, run: Run) -> None:
        """Show each check."""
        found = gate.result(self.ws, run.id)
        self.table.set_rows(found.checks)
        judged_by = run.settings.get("judged_by")
        self.card.set_fact(
            self.tr("judged by the whole interval")
            if judged_by == "interval"
            else self.tr("judged by the value")
        )

    def verdict_of(self, run: Run) -> Verdict:
        """Passed or not, with what failed or is missing."""
        found = gate.result(self.ws, run.id)
        kinds: dict[str, Any] = {"passed": "ok", "failed": "bad", "incomplete": "warn"}
        wanted = "failed" if found.verdict == "failed" else "unmeasured"
        detail = " ".join(check.sentence for check in found.checks if check.state == wanted)
        return Verdict(kinds[found.verdict], found.sentence, detail)

    def _word(self, check: Check) -> str:
        words = {
            "passed": self.tr("passed"),
            "failed": self.tr("failed"),
            "unmeasured": self.tr("not measured"),
        }
        return words[check.state]

    def _bound(self, check: Check) -> str:
        words = self.tr("at most {bound}") if check.is_upper else self.tr("at least {bound}")
        return words.format(bound=number(check.bound))


def _figure(check: Check) -> str:
    figure = check.figure
    if figure is None:
        return MISSING
    value = number(figure.value)
    ends = number(figure.low), number(figure.high)
    return value if MISSING in ends else f"{value} [{ends[0]}, {ends[1]}]"


def _icon(check: Check) -> QIcon | None:
    return theme().icon(*_ICONS[check.state], 14)
