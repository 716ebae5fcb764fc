"""Preferences in and out: the flags of both commands, and what they call."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from workbench.cli.following import Outcome, follow
from workbench.cli.show import Show
from workbench.data.formats.exports import EXPORTS
from workbench.data.formats.preferences import FORMS, TARGETS
from workbench.data.records import AnnotatorKind, Strength
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace

_PROBLEMS_SHOWN = 20


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """What to read, and how."""
    parser.add_argument("file", metavar="FILE")
    parser.add_argument(
        "--format", choices=list(FORMS), help="form of the file (default: found by its first lines)"
    )
    parser.add_argument(
        "--columns",
        metavar="OURS=THEIRS,...",
        help=f"which columns of the file are {', '.join(TARGETS)}",
    )


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Which judgements to write, and how."""
    parser.add_argument("folder", metavar="FOLDER", nargs="?", help="new folder")
    parser.add_argument(
        "--format",
        action="append",
        choices=list(EXPORTS),
        help="form to write, several times for several (default: trl and csv)",
    )
    parser.add_argument(
        "--annotator", action="append", metavar="NAME", help="only judgements of this annotator"
    )
    parser.add_argument(
        "--annotator-kind",
        action="append",
        choices=get_args(AnnotatorKind),
        help="only judgements of annotators of this kind",
    )
    parser.add_argument(
        "--group", action="append", metavar="NAME", help="only prompts of this group"
    )
    parser.add_argument("--tag", action="append", metavar="NAME", help="only prompts with this tag")
    parser.add_argument(
        "--min-strength",
        type=int,
        choices=get_args(Strength),
        default=0,
        help="only choices that are 1 slightly or 2 clearly better",
    )
    parser.add_argument(
        "--agreed", action="store_true", help="only pairs of which all annotators say the same"
    )
    parser.add_argument("--split", choices=["train", "heldout"], help="only prompts of this split")
    parser.add_argument(
        "--without-simulated", action="store_true", help="leave simulated judgements out"
    )
    parser.add_argument(
        "--split-files", action="store_true", help="files of their own for train and heldout"
    )
    parser.add_argument(
        "--heldout-share",
        type=float,
        metavar="X",
        help="hold out this share of the prompts instead of those that are held out already",
    )


def take_in(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Import a file, and tell its bad lines."""
    from workbench.app import preference_import

    job = preference_import.import_preferences(
        ws, Path(options.file), _columns(options.columns), options.format
    )
    outcome = follow(job, show)
    if outcome is not Outcome.DONE or job.finished is None or "n_known" not in job.finished.result:
        return outcome
    done = preference_import.result_of(job.finished.result)
    for problem in done.problems[:_PROBLEMS_SHOWN]:
        show.note(f"  line {problem.line}: {problem.message}")
    if done.n_problems > _PROBLEMS_SHOWN:
        show.note(f"  and {done.n_problems - _PROBLEMS_SHOWN} more")
    for note in done.notes:
        show.note(f"  {note}")
    known = f", {done.n_known} were there already" if done.n_known else ""
    show.result(
        {"n": done.n, "n_known": done.n_known, "n_problems": done.n_problems},
        f"{done.n} pairs imported{known}, {done.n_problems} lines left out.",
    )
    return outcome


def export(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Write judgements into a new folder."""
    from workbench.app import preference_export
    from workbench.app.preference_export import DEFAULT_FORMS, ExportChoice
    from workbench.app.tour import free_folder
    from workbench.store.exchange import PairFilter

    kinds = tuple(options.annotator_kind or get_args(AnnotatorKind))
    if options.without_simulated:
        kinds = tuple(kind for kind in kinds if kind != "simulated")
    if not kinds:
        raise UserError(
            "Only simulated judgements are wanted, and none of them.", "Leave one flag out."
        )
    choice = ExportChoice(
        forms=tuple(options.format or DEFAULT_FORMS),
        which=PairFilter(
            annotators=tuple(options.annotator or ()),
            kinds=kinds,
            groups=tuple(options.group or ()),
            tags=tuple(options.tag or ()),
            min_strength=options.min_strength,
            is_agreed=options.agreed,
            split=options.split,
        ),
        is_split=options.split_files,
        heldout_share=options.heldout_share,
    )
    folder = Path(options.folder) if options.folder else free_folder(ws, "preferences")
    job = preference_export.export_preferences(ws, folder, choice)
    outcome = follow(job, show)
    if outcome is Outcome.DONE and job.finished is not None and job.finished.result:
        done = job.finished.result
        show.result(
            {key: done[key] for key in ("folder", "n_pairs", "n_ties")},
            f"{done['n_pairs']} pairs written to {done['folder']}.",
        )
    return outcome


def _columns(text: str | None) -> dict[str, str] | None:
    """Pairs of names, as `prompt=question,chosen=best`."""
    if not text:
        return None
    parts = [part.partition("=") for part in text.split(",")]
    if wrong := [ours for ours, sign, theirs in parts if not (sign and ours.strip() and theirs)]:
        raise UserError(
            f"{wrong[0]} names no column.", "Write --columns prompt=NAME,chosen=NAME,rejected=NAME."
        )
    return {ours.strip(): theirs.strip() for ours, _, theirs in parts}
