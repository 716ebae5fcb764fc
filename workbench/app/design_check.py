"""What is wrong with a reward design, and where what its parts need lies. Cheap, and no torch."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.app import bases, user_functions
from workbench.app.answers import all_prompts
from workbench.app.library import find
from workbench.app.training_data import usable_pairs
from workbench.app.workspace import Workspace
from workbench.config.reward_parts import patterns
from workbench.config.reward_parts.design import DesignError, Problem, RewardDesign, read
from workbench.config.reward_parts.kinds import (
    FunctionPart,
    JsonPart,
    JudgePart,
    KeywordsPart,
    RegexPart,
    RewardModelPart,
    SimilarityPart,
)
from workbench.config.reward_parts.part import Part
from workbench.data.design_folder import Reference, prompt_digest
from workbench.data.records import Prompt
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


def sources(ws: Workspace, design: RewardDesign, without: Container[int] = ()) -> Sources:
    """What the parts of a design need, but for those with which `check` found something wrong."""
    folders = {}
    wanted: dict[str, None] = {}
    for i, part in enumerate(design.parts):
        if i in without:
            continue
        if isinstance(part, RewardModelPart):
            folders[i] = ws.artifact_folder(part.run, "reward_model")
        elif isinstance(part, FunctionPart):
            folders[i] = Path(part.file).expanduser()
        elif isinstance(part, SimilarityPart | JudgePart):
            wanted[part.against] = None
    found = [Reference(a, d, text) for a in wanted for d, text in references(ws, a).items()]
    return Sources(folders, found)


def references(ws: Workspace, against: str) -> dict[str, str]:
    """The newest answer of a kind to each prompt that has one, by the prompt's digest.

    Args:
        ws: The experiment.
        against: base, written or chosen, as parts say it.
    """
    completions = ws.experiment.completions
    texts: Iterable[tuple[int, str]]
    if against == "written":
        texts = completions.texts(("edited", "imported"))
    elif against == "base":
        texts = completions.texts_of_base(ws.model_info().digest)
    else:
        pairs, _ = usable_pairs(ws)
        return {prompt_digest(p.prompt.messages): p.chosen for p in pairs if p.chosen.strip()}
    digests = {p.id: prompt_digest(p.messages) for p in _prompts(ws)}
    return {digests[i]: text for i, text in texts if i in digests and text.strip()}


def without_reference(ws: Workspace, design: RewardDesign) -> Iterator[str]:
    """Sentences on prompts that a part has no reference for."""
    digests = {prompt_digest(p.messages) for p in _prompts(ws)}
    for i, part in enumerate(design.parts):
        if isinstance(part, SimilarityPart | JudgePart):
            n = len(digests - references(ws, part.against).keys())
            if n:
                yield (
                    f"Part {i + 1} ({part.title}) has no {part.against} answer for {n} of "
                    f"{len(digests)} prompts; answers to them count as an average there."
                )


def _prompts(ws: Workspace) -> list[Prompt]:
    return [*all_prompts(ws, "train"), *all_prompts(ws, "heldout")]


def _wrong(ws: Workspace, part: Part) -> Told:
    if part.paid == "token" and not part.about.is_by_token:
        yield "paid", f"{part.about.title} has a value for whole answers only. Set it to end."
    for kind, wrong in _WRONG.items():
        if isinstance(part, kind):
            yield from wrong(ws, part)


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
        bases.require(run, ws.model_info())
    except UserError as error:
        yield "run", str(error)


def _judge(ws: Workspace, part: JudgePart) -> Told:
    yield from _compared(ws, part)
    if part.judge.where == "folder":
        try:
            find(part.judge.model)
        except UserError as error:
            yield "judge.model", str(error)


def _compared(ws: Workspace, part: SimilarityPart | JudgePart) -> Told:
    try:
        n = len(references(ws, part.against))
    except UserError as error:
        yield "against", str(error)
        return
    if not n:
        yield "against", _NO_REFERENCE[part.against]


_NO_REFERENCE = {
    "base": "The base has no stored answer. Generate some on the Answers page.",
    "written": "There is no edited or imported answer. Write or import some on the Answers page.",
    "chosen": "No answer was chosen in a pair yet. Rank some pairs.",
}


def _keywords(_ws: Workspace, part: KeywordsPart) -> Told:
    if not part.word_list:
        yield "words", "There is no word yet. Write one per line."


def _pattern(_ws: Workspace, part: RegexPart) -> Told:
    if not part.pattern:
        yield "pattern", "There is no pattern yet."
    elif told := patterns.slowness(part.pattern):
        yield "pattern", told


def _json(_ws: Workspace, part: JsonPart) -> Told:
    if part.key_list and part.wanted == "list":
        yield "keys", "A list has no keys. Set Form to object, or leave them out."


def _function(_ws: Workspace, part: FunctionPart) -> Told:
    if not part.file.strip():
        yield "file", "Which Python file?"
        return
    path = Path(part.file).expanduser()
    try:
        there = user_functions.functions(path)
        is_allowed = user_functions.is_allowed(path)
    except UserError as error:
        yield "file", str(error)
        return
    if part.function not in there:
        near = f"There are {', '.join(there)}." if there else "There is none."
        yield "function", f"{path.name} has no function {part.function}. {near}"
    if not is_allowed:
        yield "file", f"{path.name} is not allowed to run yet, or has changed. {_ALLOW}"


_ALLOW = "Read it, then allow it here or by rlhf-workbench reward allow FILE."
_WRONG: Mapping[type[Part], Callable[[Workspace, Any], Told]] = {
    RewardModelPart: _reward_run,
    JudgePart: _judge,
    SimilarityPart: _compared,
    KeywordsPart: _keywords,
    RegexPart: _pattern,
    JsonPart: _json,
    FunctionPart: _function,
}
