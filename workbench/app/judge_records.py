"""The AI judges of an experiment: their names and settings, and who was shown to agree."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from workbench.app import library
from workbench.app.workspace import Workspace
from workbench.config.judge import JudgeSettings
from workbench.errors import UserError

MIN_COMPARED = 10
"""Labels of the person that a judge is compared with before its own are used."""

_JUDGES = "judges"


def name_of(ws: Workspace, settings: JudgeSettings) -> str:
    """A judge's name as an annotator; see `JudgeSettings.name`.

    Raises:
        UserError: Its model is not there.
    """
    if settings.where == "endpoint":
        return settings.name(settings.model, settings.model)
    info = ws.model_info() if settings.where == "loaded" else library.find(settings.model)
    return settings.name(info.name, info.digest)


def judges(ws: Workspace) -> dict[str, JudgeSettings]:
    """The judges of this experiment by name, the one that was used last at the end."""
    kept: dict[str, Any] = ws.experiment.settings.get(_JUDGES) or {}
    return {name: _read(facts["settings"]) for name, facts in kept.items()}


def weights(ws: Workspace) -> dict[str, float]:
    """How much the labels of each judge count in training."""
    return {name: settings.weight for name, settings in judges(ws).items()}


def require_shown(ws: Workspace, name: str) -> None:
    """Check that the person was shown how far a judge agrees with them.

    Raises:
        UserError: They were not, or on too few labels.
    """
    if not is_shown(ws, name):
        raise UserError(
            f"How far {name} agrees with you is not known yet.",
            f"Let it try on at least {MIN_COMPARED} of your own labels first, and look at kappa.",
        )


def is_shown(ws: Workspace, name: str) -> bool:
    """Whether the person was shown how far a judge agrees with them, on enough labels."""
    return n_shown(ws, name) >= MIN_COMPARED


def n_shown(ws: Workspace, name: str) -> int:
    """On how many labels the person was last shown to agree with a judge."""
    kept: dict[str, Any] = ws.experiment.settings.get(_JUDGES) or {}
    return int(kept.get(name, {}).get("n_shown", 0))


def remember(ws: Workspace, name: str, **facts: object) -> None:
    """Keep facts of a judge, which becomes the one used last."""
    kept: dict[str, Any] = ws.experiment.settings.get(_JUDGES) or {}
    mine = kept.pop(name, {"settings": JudgeSettings().model_dump(), "n_shown": 0})
    ws.experiment.settings.set(_JUDGES, {**kept, name: {**mine, **facts}})


def settings_of(ws: Workspace, name: str) -> JudgeSettings:
    """A judge's settings; the defaults of one that is not known here, such as an imported one."""
    return judges(ws).get(name) or JudgeSettings()


def _read(values: dict[str, Any]) -> JudgeSettings:
    """Stored settings; the defaults where another version of the program wrote them."""
    try:
        return JudgeSettings.model_validate(values)
    except ValidationError:
        return JudgeSettings()
