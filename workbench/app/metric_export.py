"""Figures of runs for other programs: CSV, JSON lines, TensorBoard, Weights & Biases offline."""

from __future__ import annotations

import importlib
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from workbench.app.exports import free_folder
from workbench.app.runs import metrics
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.data.folders import atomic_folder, telling_disk_problems
from workbench.data.formats.tensorboard import Point, write_events
from workbench.data.formats.writers import LinesWriter, TableWriter
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import Progress
from workbench.jobs.runner import Job, Working

Figures = Mapping[str, Sequence[tuple[int, float]]]
Write = Callable[[Workspace, Run, Figures, Path], None]


def export_metrics(
    ws: Workspace, run_ids: Sequence[int], form: str, folder: Path | None = None
) -> Job:
    """Write the figures of runs into a new folder, one file or folder per run.

    Args:
        ws: The experiment.
        run_ids: Which runs.
        form: One of `FORMS`.
        folder: Where to; None takes a new one in the experiment's exports.

    Raises:
        UserError: There is no such form or run, nothing to write, or the program is not installed.
    """
    if form not in FORMS:
        raise UserError(f"There is no form {form}.", f"Known are: {', '.join(FORMS)}.")
    chosen = [ws.run(i) for i in run_ids]
    if not chosen:
        raise UserError("No run is chosen.", "Choose one or more runs on the Runs page.")
    if form == "wandb":
        _wandb()
    target = folder or free_folder(ws.path / "exports" / f"metrics-{form}")
    if target.exists():
        raise UserError(f"{target} is there already.", "Choose a new folder.")
    ws.check_writable()

    def work(cancel: CancelToken) -> Working:
        with telling_disk_problems(target), atomic_folder(target) as partial:
            for done, run in enumerate(chosen):
                cancel.raise_if_cancelled()
                yield Progress(done, len(chosen), "Writing figures")
                FORMS[form](ws, run, metrics(ws, run.id), partial)
        return {"folder": str(target), "runs": len(chosen)}

    return ws.submit(f"Figures of {len(chosen)} runs", "export", work, unit="runs")


def _file_name(run: Run) -> str:
    return f"run-{run.id:04}-" + re.sub(r"[^A-Za-z0-9]+", "-", run.name).strip("-").lower()


def _rows(figures: Figures) -> Iterator[dict[str, float | int | None]]:
    """One row per step with every figure of it; what is no number is empty, as JSON has none."""
    steps = sorted({step for points in figures.values() for step, _ in points})
    at = {name: dict(points) for name, points in figures.items()}
    for step in steps:
        row: dict[str, float | int | None] = {"step": step}
        for name, points in at.items():
            value = points.get(step, math.nan)
            row[name] = value if math.isfinite(value) else None
        yield row


def _csv(_ws: Workspace, run: Run, figures: Figures, folder: Path) -> None:
    writer = TableWriter(folder / f"{_file_name(run)}.csv", ["step", *figures])
    for row in _rows(figures):
        writer.write(row)
    writer.close()


def _lines(_ws: Workspace, run: Run, figures: Figures, folder: Path) -> None:
    writer = LinesWriter(folder / f"{_file_name(run)}.jsonl")
    for row in _rows(figures):
        writer.write({name: value for name, value in row.items() if value is not None})
    writer.close()


def _tensorboard(_ws: Workspace, run: Run, figures: Figures, folder: Path) -> None:
    """Steps are spread evenly over the time that the run took: when each was is not recorded."""
    began = _seconds(run.created_at)
    ended = _seconds(run.finished_at) if run.finished_at else began
    last = max((points[-1][0] for points in figures.values() if points), default=1) or 1
    points: list[Point] = [
        (step, name, value, began + (ended - began) * step / last)
        for name, series in figures.items()
        for step, value in series
    ]
    write_events(folder / _file_name(run), sorted(points, key=lambda p: p[0]), began)


def _weights_and_biases(ws: Workspace, run: Run, figures: Figures, folder: Path) -> None:
    """An offline run, which `wandb sync` sends when its user wants it: nothing is sent here."""
    os.environ["WANDB_MODE"] = "offline"
    begun = _wandb().init(
        project=ws.path.name, name=run.name, dir=str(folder), config=dict(run.settings)
    )
    tell = begun.log
    for row in _rows(figures):
        tell({k: v for k, v in row.items() if v is not None and k != "step"}, step=row["step"])
    begun.finish()


def _wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError:
        raise UserError(
            "Weights & Biases is not installed here.",
            "Install it with: pip install wandb. Its offline files need no account.",
        ) from None


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


FORMS: Mapping[str, Write] = {
    "csv": _csv,
    "jsonl": _lines,
    "tensorboard": _tensorboard,
    "wandb": _weights_and_biases,
}
"""What figures can be written as."""
