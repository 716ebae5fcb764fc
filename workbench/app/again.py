"""A run once more with its settings, inputs and data, and whether the numbers came out the same."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workbench.app.runs import metrics, submit
from workbench.app.workspace import Workspace, require_model
from workbench.config import algorithms, toml
from workbench.data.records import Run
from workbench.data.training_data import DATA_FILE, TrainingData
from workbench.errors import UserError
from workbench.jobs.runner import Job

ORIGINAL = "again_of"
_CLOCKS = "time/"
Figures = Mapping[str, Sequence[tuple[int, float]]]


@dataclass(frozen=True, slots=True)
class Gap:
    """Where a figure differs most: what it was, and what it became.

    Attributes:
        first_step: The first update at which it differed at all.
    """

    metric: str
    step: int
    before: float
    after: float
    first_step: int

    @property
    def size(self) -> float:
        """The difference; infinite where one of the two is no number."""
        gap = abs(self.after - self.before)
        return math.inf if math.isnan(gap) else gap


@dataclass(frozen=True, slots=True)
class Sameness:
    """Whether a run gave the numbers of the one that it repeats.

    Attributes:
        original: The run that is repeated.
        n_metrics: How many figures both have; those that tell seconds do not count.
        n_values: How many values were compared.
        last_step: The last update that both have.
        gaps: One per figure that differs, the largest first.
        only_one: Figures that only one of the two has.
        is_elsewhere: Another version or machine made the original.
    """

    original: Run
    n_metrics: int
    n_values: int
    last_step: int
    gaps: tuple[Gap, ...]
    only_one: tuple[str, ...]
    is_elsewhere: bool

    @property
    def is_equal(self) -> bool:
        """Whether every number is the same, to the last digit."""
        return self.n_values > 0 and not self.gaps and not self.only_one

    def sentence(self) -> str:
        """What came out, for people."""
        if not self.n_values:
            return f"There is no figure yet to compare with {self.original.name}."
        seen = f"{self.n_values} values of {self.n_metrics} figures up to update {self.last_step}"
        if self.is_equal:
            return f"Same numbers as {self.original.name}: {seen} are equal to the last digit."
        if not self.gaps:
            names = ", ".join(self.only_one)
            return f"{seen} equal those of {self.original.name}, but only one has {names}."
        worst = self.gaps[0]
        text = (
            f"Not the numbers of {self.original.name}: {len(self.gaps)} of {self.n_metrics} "
            f"figures differ, first at update {min(g.first_step for g in self.gaps)}. Largest: "
            f"{worst.metric} at update {worst.step}, {worst.before:.6g} then {worst.after:.6g}."
        )
        elsewhere = " It was made with another version or on another machine."
        return text + elsewhere * self.is_elsewhere


def again(ws: Workspace, run_id: int) -> Job:
    """Train once more with the settings, inputs and data of a run.

    Raises:
        UserError: It trained nothing, asked people while it ran, or what it needs is gone.
    """
    run = ws.run(run_id)
    ws.check_writable()
    if run.kind == "evaluation":
        raise UserError(f"{run.name} is an evaluation.", "Only training can be run again exactly.")
    if ws.experiment.label_rounds.of_run(run_id):
        raise UserError(
            f"{run.name} learned from labels that were given while it ran.",
            "It cannot be run again exactly. Start a new run with its settings.",
        )
    require_model(run, ws.model_info())
    how = algorithms.find(run.algorithm)
    settings = toml.validate(how.settings, run.settings)
    data = TrainingData.read(ws.run_folder(run_id) / DATA_FILE)
    new = ws.new_run(run.kind, how, settings, {**run.inputs, ORIGINAL: run_id})
    return submit(ws, new, how, settings, data)


def sameness(ws: Workspace, run_id: int) -> Sameness | None:
    """How a run compares with the one that it repeats; None when it repeats none."""
    run = ws.run(run_id)
    source = run.inputs.get(ORIGINAL)
    if not isinstance(source, int):
        return None
    original = ws.run(source)
    return compared(original, run, metrics(ws, source), metrics(ws, run_id))


def compared(original: Run, run: Run, before: Figures, after: Figures) -> Sameness:
    """Compare figures at the updates that both runs have; NaN equals NaN."""
    first, second = _values(before), _values(after)
    last = min(_last(first), _last(second))
    gaps, n_values = [], 0
    for name in first.keys() & second.keys():
        steps = sorted(step for step in first[name].keys() & second[name].keys())
        n_values += len(steps)
        pairs = [(step, first[name][step], second[name][step]) for step in steps]
        differing = [
            Gap(name, step, a, b, step)
            for step, a, b in pairs
            if a != b and not (math.isnan(a) and math.isnan(b))
        ]
        if differing:
            worst = max(differing, key=lambda gap: gap.size)
            gaps.append(Gap(name, worst.step, worst.before, worst.after, differing[0].first_step))
    made = ("version", "platform")
    return Sameness(
        original=original,
        n_metrics=len(first.keys() & second.keys()),
        n_values=n_values,
        last_step=last,
        gaps=tuple(sorted(gaps, key=lambda gap: (-gap.size, gap.metric))),
        only_one=tuple(sorted(_until(first, last) ^ _until(second, last))),
        is_elsewhere=any(original.inputs.get(n) != run.inputs.get(n) for n in made),
    )


def _values(figures: Figures) -> dict[str, dict[int, float]]:
    return {
        name: dict(points)
        for name, points in figures.items()
        if points and not name.startswith(_CLOCKS)
    }


def _last(values: Mapping[str, Mapping[int, float]]) -> int:
    return max((step for points in values.values() for step in points), default=0)


def _until(values: Mapping[str, Mapping[int, float]], last: int) -> set[str]:
    """Figures that were told by then: a run that ended early lacks those of its end."""
    return {name for name, points in values.items() if min(points) <= last}
