"""The command `reward score`: texts that a reward of the experiment scores."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.cli.following import Outcome, follow
from workbench.cli.show import Show
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.app.score_text import Text, TextScore
    from workbench.app.workspace import Workspace

_WAYS = {
    "prefixes": "what each token changes in the score of the answer so far (beginnings are read "
    "as they stand; reward models are trained on whole answers only)",
    "gradient": "gradient × input: how the score would begin to move if that one embedding grew "
    "(no cause, and it does not add up to the score)",
}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Which reward, and which texts."""
    parser.add_argument("run", type=int, nargs="?", help="reward run (default: the newest)")
    parser.add_argument("--prompt", metavar="TEXT", help="what is answered")
    parser.add_argument("--answer", metavar="TEXT", help="the answer")
    parser.add_argument(
        "--file", metavar="FILE", help="many of them: JSONL or CSV with prompt and answer"
    )


def score(ws: Workspace, options: argparse.Namespace, show: Show) -> Outcome:
    """Score them; for a single text also by token."""
    from workbench.app import score_text

    texts = list(_texts(options, show))
    job = score_text.score(ws, texts, options.run, by_token=not options.file)
    outcome = follow(job, show)
    found = job.finished.result.get("scores") if job.finished else None
    if isinstance(found, list):
        for scored in found:
            lines = [_line(scored)] if options.file else list(_lines(scored))
            show.result(dataclasses.asdict(scored), "\n".join(lines))
    return outcome


def _texts(options: argparse.Namespace, show: Show) -> Iterator[Text]:
    from workbench.app.score_text import Text, typed
    from workbench.data.formats.demonstrations import read_demonstrations

    if options.file:
        read = read_demonstrations(Path(options.file))
        for problem in read.problems:
            show.note(f"Line {problem.line} is left out: {problem.message}")
        yield from (Text(row.prompt.messages, row.answer) for row in read.rows)
        return
    if options.prompt is None or options.answer is None:
        raise UserError(
            "There is no text to score.", "Give --prompt and --answer, or a file with --file."
        )
    yield typed(options.prompt, options.answer)


def _line(scored: TextScore) -> str:
    return f"{scored.score:+.4f}  {' '.join(scored.text.answer.split())[:80]}"


def _lines(scored: TextScore) -> Iterator[str]:
    yield f"{scored.score:+.4f}  by {scored.run_name}"
    for part in scored.parts:
        yield f"  {part.contribution:+.4f}  {part.title} (its value: {part.value:.4g})"
    for way in scored.by_token:
        yield f"\n{_WAYS[way.way]}"
        if way.so_far:
            yield f"  {way.start:+.4f}  before the first token"
        for i, (token, value) in enumerate(zip(way.tokens, way.values, strict=True)):
            so_far = f"  so far {way.so_far[i]:+.4f}" if way.so_far else ""
            yield f"  {value:+.4f}{so_far}  {token!r}"
