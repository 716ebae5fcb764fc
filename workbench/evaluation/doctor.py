"""The policy doctor: what is wrong with a run, since when, why, and what to change.

A rule book, not a model: each detector is a function with thresholds that are settings
(`config/doctor.py`). It reads figures only, so a run of yesterday or of another machine is
examined like the one that goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from workbench.config.doctor import DoctorSettings
from workbench.config.training import TrainingSettings
from workbench.evaluation import illnesses, step_illnesses
from workbench.evaluation.case import Case, Finding, Level, Series

__all__ = ["DETECTORS", "Finding", "Level", "Series", "examine", "figures"]

DETECTORS: Mapping[str, Callable[[Case], Finding | None]] = {
    detector.__name__: detector
    for detector in (
        step_illnesses.not_numbers,
        illnesses.kl_blow_up,
        illnesses.kl_negative,
        illnesses.reward_hacking,
        illnesses.entropy_collapse,
        illnesses.eos_loss,
        illnesses.repetition,
        illnesses.length_drift,
        step_illnesses.first_ratio,
        step_illnesses.clip_fraction,
        step_illnesses.step_kl,
        step_illnesses.gradient_spikes,
        step_illnesses.explained_variance,
        step_illnesses.dead_value_head,
        illnesses.no_learning,
    )
}
_RANK: Mapping[Level, int] = {"bad": 0, "warn": 1, "info": 2}
_TIMES = "time/"


def examine(
    series: Series, settings: TrainingSettings, thresholds: DoctorSettings | None = None
) -> list[Finding]:
    """What is wrong with a run: the worst first, what goes on before what is over.

    Args:
        series: Its figures; what is missing is not judged.
        settings: Its hyperparameters, which changes are proposed to.
        thresholds: From where on it is ill.
    """
    case = Case(series, settings, thresholds or DoctorSettings())
    found = [finding for detect in DETECTORS.values() if (finding := detect(case)) is not None]
    return sorted(found, key=lambda f: (f.until is not None, _RANK[f.level]))


def figures(series: Series) -> Series:
    """Those that a detector looks at: all but times, for `not_numbers` looks at every one."""
    return {name: points for name, points in series.items() if not name.startswith(_TIMES)}
