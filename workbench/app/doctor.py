"""What is wrong with a run, and from where on that is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench.app.runs import metrics
from workbench.app.workspace import Workspace
from workbench.config import algorithms, toml
from workbench.config.doctor import DoctorSettings
from workbench.config.training import TrainingSettings
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.evaluation import doctor
from workbench.evaluation.doctor import Finding

__all__ = ["Finding", "change_words", "examine", "examine_curves", "save", "saved"]

_SETTINGS = "doctor"
Curves = Mapping[str, tuple[Sequence[int], Sequence[float]]]


def saved(ws: Workspace) -> DoctorSettings:
    """The thresholds of this experiment."""
    try:
        return toml.validate(DoctorSettings, ws.experiment.settings.get(_SETTINGS, {}))
    except toml.SettingsError:
        return DoctorSettings()


def save(ws: Workspace, thresholds: DoctorSettings) -> None:
    """Let this experiment's runs be judged by these thresholds."""
    ws.check_writable()
    ws.experiment.settings.set(_SETTINGS, thresholds.model_dump())


def examine(ws: Workspace, run_id: int, thresholds: DoctorSettings | None = None) -> list[Finding]:
    """What is wrong with a training run, by what the experiment has of it.

    Raises:
        UserError: It is no training run, or its settings cannot be read any more.
    """
    run = ws.run(run_id)
    if run.kind == "evaluation":
        raise UserError(f"{run.name} trains nothing.", "Choose a training run.")
    return doctor.examine(metrics(ws, run_id), _settings_of(run), thresholds or saved(ws))


def examine_curves(run: Run, curves: Curves, thresholds: DoctorSettings) -> list[Finding]:
    """The same of a run that goes on, by what it has told so far: steps and values by figure.

    Another thread may append to them meanwhile, the step before its value.

    Raises:
        UserError: Its settings cannot be read any more.
    """
    series = {name: list(zip(*points, strict=False)) for name, points in curves.items()}
    return doctor.examine(doctor.figures(series), _settings_of(run), thresholds)


def change_words(run: Run, change: Mapping[str, object]) -> str:
    """A change of settings in words: "Learning rate 5e-5, KL coefficient 0.1"."""
    titles = dict(toml.fields(algorithms.find(run.algorithm).settings))
    return ", ".join(f"{titles[name].title} {_text(value)}" for name, value in change.items())


def _text(value: object) -> str:
    return f"{value:g}".replace("e-0", "e-") if isinstance(value, float) else str(value)


def _settings_of(run: Run) -> TrainingSettings:
    return toml.validate(algorithms.find(run.algorithm).settings, run.settings)
