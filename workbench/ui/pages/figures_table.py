"""Figures before and after as a table: values with intervals, and whether the change is clear."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from PySide6.QtCore import QCoreApplication
from PySide6.QtGui import QIcon

from workbench.config.measures import MEASURES, measure_of
from workbench.data.figures import Estimate, Figure
from workbench.ui.pages.rows import Column, RowsView
from workbench.ui.pages.run_facts import Verdict
from workbench.ui.pages.wording import MISSING, number
from workbench.ui.theme import theme

_WIDEST = "−0.000 [−0.000, 0.000]"


def _tr(text: str) -> str:
    return QCoreApplication.translate("figures", text)


def words(figure: Figure, estimate: Estimate | None) -> str:
    """A value with its interval, as tables write it."""
    if estimate is None or math.isnan(estimate.value):
        return MISSING
    measure = measure_of(figure.name)
    factor = 100.0 if measure.unit == "%" else 1.0
    value, low, high = (
        number(factor * end, measure.digits)
        for end in (estimate.value, estimate.low, estimate.high)
    )
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"


def title(figure: Figure) -> str:
    """What is measured, with its unit and, where it is one, the part of the data."""
    measure = measure_of(figure.name)
    part = figure.name.partition(".")[2]
    unit = f", {measure.unit}" if measure.unit else ""
    return f"{measure.title}{unit}" + (f" ({part})" if part else "")


def reading(figure: Figure) -> tuple[str, str]:
    """Icon and words of a change: better, worse, other, or none that is clear."""
    if math.isnan(figure.after.value):
        return "bad", _tr("no number")
    if figure.change is None:
        return "", MISSING
    if not figure.is_clear:
        return "", _tr("no clear change")
    better = measure_of(figure.name).better
    if not better:
        return "info", _tr("higher") if figure.change.value > 0 else _tr("lower")
    is_better = (figure.change.value > 0) == (better == "higher")
    return ("check", _tr("better")) if is_better else ("warn", _tr("worse"))


def verdict(figures: Sequence[Figure], notes: Sequence[str]) -> Verdict:
    """What changed clearly, in one sentence, and what could not be measured under it."""
    by_reading: dict[str, list[str]] = {}
    for figure in figures:
        by_reading.setdefault(reading(figure)[0], []).append(measure_of(figure.name).title)
    parts = []
    for icon, words_ in (
        ("bad", _tr("No number came out for: {names}.")),
        ("warn", _tr("Clearly worse: {names}.")),
        ("check", _tr("Clearly better: {names}.")),
        ("info", _tr("Changed: {names}.")),
    ):
        if names := dict.fromkeys(by_reading.get(icon, ())):
            parts.append(words_.format(names=", ".join(names)))
    text = " ".join(parts) or _tr("No figure has changed clearly.")
    kind = "bad" if "bad" in by_reading else "warn" if "warn" in by_reading else "info"
    return Verdict(kind, text, " ".join(notes))  # type: ignore[arg-type]


class FiguresTable(RowsView[Figure]):
    """One row for each figure; what it means is in its tooltip."""

    def __init__(self, name: str) -> None:
        self._signatures: Mapping[str, str] = {}
        super().__init__(
            [
                Column(_tr("Measure"), title, tooltip=self._meaning),
                Column(_tr("Before"), lambda f: words(f, f.before), _WIDEST, True),
                Column(_tr("After"), lambda f: words(f, f.after), _WIDEST, True),
                Column(
                    _tr("Change"),
                    lambda f: words(f, f.change),
                    _WIDEST,
                    True,
                    is_optional=True,
                ),
                Column(_tr("Reading"), lambda f: reading(f)[1], "no clear change", icon=_icon),
                Column(_tr("n"), lambda f: str(f.n), "0000", True, is_optional=True),
            ],
            name,
        )

    def set_figures(
        self, figures: Sequence[Figure], signatures: Mapping[str, str] | None = None
    ) -> None:
        """Show other figures, in the order of the glossary."""
        self._signatures = signatures or {}
        order = {name: i for i, name in enumerate(MEASURES)}
        self.set_rows(sorted(figures, key=lambda f: order[f.name.partition(".")[0]]))

    def _meaning(self, figure: Figure) -> str:
        signature = self._signatures.get(figure.name, "")
        return "\n".join(filter(None, (measure_of(figure.name).meaning, signature)))


def _icon(figure: Figure) -> QIcon | None:
    name = reading(figure)[0]
    token = {"check": "ok"}.get(name, name)
    return theme().icon(name, token, 14) if name else None
