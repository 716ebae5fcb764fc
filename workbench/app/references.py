"""Answers that those of a model are compared with: the experiment's own, or those of a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workbench.app import aggregate
from workbench.app.workspace import Workspace
from workbench.config.text_evaluation import References
from workbench.data.formats.demonstrations import read_demonstrations
from workbench.data.records import Prompt
from workbench.errors import UserError

Found = dict[int, list[str]]  # texts by prompt, none of them twice


def of_experiment(ws: Workspace, prompts: Sequence[Prompt], source: References) -> Found:
    """Answers to these prompts that people wrote, edited or imported, or chose in a pair."""
    found: Found = {prompt.id: [] for prompt in prompts}
    if source == "none":
        return found
    preferences = [
        p for p in aggregate.preferences(ws, aggregate.rule_of(ws)) if p.prompt.id in found
    ]
    rejected = {(p.prompt.id, p.rejected) for p in preferences}
    texts: list[tuple[int, str]] = []
    if source in ("written", "both"):
        written = ws.experiment.completions.texts(("edited", "imported"))
        texts += [pair for pair in written if pair not in rejected]
    if source in ("chosen", "both"):
        texts += [(p.prompt.id, p.chosen) for p in preferences]
    for prompt_id, text in texts:
        if text.strip() and text not in found.get(prompt_id, (text,)):
            found[prompt_id].append(text)
    return found


def of_file(path: Path, prompts: Sequence[Prompt]) -> tuple[Found, list[str]]:
    """Answers of a JSONL or CSV file to these prompts, and sentences on what was left out.

    Raises:
        UserError: The file cannot be read, or answers none of these prompts.
    """
    preview = read_demonstrations(path)
    found: Found = {prompt.id: [] for prompt in prompts}
    by_messages = {prompt.messages: prompt.id for prompt in prompts}
    n_strange = 0
    for row in preview.rows:
        prompt_id = by_messages.get(row.prompt.messages)
        if prompt_id is None:
            n_strange += 1
        elif row.answer not in found[prompt_id]:
            found[prompt_id].append(row.answer)
    if not any(found.values()):
        raise UserError(
            f"No answer in {path.name} is to a held-out prompt of this experiment.",
            "Import its prompts into the held-out split first, or choose another file.",
        )
    notes = []
    if n_strange:
        notes.append(
            f"{n_strange} of {len(preview.rows)} answers in {path.name} are to other prompts and "
            "are left out."
        )
    if preview.problems:
        first = preview.problems[0]
        notes.append(
            f"{len(preview.problems)} lines of {path.name} cannot be read; line {first.line}: "
            f"{first.message}"
        )
    return found, notes
