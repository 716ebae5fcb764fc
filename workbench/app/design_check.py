"""What is wrong with a reward design, and where what its parts need lies. Cheap, and no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.app.workspace import Workspace, require_model
from workbench.config.reward_parts.design import DesignError, Problem, RewardDesign, read
from workbench.config.reward_parts.kinds import KeywordsPart, RewardModelPart
from workbench.config.reward_parts.part import Part
from workbench.data.design_folder import Reference
from workbench.errors import UserError

Told = Iterator[tuple[str, str]]
"""A field of a part and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What goes into a design's folder beside the design.

    Attributes:
        folders: Reward folder or Python file of the parts that have one.
        references: Answers that parts compare with.
    """

    folders: Mapping[int, Path]
    references: Sequence[Reference]


def check(ws: Workspace, design: RewardDesign | Mapping[str, Any]) -> list[Problem]:
    """Everything that is wrong with a design, or with values that are to become one, at once."""
    if not isinstance(design, RewardDesign):
        try:
            design = read(design)
        except DesignError as error:
            return error.problems
    problems = []
    if not design.parts:
        problems.append(Problem(None, "parts", "There is no part yet. Add one."))
    elif not any(part.weight for part in design.parts):
        problems.append(
            Problem(None, "parts", "All weights are 0, so every answer earns the same.")
        )
    for i, part in enumerate(design.parts):
        problems += [Problem(i, field, message) for field, message in _wrong(ws, part)]
    return problems


def sources(ws: Workspace, design: RewardDesign) -> Sources:
    """What the parts of a design need; `check` found nothing wrong with it."""
    folders = {
        i: ws.artifact_folder(part.run, "reward_model")
        for i, part in enumerate(design.parts)
        if isinstance(part, RewardModelPart)
    }
    return Sources(folders, [])


def _wrong(ws: Workspace, part: Part) -> Told:
    if part.paid == "token" and not part.about.is_by_token:
        yield "paid", f"{part.about.title} has a value for whole answers only. Set it to end."
    if isinstance(part, RewardModelPart):
        yield from _reward_run(ws, part)
    elif isinstance(part, KeywordsPart) and not part.word_list:
        yield "words", "There is no word yet. Write one per line."


def _reward_run(ws: Workspace, part: RewardModelPart) -> Told:
    if not part.run:
        yield "run", "Choose a reward run."
        return
    try:
        run = ws.run(part.run)
        if run.kind != "reward":
            yield "run", f"{run.name} is no reward run. Choose one that is."
            return
        ws.artifact_folder(part.run, "reward_model")
        require_model(run, ws.model_info())
    except UserError as error:
        yield "run", str(error)
