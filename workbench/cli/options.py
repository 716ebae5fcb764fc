"""Every setting as a flag, derived from where it is declared."""

from __future__ import annotations

import argparse
import copy
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_args

from pydantic.fields import FieldInfo

from workbench.config import toml
from workbench.config.spec import Settings
from workbench.errors import UserError

S = TypeVar("S", bound=Settings)
Presets = Mapping[str, Mapping[str, Any]]
_PREFIX = "setting:"


@dataclass(frozen=True)
class SettingsFlags(Generic[S]):
    """The flags of one settings model: `--learning-rate 3e-4`, `--lora.r 16`, `--config`.

    Attributes:
        model: The settings model.
        presets: Named changes that `--preset` offers.
        prefix: Put before each flag, when a command takes two settings models.
    """

    model: type[S]
    presets: Presets | None = None
    prefix: str = ""

    def add_to(self, parser: argparse.ArgumentParser) -> None:
        """Add a flag for each setting, grouped as in the form."""
        if not self.prefix:
            parser.add_argument("--config", metavar="FILE.toml", help="settings from a TOML file")
        if self.presets:
            parser.add_argument("--preset", choices=list(self.presets), help="named settings")
        groups: dict[str, argparse._ArgumentGroup] = {}
        for inner in toml.grouped(self.model).values():
            for name, info in inner:
                title = f"{self.prefix}{_group(name, info)}"
                group = groups.get(title)
                if group is None:
                    group = groups[title] = parser.add_argument_group(title)
                _add_flag(group, f"{self.prefix}{name}", info)

    def read(self, options: argparse.Namespace, defaults: S | None = None) -> S:
        """The settings: defaults, then the preset, then the TOML file, then the flags.

        Raises:
            UserError: The file cannot be read.
            SettingsError: With everything that is wrong.
        """
        values = (defaults or self.model()).model_dump()
        preset = getattr(options, "preset", None) if self.presets else None
        if preset and self.presets:
            _merge(values, copy.deepcopy(dict(self.presets[preset])))
        if not self.prefix and getattr(options, "config", None):
            _merge(values, _read_toml(Path(options.config)))
        for name, _ in toml.fields(self.model):
            key = f"{_PREFIX}{self.prefix}{name}"
            if hasattr(options, key):
                _put(values, name, getattr(options, key))
        return toml.validate(self.model, values)


def _add_flag(group: argparse._ArgumentGroup, name: str, info: FieldInfo) -> None:
    flag = f"--{name.replace('_', '-')}"
    kwargs: dict[str, Any] = {
        "dest": _PREFIX + name,
        "default": argparse.SUPPRESS,
        "help": _help(info),
    }
    if info.annotation is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, **kwargs)
        return
    choices = get_args(info.annotation)
    metavar = "{" + ",".join(map(str, choices)) + "}" if choices else _metavar(info)
    group.add_argument(flag, metavar=metavar, **kwargs)


def _help(info: FieldInfo) -> str:
    low, high = toml.bounds(info)
    extra = info.json_schema_extra
    ui = extra.get("ui") if isinstance(extra, dict) else None
    unit = str(ui.get("unit")) if isinstance(ui, dict) and ui.get("unit") else ""
    facts = [f"default {_in_short(info.default)}{f' {unit}' if unit else ''}"]
    if low is not None and high is not None:
        facts.append(f"{low:g} to {high:g}")
    return f"{info.description} ({', '.join(facts)})".replace("%", "%%")


def _in_short(default: object) -> str:
    first, _, rest = str(default).partition("\n")
    return f"{first}…" if rest else first


def _metavar(info: FieldInfo) -> str:
    return "N" if info.annotation is int else "X" if info.annotation is float else "TEXT"


def _group(name: str, info: FieldInfo) -> str:
    phase = name.rpartition(".")[0]
    title = toml.group_of(info)
    return title if not phase or phase == "lora" else f"{phase}: {title}"


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror}.", "Check the path of the settings."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is not valid TOML: {error}.", "Correct that line and try again."
        ) from None


def _merge(into: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    *tables, name = dotted.split(".")
    for table in tables:
        inner = values[table]
        if not isinstance(inner, dict):
            return  # the file has nonsense there, which the check of all settings tells
        values = inner
    values[name] = value
