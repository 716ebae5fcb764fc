"""A designed reward: a weighted sum of parts, with everything that is wrong with it at once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import tomlkit
from pydantic import Field, ValidationError

from workbench.config import toml
from workbench.config.judge import JudgeSettings
from workbench.config.reward_parts.kinds import AnyPart
from workbench.config.reward_parts.part import Part
from workbench.config.spec import Settings, hyper
from workbench.errors import UserError

MOST_PARTS = 32


class RewardDesign(Settings):
    """The sum of what its parts contribute."""

    name: str = hyper("Designed reward", "Name", "Its versions are told apart by a number.")
    parts: tuple[AnyPart, ...] = Field(default=(), max_length=MOST_PARTS)

    def total(self, raw: tuple[float, ...]) -> float:
        """The reward of an answer whose parts have these values."""
        pairs = zip(self.parts, raw, strict=True)
        return sum(part.contribution(value) for part, value in pairs)


PARTS: Mapping[str, type[Part]] = {
    model.model_fields["kind"].default: model for model in get_args(get_args(AnyPart)[0])
}
"""Every kind of part by its name, in the order in which they are offered."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a design.

    Attributes:
        part: Which part, counted from 0; None for the design itself.
        field: The setting, dotted where it is nested (judge.url); empty for the part as a whole.
        message: A sentence: what is wrong, and what to do.
    """

    part: int | None
    field: str
    message: str


class DesignError(UserError):
    """All problems of a design at once."""

    def __init__(self, problems: list[Problem]) -> None:
        n = len(problems)
        told = "; ".join(_in_words(problem) for problem in problems)
        super().__init__(
            f"{n} thing{'s' if n > 1 else ''} of this reward must be corrected: {told}"
        )
        self.problems = problems


def _in_words(problem: Problem) -> str:
    where = "" if problem.part is None else f"part {problem.part + 1}"
    if problem.field:
        where = f"{where}, {problem.field}" if where else problem.field
    return f"{where}: {problem.message}" if where else problem.message


def read(values: Mapping[str, Any]) -> RewardDesign:
    """A design from nested values, as a form or a file gives them.

    Raises:
        DesignError: With everything that is wrong.
    """
    try:
        return RewardDesign.model_validate(dict(values))
    except ValidationError:
        raise DesignError(_problems(values)) from None


def _problems(values: Mapping[str, Any]) -> list[Problem]:
    """Each part is read by itself, so that one wrong kind does not hide what else is wrong."""
    problems = []
    try:
        toml.validate(RewardDesign, {k: v for k, v in values.items() if k != "parts"})
    except toml.SettingsError as error:
        problems += [Problem(None, p.field, p.message) for p in error.problems]
    parts = values.get("parts", ())
    if not isinstance(parts, list | tuple):
        return [*problems, Problem(None, "parts", "Must be a list of parts.")]
    if len(parts) > MOST_PARTS:
        problems.append(Problem(None, "parts", f"There are more than {MOST_PARTS}."))
    for i, part in enumerate(parts):
        problems += [Problem(i, p.field, p.message) for p in part_problems(part)]
    return problems


def part_problems(values: object) -> list[toml.Problem]:
    """Everything that is wrong with the values of one part."""
    if isinstance(values, Part):
        values = values.model_dump()
    if not isinstance(values, Mapping):
        return [toml.Problem("", "A part is a table with its kind and its settings.")]
    kind = values.get("kind")
    if kind not in PARTS:
        known = ", ".join(PARTS)
        return [toml.Problem("kind", f"There is no kind {kind}. Known are: {known}.")]
    try:
        toml.validate(PARTS[str(kind)], values)
    except toml.SettingsError as error:
        return [_nested(problem) for problem in error.problems]
    return []


def _nested(problem: toml.Problem) -> toml.Problem:
    """What settings inside a part say of one of their own fields, at that field."""
    name, colon, message = problem.message.partition(": ")
    if problem.field == "judge" and colon and name in JudgeSettings.model_fields:
        return toml.Problem(f"judge.{name}", message)
    return problem


def load(path: Path) -> RewardDesign:
    """Read a design from a TOML file with a table `[[parts]]` for each part.

    Raises:
        UserError: The file is missing or is not TOML.
        DesignError: Its values are wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise UserError(f"There is no file {path}.", "Check the path of the design.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid TOML: {error}.", "Correct that line and try again."
        ) from None
    return read(values)


def dump(design: RewardDesign) -> str:
    """A design as TOML text that `load` reads back."""
    document = tomlkit.document()
    document.add("name", design.name)
    parts = tomlkit.aot()
    for part in design.parts:
        table = tomlkit.table()
        table.update(part.model_dump())
        parts.append(table)
    document.add("parts", parts)
    return tomlkit.dumps(document)
