"""Designed rewards: what is wrong with one, saving its versions, and what it makes of answers."""

from __future__ import annotations

from collections.abc import Iterator

from workbench.app import bases
from workbench.app.design_check import check, sources, without_reference
from workbench.app.design_table import Measured, Row, calibrated, measure, measured
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.algorithms import DESIGN
from workbench.config.reward_parts import design as designs_config
from workbench.config.reward_parts.design import DesignError, RewardDesign
from workbench.config.reward_parts.kinds import PerplexityPart, RewardModelPart
from workbench.data import design_folder
from workbench.data.folders import atomic_folder
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import Event, Saved, Warned
from workbench.jobs.runner import Job

__all__ = [
    "Measured",
    "Row",
    "calibrated",
    "check",
    "design_of",
    "designs",
    "measure",
    "measured",
    "save",
]

REWARD_MODEL = "reward_model"


def save(ws: Workspace, design: RewardDesign) -> Job:
    """Save a version of a design: a reward run, which everything that takes a reward takes.

    Raises:
        DesignError: With everything that is wrong with it.
        UserError: No model is chosen.
    """
    ws.check_writable()
    info = ws.model_info()
    if problems := check(ws, design):
        raise DesignError(problems)
    name = design.name.strip() or DESIGN.title
    version = 1 + sum(run.inputs.get("design") == name for run in designs(ws))
    inputs = {
        "model": info.name,
        "model_digest": info.digest,
        "design": name,
        "version": version,
        "labels_digest": "",
        "bases": _bases(ws, design),
    }
    title = f"{name}, version {version}"
    run_id = ws.new_run("reward", DESIGN, design, inputs, title)
    found, doubts = sources(ws, design), list(without_reference(ws, design))

    def work(_cancel: CancelToken) -> Iterator[Event]:
        for sentence in doubts:
            yield Warned(sentence)
        folder = ws.run_folder(run_id) / REWARD_MODEL
        with atomic_folder(folder, is_replacing=True) as partial:
            design_folder.write(partial, design, found.folders, found.references)
        yield Saved(0, "reward_model", str(folder))

    return ws.submit(title, DESIGN.name, work, run_id=run_id)


def _bases(ws: Workspace, design: RewardDesign) -> list[dict[str, str]]:
    """Name and digest of each base that a part is computed on; none for rules."""
    info = ws.model_info()
    found: dict[str, str] = {}
    for part in design.parts:
        if isinstance(part, RewardModelPart):
            found |= {base.digest: base.name for base in bases.of_reward(ws.run(part.run))}
        elif isinstance(part, PerplexityPart):
            found[info.digest] = info.name
    return [{"name": name, "digest": digest} for digest, name in found.items()]


def designs(ws: Workspace) -> list[Run]:
    """All saved versions of all designs, the newest first."""
    runs = ws.experiment.runs.list("reward")
    return [run for run in runs if run.algorithm == DESIGN.name][::-1]


def design_of(ws: Workspace, run_id: int) -> RewardDesign:
    """The design that a run saved.

    Raises:
        UserError: It is no such run.
    """
    run = ws.run(run_id)
    if run.algorithm != DESIGN.name:
        raise UserError(f"{run.name} is no reward design.", "Choose a saved design.")
    return designs_config.read(run.settings)
