"""What is wrong with a run: sentences, or JSON."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.doctor import DoctorSettings

if TYPE_CHECKING:
    from workbench.app.doctor import Finding
    from workbench.app.workspace import Workspace
    from workbench.data.records import Run

THRESHOLDS = SettingsFlags(DoctorSettings)
_MARKS = {"info": "  ", "warn": "! ", "bad": "!!"}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which run, and from where on it is called ill."""
    parser.add_argument("run", type=int, metavar="RUN", help="number of the run")
    parser.add_argument(
        "--keep", action="store_true", help="judge this experiment's runs so from now on"
    )
    THRESHOLDS.add_to(parser)


def report(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print what the doctor finds."""
    from workbench.app import doctor

    thresholds = THRESHOLDS.read(options, doctor.saved(ws))
    run, found = ws.run(options.run), doctor.examine(ws, options.run, thresholds)
    if options.keep:
        doctor.save(ws, thresholds)
    values = {"run": run.id, "findings": [dataclasses.asdict(f) for f in found]}
    show.result(values, "\n".join(_lines(run, found)))
    return Outcome.DONE


def _lines(run: Run, found: list[Finding]) -> Iterator[str]:
    from workbench.app.doctor import change_words

    if not found:
        yield f"{run.name}: nothing is wrong by what it told."
    for finding in found:
        yield f"{_MARKS[finding.level]} {finding.title} ({finding.metric})"
        yield f"   {finding.seen}"
        yield from (f"   Cause: {cause}" for cause in finding.causes)
        yield f"   {finding.advice}"
        if finding.change:
            yield f"   Next run: {change_words(run, finding.change)}"
