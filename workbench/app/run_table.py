"""Runs as rows of a table: what they ended with, which of them are wanted, and in which order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from workbench.app.workspace import Workspace
from workbench.data.records import Run, RunKind, RunStatus

Value = str | float | None
Finals = Mapping[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run with the last (step, value) of each of its figures."""

    run: Run
    finals: Finals

    @property
    def updates(self) -> int | None:
        """How far it came; None where nothing was told."""
        return max((step for step, _ in self.finals.values()), default=None)

    @property
    def seed(self) -> int | None:
        """What its random numbers come from."""
        seed = self.run.settings.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def seconds(self) -> float | None:
        """From its start to its end, waiting and pauses included; to now while it goes on."""
        end = _moment(self.run.finished_at) if self.run.finished_at else datetime.now(UTC)
        return max(0.0, (end - _moment(self.run.created_at)).total_seconds())

    def final(self, name: str) -> float | None:
        """The last value of a figure; None where it was not measured or is no number."""
        _, value = self.finals.get(name, (0, math.nan))
        return value if math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which runs to show. Every word of `text` must be in name, algorithm, note, tags or model."""

    text: str = ""
    kind: RunKind | None = None
    status: RunStatus | None = None
    tag: str | None = None

    def holds(self, run: Run) -> bool:
        """Whether a run is one of them."""
        model = str(run.inputs.get("model", ""))
        heap = " ".join((run.name, run.algorithm, run.note, *run.tags, model)).casefold()
        return (
            self.kind in (None, run.kind)
            and self.status in (None, run.status)
            and (self.tag is None or self.tag in run.tags)
            and all(word in heap for word in self.text.casefold().split())
        )


def finals(ws: Workspace, run_ids: Iterable[int]) -> dict[int, Finals]:
    """The last figures of runs: a read that takes its time."""
    return {run_id: ws.experiment.runs.final_metrics(run_id) for run_id in run_ids}


def ordered(
    rows: Sequence[RunRow], value: Callable[[RunRow], Value], *, is_falling: bool
) -> list[RunRow]:
    """Rows by a value; those that have none come last either way, equal ones the newest first."""
    newest = sorted(rows, key=lambda row: -row.run.id)
    there = [row for row in newest if value(row) is not None]
    missing = [row for row in newest if value(row) is None]
    return sorted(there, key=lambda row: _rank(value(row)), reverse=is_falling) + missing


def tags(runs: Iterable[Run]) -> list[str]:
    """All tags that runs have, each once, in order of the alphabet."""
    return sorted({tag for run in runs for tag in run.tags}, key=str.casefold)


def _rank(value: Value) -> tuple[int, float, str]:
    return (1, 0.0, value.casefold()) if isinstance(value, str) else (0, value or 0.0, "")


def _moment(iso: str) -> datetime:
    return datetime.fromisoformat(iso.replace("Z", "+00:00"))
