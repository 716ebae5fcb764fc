"""Experiments with pairs to rank, for the tests of labelling."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.data.records import Message, NewCompletion, NewPrompt

SKY = (
    "Sunlight looks white, but it is a mix of every colour. Tiny gas molecules scatter blue "
    "light much more than red light.",
    "Sunlight looks white, but it has many colours in it. The ocean reflects blue back up into "
    "the sky.",
)


def prompt(text: str, **more: str) -> NewPrompt:
    return NewPrompt(messages=(Message("user", text),), **more)  # type: ignore[arg-type]


def answer(prompt_id: int, text: str, seed: int = 0, n_tokens: int = 20) -> NewCompletion:
    return NewCompletion(
        prompt_id=prompt_id,
        text=text,
        token_ids=tuple(range(n_tokens)),
        finish="stop" if seed % 2 == 0 else "length",
        model_digest="digest",
        model_name="tiny",
        sampling={"max_new_tokens": 64},
        seed=seed,
    )


def add_pair(ws: Workspace, question: str, first: str, second: str, **more: str) -> int:
    """Add a prompt with two answers; its id."""
    (prompt_id,) = ws.experiment.prompts.add_many([prompt(question, **more)])
    ws.experiment.completions.add_many([answer(prompt_id, first), answer(prompt_id, second, 1)])
    return prompt_id


def add_pairs(ws: Workspace, n: int) -> None:
    """`n` prompts with two different answers each, paired."""
    for i in range(n):
        add_pair(ws, f"Question number {i}?", f"The first answer to {i}.", f"Another one, {i}.")
    labelling.make_comparisons(ws)


def stored_verdicts(folder: Path) -> list[tuple[int, str]]:
    """Standing judgements as another program sees them: read from the file, not through ours."""
    connection = sqlite3.connect(f"file:{folder / 'experiment.db'}?mode=ro", uri=True)
    try:
        rows = connection.execute(
            "SELECT comparison_id, verdict FROM judgements WHERE is_undone = 0 ORDER BY id"
        )
        return [(row[0], row[1]) for row in rows]
    finally:
        connection.close()
