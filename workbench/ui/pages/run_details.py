"""One run in full: its settings with those that differ from the defaults, inputs and results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from PySide6.QtWidgets import QLabel, QSplitter

from workbench.config import algorithms
from workbench.config.algorithms import (
    BEST_OF_N,
    DESIGN,
    GATE,
    IMPORTED,
    PROBE,
    SAFETY,
    TEXT_METRICS,
)
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.gate import GateSettings
from workbench.config.probe import ProbeSettings
from workbench.config.safety import SafetySettings
from workbench.config.spec import Settings
from workbench.config.text_evaluation import TextEvaluationSettings
from workbench.config.toml import fields
from workbench.data.records import Run
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import reason
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.widgets import Card

Fact = tuple[str, str, str]
_EVALUATIONS: Mapping[str, type[Settings]] = {
    BEST_OF_N.name: BestOfNSettings,
    TEXT_METRICS.name: TextEvaluationSettings,
    SAFETY.name: SafetySettings,
    GATE.name: GateSettings,
}


def settings_of(run: Run) -> Iterator[Fact]:
    """Title, value and default of every setting of a run."""
    for name, info in fields(_model_of(run)):
        value: object = run.settings
        for part in name.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        yield info.title or name, _text(value), _text(info.get_default())


def _model_of(run: Run) -> type[Settings]:
    if run.kind == "evaluation":
        return _EVALUATIONS.get(run.algorithm, EvaluationSettings)
    if run.algorithm == PROBE.name:
        return ProbeSettings
    if run.algorithm in (DESIGN.name, IMPORTED.name):
        return Settings  # nothing was set
    return algorithms.find(run.algorithm).settings


def differing(run: Run) -> list[tuple[str, str]]:
    """Title and value of the settings that are not at their default."""
    return [(f[0], f[1]) for f in settings_of(run) if _differs(f)]


def _differs(fact: Fact) -> bool:
    # A run of an older version may lack a setting; what it had is not known.
    return fact[1] not in (fact[2], MISSING)


def _text(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, float) and not isinstance(value, bool):
        return f"{value:g}".replace("e-0", "e-")
    return str(value)


class RunDetails(Card):
    """Settings on the left (those that differ first), inputs and results on the right."""

    def __init__(self) -> None:
        super().__init__(self.tr("Chosen run"))
        self.error = QLabel()
        self.error.setWordWrap(True)
        self.error.setProperty("status", "bad")
        self.settings: RowsView[Fact] = RowsView(
            [
                Column(self.tr("Setting"), lambda f: f[0]),
                Column(self.tr("Value"), lambda f: f[1], "all-linear, q", True),
                Column(self.tr("Default"), lambda f: f[2], "all-linear, q", True),
            ],
            self.tr("Settings of the chosen run"),
        )
        self.results: RowsView[tuple[str, str]] = RowsView(
            [
                Column(self.tr("Input or result"), lambda f: f[0]),
                Column(self.tr("Value"), lambda f: f[1]),
            ],
            self.tr("Inputs and results of the chosen run"),
        )
        split = QSplitter()
        split.setChildrenCollapsible(False)
        split.setHandleWidth(1)
        split.addWidget(self.settings)
        split.addWidget(self.results)
        self.body.addWidget(self.error)
        self.body.addWidget(split, 1)
        self.show_run(None)

    def show_run(self, run: Run | None) -> None:
        """Show a run, or nothing."""
        why = reason(run) if run else ""
        self.error.setText(why)
        self.error.setVisible(bool(why))
        if run is None:
            self.settings.set_rows([])
            self.results.set_rows([])
            self.set_fact("")
            return
        facts = sorted(settings_of(run), key=lambda f: not _differs(f))
        n = sum(map(_differs, facts))
        self.set_fact(
            self.tr("{n} of {total} settings differ from the default").format(n=n, total=len(facts))
        )
        self.settings.set_rows(facts)
        self.results.set_rows([*_flat(run.inputs), *_flat(run.results)])


def _flat(values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield name, str(len(value))
        elif isinstance(value, float):
            yield name, number(value, 3)
        elif isinstance(value, list):
            yield name, _listed(value)
        else:
            yield name, str(value)


def _listed(values: list[object]) -> str:
    shown = ", ".join(str(v) for v in values[:8])
    return f"{shown}, … ({len(values)})" if len(values) > 8 else shown
