"""`reward report`: the report card of a reward as text, or as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.options import SettingsFlags
from workbench.cli.show import Show
from workbench.config.report_card import ReportCardSettings
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace

SETTINGS = SettingsFlags(ReportCardSettings)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which reward, and whether it is measured anew."""
    parser.add_argument(
        "run", type=int, nargs="?", metavar="RUN", help="reward run (default: the newest)"
    )
    parser.add_argument(
        "--again", action="store_true", help="measure also where there is a report already"
    )
    parser.add_argument("--out", metavar="FILE", help="write it too: .json, or .txt as text")
    SETTINGS.add_to(parser)


def report(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Make the report where there is none, or anew, and print it."""
    from workbench.app import report_card

    run_id = _run(ws, options)
    card = None if options.again else report_card.read(ws, run_id)
    if card is None:
        outcome = follow(report_card.report(ws, run_id, SETTINGS.read(options)), show)
        card = report_card.read(ws, run_id)
        if outcome is not Outcome.DONE or card is None:
            return Outcome.FAILED
    if options.out:
        report_card.export(card, Path(options.out))
    stale = report_card.staleness(ws, card)
    values = {"stale": stale, "report": json.loads(report_card.to_json(card))}
    show.result(values, "\n".join(report_card.text.lines(card, stale)))
    return Outcome.DONE


def _run(ws: Workspace, options: argparse.Namespace) -> int:
    if options.run is not None:
        return int(options.run)
    newest = ws.experiment.artifacts.latest("reward_model")
    if newest is None:
        raise UserError("There is no reward yet.", "Run rlhf-workbench train reward first.")
    return newest.run_id
