"""Runs beside each other: the settings in which they differ, and what each ended with."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench.app.workspace import Workspace
from workbench.config import algorithms
from workbench.config.toml import fields
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import METRICS, Metric

FEWEST, MOST = 2, 6
_INPUTS = {
    "model": "Model",
    "start_run": "Start from run",
    "reward_run": "Reward run",
    "judge": "Held-back judge",
    "labels_digest": "Labels",
    "n_pairs": "Pairs",
}
_ABSENT = object()
Figures = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Difference:
    """A setting or input in which runs differ; None for a run that does not have it."""

    name: str
    title: str
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a figure of a run ended.

    Attributes:
        value: The last value that is a number; None where there is none.
        step: When that was.
        is_broken: The figure was NaN or infinite after that.
    """

    value: float | None
    step: int
    is_broken: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Runs in the order of the choice; `endings` has an entry per figure, of one per run.

    Attributes:
        differences: Settings and inputs in which they differ.
        n_settings: How many settings and inputs there are in all.
        endings: None where a run does not have the figure.
        figures: All (step, value) points of each run.
    """

    runs: tuple[Run, ...]
    differences: tuple[Difference, ...]
    n_settings: int
    endings: Mapping[str, tuple[Ending | None, ...]]
    figures: tuple[Figures, ...]


def compare(ws: Workspace, run_ids: Sequence[int]) -> Comparison:
    """Compare two to six runs: a read that takes its time.

    Raises:
        UserError: They are fewer or more, or one is not there.
    """
    chosen = list(dict.fromkeys(run_ids))
    if not FEWEST <= len(chosen) <= MOST:
        raise UserError(
            f"{len(chosen)} run{'s are' if len(chosen) != 1 else ' is'} chosen.",
            f"Choose {FEWEST} to {MOST} runs to compare.",
        )
    runs = [ws.run(i) for i in chosen]
    found, n = differences(runs)
    figures = tuple(ws.experiment.runs.metrics(i) for i in chosen)
    return Comparison(tuple(runs), tuple(found), n, endings(figures), figures)


def differences(runs: Sequence[Run]) -> tuple[list[Difference], int]:
    """In what runs differ, in the order of the settings; and how many settings there are."""
    titles: dict[str, str] = {"algorithm": "Algorithm"}
    made = [_made_with(run) for run in runs]
    for run, values in zip(runs, made, strict=True):
        known = _titles(run)
        titles.update({name: known.get(name, name) for name in values if name not in titles})
    found = []
    for name, title in titles.items():
        there = [values.get(name, _ABSENT) for values in made]
        if any(value != there[0] for value in there[1:]):
            words = tuple(None if value is _ABSENT else _word(value) for value in there)
            found.append(Difference(name, title, words))
    return found, len(titles)


def endings(figures: Sequence[Figures]) -> dict[str, tuple[Ending | None, ...]]:
    """How each figure ended in each run: those of the glossary first, in its order."""
    there = {name for run in figures for name, points in run.items() if points}
    names = [name for name in METRICS if name in there]
    names += sorted(there.difference(METRICS))
    return {name: tuple(_ending(run.get(name, ())) for run in figures) for name in names}


def title_of(name: str) -> str:
    """A figure's name as the glossary has it, with its unit."""
    known = METRICS.get(name, Metric(name, "", ""))
    return f"{known.title}, {known.unit}" if known.unit else known.title


def _ending(points: Sequence[tuple[int, float]]) -> Ending | None:
    if not points:
        return None
    for step, value in reversed(points):
        if math.isfinite(value):
            return Ending(value, step, step != points[-1][0])
    return Ending(None, points[-1][0], True)


def _made_with(run: Run) -> dict[str, object]:
    """Settings by dotted name, and the inputs that stand for a choice."""
    inputs = {name: run.inputs[name] for name in _INPUTS if name in run.inputs}
    return {"algorithm": run.algorithm, **dict(_flat(run.settings, "")), **inputs}


def _flat(values: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _titles(run: Run) -> dict[str, str]:
    if run.kind == "evaluation":
        return _INPUTS
    settings = algorithms.find(run.algorithm).settings
    return {**{name: info.title or name for name, info in fields(settings)}, **_INPUTS}


def _word(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}".replace("e-0", "e-")
    text = str(value)
    return text[:12] if len(text) == _DIGEST else text


_DIGEST = 64  # letters of a SHA-256
