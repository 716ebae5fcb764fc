"""The command line: the same functions as the window's, as commands."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from workbench.cli.commands import run, tour_settings
from workbench.cli.following import Outcome
from workbench.cli.parser import parse
from workbench.cli.show import Show
from workbench.errors import EnvironmentProblem, UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        0 when it was done, or stopped and saved; 1 when it failed; 2 when the input is wrong.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Progress is ours to show; what libraries print would break it up.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TQDM_DISABLE", "1")
    show = Show(is_json="--json" in arguments)
    try:
        options = parse(arguments)
        if options.command is None or getattr(options, "window", False):
            return _open_window(options)
        outcome = run(options, show)
    except UserError as error:
        show.problem(error)
        return 2
    except EnvironmentProblem as error:
        show.problem(error)
        return 1
    except KeyboardInterrupt:
        show.note("Cancelled.")
        return 1
    if outcome is Outcome.STUCK:
        # A worker that is still inside torch aborts the process when the interpreter ends.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)
    return 0 if outcome is Outcome.DONE else 1


def _open_window(options: argparse.Namespace) -> int:
    from workbench.ui import application

    tour = tour_settings(options) if options.command == "tour" else None
    return application.run(Path(options.experiment) if options.experiment else None, tour)
