"""Reward models that come from elsewhere and go elsewhere: `reward import`, `export reward`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.show import Show

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `reward import`."""
    parser.add_argument("folder", metavar="FOLDER", help="classifier with one label, or adapter")
    parser.add_argument("--base", default="", help="model of an adapter (default: as it says)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--copy",
        dest="is_copied",
        action="store_true",
        default=None,
        help="copy the weights into the experiment (default below 2 GB)",
    )
    how.add_argument(
        "--reference",
        dest="is_copied",
        action="store_false",
        default=None,
        help="leave the weights where they are",
    )


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of `export reward`."""
    parser.add_argument(
        "run", metavar="RUN", type=int, nargs="?", help="reward run (default: the newest)"
    )
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="new folder")
    parser.add_argument("--merged", action="store_true", help="base and adapter as one classifier")


def take_in(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """`reward import`."""
    from workbench.app import reward_import

    job = reward_import.import_reward(
        ws, Path(options.folder), base=options.base, is_copied=options.is_copied
    )
    return follow(job, show)


def export(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """`export reward`."""
    from workbench.app import planning, reward_export

    run = planning.reward_source(ws, options.run)
    folder = Path(options.folder) if options.folder else None
    return follow(reward_export.export_reward(ws, run.id, folder, options.merged), show)
