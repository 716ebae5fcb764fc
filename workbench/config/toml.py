"""Settings from and to TOML, with all problems reported at once, each at its field."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import tomlkit
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from workbench.config.spec import GROUPS, KL, Settings
from workbench.errors import UserError

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a setting; `field` is dotted (lora.r), empty for the whole."""

    field: str
    message: str


class SettingsError(UserError):
    """All problems of a settings input at once."""

    def __init__(self, problems: list[Problem]) -> None:
        n = len(problems)
        lines = "; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems)
        super().__init__(
            f"{n} setting{'s' if n > 1 else ''} must be corrected: {lines}",
        )
        self.problems = problems


def fields(model: type[Settings], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """All leaf fields of a settings model with their dotted names, in order of declaration."""
    for name, info in model.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Settings):
            yield from fields(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


def grouped(model: type[Settings]) -> dict[str, list[tuple[str, FieldInfo]]]:
    """The same fields under their groups: what forms, flags and documents show in one order.

    What all share, with what is the algorithm's own in the middle.
    """
    groups: dict[str, list[tuple[str, FieldInfo]]] = {}
    for name, info in fields(model):
        groups.setdefault(group_of(info), []).append((name, info))
    rank, own = {name: i for i, name in enumerate(GROUPS)}, GROUPS.index(KL) + 0.5
    # Python's sort is stable: an algorithm's own groups keep their order, after KL control.
    return dict(sorted(groups.items(), key=lambda item: rank.get(item[0], own)))


def group_of(info: FieldInfo) -> str:
    """The heading under which a setting is shown."""
    extra = info.json_schema_extra
    ui = extra.get("ui") if isinstance(extra, dict) else None
    return str(ui.get("group")) if isinstance(ui, dict) else "General"


def bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    """Lowest and highest value of a numeric field; None where there is no bound."""
    low = high = None
    for constraint in info.metadata:
        low = getattr(constraint, "ge", getattr(constraint, "gt", low))
        high = getattr(constraint, "le", getattr(constraint, "lt", high))
    return low, high


def validate(model: type[S], values: Mapping[str, Any]) -> S:
    """Settings from nested values.

    Raises:
        SettingsError: With every problem found, in sentences.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        infos = dict(fields(model))
        problems = [_problem(e, infos) for e in error.errors()]
    wrong = {problem.field for problem in problems}
    try:
        # pydantic checks fields against each other only when each is right by itself: with the
        # wrong ones at their defaults it says the rest, so that all problems come at once.
        model.model_validate(_without(values, wrong))
    except ValidationError as error:
        more = [_problem(e, infos) for e in error.errors()]
        problems += [problem for problem in more if problem.field not in wrong]
    raise SettingsError(problems)


def _without(values: Mapping[str, Any], names: Collection[str], prefix: str = "") -> dict[str, Any]:
    """Nested values without those of the given dotted names."""
    return {
        name: _without(value, names, f"{prefix}{name}.") if isinstance(value, Mapping) else value
        for name, value in values.items()
        if f"{prefix}{name}" not in names
    }


def _problem(error: Any, infos: Mapping[str, FieldInfo]) -> Problem:
    name = ".".join(str(part) for part in error["loc"])
    kind = error["type"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(name, infos, n=1)
        return Problem(
            name, f"There is no such setting.{f' Did you mean {near[0]}?' if near else ''}"
        )
    if kind == "value_error":
        text = str(error["ctx"]["error"])
        field, _, message = text.partition(": ")
        return Problem(field, message) if field in infos else Problem(name, text)
    info = infos.get(name)
    if info is None:
        return Problem(name, error["msg"])
    low, high = bounds(info)
    default = info.get_default()
    if kind.startswith(("greater_than", "less_than")) and low is not None and high is not None:
        return Problem(
            name, f"Must lie between {low:g} and {high:g}. A value that works: {default}."
        )
    if kind == "literal_error":
        return Problem(name, f"Must be one of {error['ctx']['expected']}.")
    wanted = {"int": "a whole number", "float": "a number", "bool": "true or false"}.get(
        getattr(info.annotation, "__name__", ""), "a text"
    )
    return Problem(name, f"Must be {wanted}. A value that works: {default}.")


def load(model: type[S], path: Path) -> S:
    """Read settings from a TOML file.

    Raises:
        UserError: The file is missing or is not TOML.
        SettingsError: Its values are wrong.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"There is no file {path}.", "Check the path of the settings.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid TOML: {error}.", "Correct that line and try again."
        ) from None
    return validate(model, values)


def dump(settings: Settings) -> str:
    """Settings as TOML text with each help as a comment; `load` gives back an equal object."""
    document = tomlkit.document()
    _fill(document, settings)
    return tomlkit.dumps(document)


def _fill(table: Any, settings: Settings) -> None:
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        if isinstance(value, Settings):
            inner = tomlkit.table()
            _fill(inner, value)
            table.add(name, inner)
        else:
            table.add(tomlkit.comment(info.description or ""))
            table.add(name, value)
