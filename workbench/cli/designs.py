"""Reward designs on the command line: parts, checking, saving, measuring, allowing a file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.cli.following import Outcome, follow
from workbench.cli.show import Show
from workbench.config.reward_parts import design as designs_config
from workbench.config.reward_parts.design import PARTS, DesignError, RewardDesign

if TYPE_CHECKING:
    from workbench.app.designs import Measured
    from workbench.app.workspace import Workspace

_TEXT = 60

Adding = Callable[..., argparse.ArgumentParser]


def add_commands(add: Adding) -> None:
    """The commands; `add` takes their name, help and key."""
    add("parts", "the kinds of parts that a reward can be made of", key="reward parts")
    design = add("design", "check a reward design, and save it", key="reward design")
    design.add_argument("file", metavar="FILE.toml")
    design.add_argument("--save", action="store_true", help="save it as a new version")
    measuring = add("measure", "what each part makes of stored answers", key="reward measure")
    measuring.add_argument("file", metavar="FILE.toml")
    measuring.add_argument("-n", type=int, default=16, help="how many answers (default: 16)")
    measuring.add_argument(
        "--calibrate",
        metavar="NEW.toml",
        help="write the design with shift and scale measured on the base's answers",
    )
    allowing = add("allow", "let rewards run a Python file of yours", key="reward allow")
    allowing.add_argument("file", metavar="FILE.py")
    allowing.add_argument("--withdraw", action="store_true", help="take the permission away")


def parts(_options: argparse.Namespace, show: Show) -> Outcome:
    """List the kinds of parts."""
    for kind, model in PARTS.items():
        about = model.about
        facts = [about.range, "token by token or at the end" if about.is_by_token else "at the end"]
        if about.languages:
            facts.append(about.languages)
        if about.needs:
            facts.append(f"needs: {', '.join(sorted(about.needs))}")
        values = {
            "kind": kind,
            "title": about.title,
            "help": about.help,
            "low": about.low,
            "high": about.high,
            "unit": about.unit,
            "needs": sorted(about.needs),
            "languages": about.languages,
            "is_by_token": about.is_by_token,
            "warning": about.warning,
        }
        lines = [f"{kind} ({about.title})", f"  {about.help}", f"  {'; '.join(facts)}"]
        show.result(values, "\n".join([*lines, *([f"  {about.warning}"] if about.warning else [])]))
    return Outcome.DONE


def design(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Say what is wrong with a design, or save it.

    Raises:
        DesignError: Something is wrong with it.
    """
    from workbench.app import designs

    found = designs_config.load(Path(options.file))
    if problems := designs.check(ws, found):
        raise DesignError(problems)
    if options.save:
        return follow(designs.save(ws, found), show)
    lines = [f"{found.name}: nothing is wrong with it."]
    lines += [f"  {part.weight:+g} {part.title}" for part in found.parts]
    show.result(found.model_dump(), "\n".join(lines))
    return Outcome.DONE


def measure(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print the table of a design, and write a calibrated one."""
    from workbench.app import designs

    found = designs_config.load(Path(options.file))
    job = designs.measure(ws, found, n=options.n)
    outcome = follow(job, show)
    if outcome is not Outcome.DONE:
        return outcome
    table = designs.measured(ws, job)
    show.result(_values(table), "\n".join(_lines(table)))
    if options.calibrate:
        target = Path(options.calibrate)
        target.write_text(designs_config.dump(designs.calibrated(found, table)), encoding="utf-8")
        show.note(f"Wrote {target}.")
    return outcome


def allow(options: argparse.Namespace, show: Show) -> Outcome:
    """Give or take the permission of a file."""
    from workbench.app import user_functions

    path = Path(options.file)
    if options.withdraw:
        user_functions.forbid(path)
        show.result({"file": str(path), "is_allowed": False}, f"{path} may not run any more.")
        return Outcome.DONE
    digest = user_functions.allow(path)
    about = PARTS["python-function"].about
    show.result(
        {"file": str(path), "is_allowed": True, "digest": digest},
        f"{about.warning}\n{path} may run as it is now ({digest[:12]}).",
    )
    return Outcome.DONE


def _values(table: Measured) -> Mapping[str, Any]:
    return {
        "parts": [part.title for part in table.design.parts],
        "problems": list(table.problems),
        "rows": [
            {
                "completion": row.completion_id,
                "raw": list(row.raw),
                "total": _total(table.design, row.raw),
                "kl": row.kl,
            }
            for row in table.rows
        ],
    }


def _total(found: RewardDesign, raw: tuple[float | None, ...]) -> float | None:
    known = [value for value in raw if value is not None]
    return found.total(tuple(known)) if len(known) == len(raw) else None


def _lines(table: Measured) -> Iterator[str]:
    for i, part in enumerate(table.design.parts):
        problem = f": {table.problems[i]}" if table.problems[i] else ""
        yield f"{i + 1} {part.title} ({part.about.range}), weight {part.weight:g}{problem}"
    numbers = "".join(f"{i + 1:>9}" for i in range(len(table.design.parts)))
    yield f"\n{'answer':>8}{numbers}{'total':>9}{'KL':>8}"
    for row in table.rows:
        cells = "".join(_cell(value, 9) for value in (*row.raw, _total(table.design, row.raw)))
        yield f"{row.completion_id:>8}{cells}{_cell(row.kl, 8)}  {_short(row.text)}"


def _cell(value: float | None, width: int) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>{width}}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TEXT else f"{line[: _TEXT - 1]}…"
