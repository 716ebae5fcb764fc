"""What comes in: prompts from files and from the demo set, answers to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import places
from workbench.app.preference_import import ImportResult
from workbench.data.formats.demonstrations import Demonstration, read_demonstrations
from workbench.data.formats.prompts import PromptPreview, parse_prompts, read_prompts
from workbench.data.records import NewCompletion, NewPrompt
from workbench.errors import EnvironmentProblem, UserError
from workbench.store.experiment import Experiment

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace


@dataclass(frozen=True, slots=True)
class DemoGroup:
    """A task with ready prompts; `name` is the group that its prompts get."""

    name: str
    title: str
    n: int
    languages: tuple[str, ...]


def preview_prompts(path: Path) -> PromptPreview:
    """What importing a JSONL, CSV or TXT file would add, and a sentence per bad line."""
    return read_prompts(path)


def preview_text(text: str) -> PromptPreview:
    """What adding typed or pasted text would add: one prompt per line, or JSON lines."""
    return parse_prompts(text)


def import_prompts(ws: Workspace, preview: PromptPreview) -> int:
    """Add the good lines of a preview in one undoable step; how many were new."""
    return _add(ws, preview.rows, "imported")


def demo_groups() -> list[DemoGroup]:
    """The tasks of the demo set, by name."""
    return [_to_group(path) for path in sorted((places.resource_dir() / "prompts").glob("*.jsonl"))]


def add_demo_prompts(ws: Workspace, names: Sequence[str]) -> int:
    """Add the demo prompts of these groups in one undoable step; how many were new.

    Raises:
        UserError: There is no such group.
    """
    known = {group.name for group in demo_groups()}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"There is no demo group {unknown[0]}.", f"There are: {', '.join(sorted(known))}."
        )
    return _add(ws, [prompt for name in names for prompt in _demo_prompts(name)], "added")


def import_answers(ws: Workspace, path: Path) -> ImportResult:
    """Add prompts and answers to learn from, out of a file, in one undoable step.

    Answers that are here already as written or imported ones are counted and not repeated.

    Raises:
        UserError: The file is missing, of another kind, or holds no usable line.
    """
    preview = read_demonstrations(path)
    if not preview.rows:
        why = f" Line {p.line}: {p.message}" if (p := next(iter(preview.problems), None)) else ""
        raise UserError(f"{path.name} holds no answer that can be used.{why}")
    n = _add_answers(ws.experiment, preview.rows)
    return ImportResult(n, len(preview.rows) - n, preview.problems, len(preview.problems))


def _add_answers(experiment: Experiment, rows: Sequence[Demonstration]) -> int:
    with experiment.undo.operation("imported answers") as operation:
        prompt_ids = experiment.prompts.add_many([row.prompt for row in rows])
        # Answers that a model generated are no demonstrations, even if they say the same.
        known = {
            (prompt_id, completion.text)
            for prompt_id in set(prompt_ids)
            for completion in experiment.completions.for_prompt(prompt_id)
            if completion.source != "generated"
        }
        new = {
            (prompt_id, row.answer): NewCompletion(prompt_id, row.answer, source="imported")
            for prompt_id, row in zip(prompt_ids, rows, strict=True)
            if (prompt_id, row.answer) not in known
        }
        if new:
            experiment.completions.add_many(list(new.values()), is_undoable=True)
        operation.name = f"imported {len(new)} answer{'' if len(new) == 1 else 's'}"
    return len(new)


def _add(ws: Workspace, prompts: Sequence[NewPrompt], verb: str) -> int:
    before = ws.experiment.prompts.count()
    with ws.experiment.undo.operation(f"{verb} prompts") as operation:
        ws.experiment.prompts.add_many(prompts)
        n = ws.experiment.prompts.count() - before
        operation.name = f"{verb} {n} prompt{'' if n == 1 else 's'}"
    return n


def _to_group(path: Path) -> DemoGroup:
    prompts = _demo_prompts(path.stem)
    return DemoGroup(
        name=path.stem,
        title=path.stem.replace("_", " ").capitalize(),
        n=len(prompts),
        languages=tuple(sorted({p.language for p in prompts})),
    )


def _demo_prompts(name: str) -> list[NewPrompt]:
    preview = read_prompts(places.resource_dir() / "prompts" / f"{name}.jsonl")
    if preview.problems:
        raise EnvironmentProblem(
            f"The demo prompts {name} are damaged: {preview.problems[0].message}",
            "Install the program again.",
        )
    return preview.rows
