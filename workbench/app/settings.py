"""The user's own settings, the same in every experiment: settings.toml in the program's folder."""

from __future__ import annotations

import base64
import binascii
import logging
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast, get_args

import tomlkit

from workbench import places
from workbench.data.folders import write_atomic

log = logging.getLogger(__name__)

Theme = Literal["system", "light", "dark"]
_MOST_RECENT = 10


@dataclass(frozen=True, slots=True)
class UserSettings:
    """What the program remembers of its user.

    Attributes:
        theme: Follow the system, or always light or dark.
        recent: Experiments, the last opened first.
        model_folders: Model folders outside the usual places.
        geometry: Size and place of the window, as Qt saves it.
        layout: Docks and columns of the window, as Qt saves it.
        annotator: Who judges; empty for the name of the user of this machine.
        keys: Keys that the user chose, by command; an empty one takes the default away.
    """

    theme: Theme = "system"
    recent: tuple[Path, ...] = ()
    model_folders: tuple[Path, ...] = ()
    geometry: bytes = b""
    layout: bytes = b""
    annotator: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls) -> UserSettings:
        """What was saved; the defaults where nothing was, or where the file is damaged."""
        try:
            values = tomllib.loads(_path().read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            log.warning("the user settings cannot be read: %s", error)
            return cls()
        theme = values.get("theme")
        return cls(
            theme=cast("Theme", theme) if theme in get_args(Theme) else "system",
            recent=_paths(values.get("recent")),
            model_folders=_paths(values.get("model_folders")),
            geometry=_bytes(values.get("geometry")),
            layout=_bytes(values.get("layout")),
            annotator=_text(values.get("annotator")),
            keys=_texts(values.get("keys")),
        )

    def save(self) -> None:
        """Write to the disk, complete or not at all.

        Raises:
            EnvironmentProblem: The disk refuses.
        """
        document = tomlkit.document()
        document.add("theme", self.theme)
        document.add("recent", [str(path) for path in self.recent])
        document.add("model_folders", [str(path) for path in self.model_folders])
        document.add("geometry", base64.b64encode(self.geometry).decode())
        document.add("layout", base64.b64encode(self.layout).decode())
        document.add("annotator", self.annotator)
        document.add("keys", dict(self.keys))
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(_path(), tomlkit.dumps(document).encode())

    def with_recent(self, path: Path) -> UserSettings:
        """With this experiment as the last opened one."""
        path = path.resolve()
        others = [p for p in self.recent if p != path]
        return replace(self, recent=(path, *others[: _MOST_RECENT - 1]))

    def with_model_folder(self, path: Path) -> UserSettings:
        """With one more model folder to look in."""
        others = [p for p in self.model_folders if p != path]
        return replace(self, model_folders=(*others, path))


def _path() -> Path:
    return places.home_dir() / "settings.toml"


def _paths(value: Any) -> tuple[Path, ...]:
    return tuple(Path(p) for p in value if isinstance(p, str)) if isinstance(value, list) else ()


def _texts(value: Any) -> dict[str, str]:
    pairs = value.items() if isinstance(value, dict) else ()
    return {name: text for name, text in pairs if isinstance(text, str)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True) if isinstance(value, str) else b""
    except binascii.Error:
        return b""
