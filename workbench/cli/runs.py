"""Runs that there are: list, compare, lineage, note, tags, delete, export of figures, once more."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.show import Show

if TYPE_CHECKING:
    from workbench.app.comparing import Comparison, Ending
    from workbench.app.lineage import Lineage
    from workbench.app.run_table import RunRow
    from workbench.app.workspace import Workspace

_FORMS = ("csv", "jsonl", "tensorboard", "wandb")
_KINDS = ("reward", "policy", "evaluation")


def add_commands(command: Callable[..., argparse.ArgumentParser]) -> None:
    """The commands of the family `runs`."""
    listing = command("list", "what runs there are, the newest first", key="runs list")
    listing.add_argument("text", metavar="WORD", nargs="*", help="only with these words")
    listing.add_argument("--kind", choices=_KINDS, help="only of this kind")
    listing.add_argument("--status", help="only in this state: done, failed, ...")
    listing.add_argument("--tag", help="only with this tag")
    comparing = command("compare", "two to six runs side by side", key="runs compare")
    _take_runs(comparing)
    graph = command("lineage", "what was made from what", key="runs lineage")
    graph.add_argument("run", type=int, metavar="RUN", nargs="?", help="only around this run")
    noting = command("note", "say something about a run", key="runs note")
    noting.add_argument("run", type=int, metavar="RUN")
    noting.add_argument("text", metavar="TEXT", help="empty takes the note away")
    tagging = command("tag", "give a run these tags in place of its own", key="runs tag")
    tagging.add_argument("run", type=int, metavar="RUN")
    tagging.add_argument("tags", metavar="TAG", nargs="*", help="none: takes its tags away")
    _take_runs(command("delete", "take runs out of all lists", key="runs delete"))
    exporting = command("export", "write the figures of runs", key="runs export")
    _take_runs(exporting)
    exporting.add_argument("--form", choices=_FORMS, default="csv", help="(default: csv)")
    exporting.add_argument("--folder", metavar="FOLDER", help="new folder")
    repeating = command(
        "again", "train once more exactly so, and compare the numbers", key="runs again"
    )
    repeating.add_argument("run", type=int, metavar="RUN")


def _take_runs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", type=int, metavar="RUN", nargs="+")


def list_runs(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print the runs."""
    from workbench.app import run_table
    from workbench.app import runs as app_runs

    wanted = run_table.Wanted(" ".join(options.text), options.kind, options.status, options.tag)
    found = [run for run in app_runs.runs(ws) if wanted.holds(run)]
    finals = run_table.finals(ws, [run.id for run in found])
    for run in found:
        row = run_table.RunRow(run, finals[run.id])
        show.result(_values(row), _line(row))
    if not found:
        show.note("There is no such run.")
    return Outcome.DONE


def compare(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print in what runs differ, and how each ended."""
    from workbench.app import comparing

    found = comparing.compare(ws, options.runs)
    values = {
        "runs": [run.id for run in found.runs],
        "differences": [dataclasses.asdict(d) for d in found.differences],
        "n_settings": found.n_settings,
        "endings": {
            name: [None if e is None else dataclasses.asdict(e) for e in endings]
            for name, endings in found.endings.items()
        },
    }
    show.result(values, "\n".join(_table(found)))
    return Outcome.DONE


def lineage(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Print what was made from what, a line for each thing."""
    from workbench.app.lineage import lineage as read

    graph = read(ws)
    if options.run is not None:
        graph = graph.around(f"run:{ws.run(options.run).id}")
    values = {
        "nodes": [dataclasses.asdict(node) for node in graph.nodes],
        "edges": [dataclasses.asdict(edge) for edge in graph.edges],
    }
    show.result(values, "\n".join(_graph_lines(graph)) or "Nothing was made yet.")
    return Outcome.DONE


def note(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Say something about a run."""
    from workbench.app import runs as app_runs

    run = ws.run(options.run)
    app_runs.set_note(ws, run.id, options.text)
    show.result({"run": run.id, "note": options.text}, f"Noted of {run.name}.")
    return Outcome.DONE


def tag(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Give a run its tags."""
    from workbench.app import runs as app_runs

    app_runs.set_tags(ws, ws.run(options.run).id, options.tags)
    run = ws.run(options.run)
    tags = ", ".join(run.tags) or "none"
    show.result({"run": run.id, "tags": list(run.tags)}, f"Tags of {run.name}: {tags}.")
    return Outcome.DONE


def delete(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Take runs out of all lists, and say what was made from them."""
    from workbench.app import runs as app_runs
    from workbench.app.lineage import dependants

    chosen = [ws.run(i) for i in options.runs]
    made = {m.id: m for run in chosen for m in dependants(ws, run.id)}
    n = app_runs.delete(ws, options.runs)
    left = [m.name for m in made.values() if m.id not in options.runs]
    if left:
        show.note(f"{', '.join(left)} was made from what is deleted, and stays.")
    text = f"{n} runs deleted. Undo in the window brings them back."
    show.result({"n": n, "made_from_them": left}, text)
    return Outcome.DONE


def export(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Write the figures of runs into a new folder."""
    from workbench.app.metric_export import export_metrics

    folder = Path(options.folder) if options.folder else None
    job = export_metrics(ws, options.runs, options.form, folder)
    outcome = follow(job, show)
    if outcome is Outcome.DONE and job.finished is not None:
        result = dict(job.finished.result)
        show.result(result, f"Figures are in {result.get('folder')}.")
    return outcome


def again(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Train once more, then say whether the numbers are the same."""
    from workbench.app import again as repeating

    job = repeating.again(ws, options.run)
    outcome = follow(job, show)
    found = None if job.run_id is None else repeating.sameness(ws, job.run_id)
    if outcome is Outcome.DONE and found is not None:
        values = {
            "run": job.run_id,
            "again_of": found.original.id,
            "is_equal": found.is_equal,
            "n_values": found.n_values,
            "gaps": [{**dataclasses.asdict(gap), "size": gap.size} for gap in found.gaps],
            "only_one": list(found.only_one),
        }
        lines = [found.sentence()]
        lines += [f"  {g.metric:28} {g.size:.3g} at update {g.step}" for g in found.gaps]
        show.result(values, "\n".join(lines))
    return outcome


COMMANDS = {
    "runs list": list_runs,
    "runs compare": compare,
    "runs lineage": lineage,
    "runs note": note,
    "runs tag": tag,
    "runs delete": delete,
    "runs export": export,
    "runs again": again,
}


def _values(row: RunRow) -> dict[str, object]:
    run = row.run
    return {
        "run": run.id,
        "name": run.name,
        "kind": run.kind,
        "algorithm": run.algorithm,
        "status": run.status,
        "seed": row.seed,
        "seconds": row.seconds,
        "updates": row.updates,
        "note": run.note,
        "tags": list(run.tags),
        "metrics": {name: value for name, (_, value) in row.finals.items()},
    }


def _line(row: RunRow) -> str:
    run = row.run
    shown = (("reward", "objective/scores"), ("KL", "objective/kl"))
    figures = [
        f"{word} {value:.3g}" for word, name in shown if (value := row.final(name)) is not None
    ]
    tags = [f"#{tag}" for tag in run.tags]
    tail = "  ".join([*figures, *tags, run.note])
    return f"{run.id:4}  {run.name:24} {run.kind:10} {run.status:11} {tail}".rstrip()


def _table(found: Comparison) -> list[str]:
    from workbench.app.comparing import title_of

    lines = [_row("", [run.name for run in found.runs])]
    lines.append(_row("State", [run.status for run in found.runs]))
    lines.append(f"Settings that differ ({len(found.differences)} of {found.n_settings})")
    for d in found.differences:
        lines.append(_row(f"  {d.title}", ["-" if v is None else v for v in d.values]))
    lines.append("Last figures")
    for name, endings in found.endings.items():
        lines.append(_row(f"  {title_of(name)}", [_ending(e) for e in endings]))
    return lines


def _ending(ending: Ending | None) -> str:
    if ending is None:
        return "-"
    if ending.value is None:
        return "no number"
    return f"{ending.value:.4g}" + (f", NaN after {ending.step}" if ending.is_broken else "")


def _row(title: str, words: Sequence[str]) -> str:
    return f"{title[:30]:31}" + " ".join(f"{word[:20]:>20}" for word in words)


def _graph_lines(graph: Lineage) -> list[str]:
    names = {node.key: node.title for node in graph.nodes}
    lines = []
    for node in graph.nodes:
        sources = [f"{names[e.source]} ({e.role})" for e in graph.edges if e.target == node.key]
        origin = f"  from {', '.join(sources)}" if sources else ""
        gone = "  [deleted or gone]" if node.is_gone else ""
        lines.append(f"{node.kind:11} {node.title:24} {node.fact}{gone}{origin}")
    return lines
