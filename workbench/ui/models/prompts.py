"""The prompts of an experiment with the number of their answers."""

from __future__ import annotations

from dataclasses import dataclass

from workbench.app.workspace import Workspace
from workbench.data.records import Prompt, Split
from workbench.ui.models.keyset import Fetch


@dataclass(frozen=True, slots=True)
class PromptRow:
    """A prompt in a list."""

    prompt: Prompt
    n_answers: int


def prompt_key(row: PromptRow) -> int:
    """What names a row across refreshes."""
    return row.prompt.id


def prompt_fetch(
    ws: Workspace, *, split: Split | None = None, group: str | None = None, search: str = ""
) -> Fetch[PromptRow]:
    """Pages of the prompts that match all filters, in order of their ids."""

    def fetch(after: PromptRow | None, limit: int) -> list[PromptRow]:
        prompts = ws.experiment.prompts.list(
            split, group, search, after_id=after.prompt.id if after else 0, limit=limit
        )
        counts = ws.experiment.completions.counts([p.id for p in prompts])
        return [PromptRow(p, counts[p.id]) for p in prompts]

    return fetch
