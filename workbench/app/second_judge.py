"""The judge that is held back from a training run: which ones there are, and loading one."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from workbench.app import judge_keys, scorers
from workbench.app.judge_records import judges
from workbench.app.judging import judge_of
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.annotator import AnnotatorSettings
from workbench.errors import UserError
from workbench.events import Event

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.second_opinion import Opinion

ANNOTATOR = "annotator"
_RUN, _AI = "run:", "ai:"
_ADAPTER = "held_back"  # beside the adapter of the reward that is learned from


def choices(ws: Workspace) -> dict[str, str]:
    """Who can be held back: key and title. Keys are what `load` and `check` take.

    `annotator` is the simulated one, `run:3` the reward of run 3, `ai:NAME` an AI judge.
    """
    found = {ANNOTATOR: "Simulated annotator"}
    found |= {
        f"{_RUN}{run.id}": run.name
        for run in reversed(ws.experiment.runs.list("reward"))
        if run.status in ("done", "stopped")
    }
    return found | {f"{_AI}{name}": name for name in judges(ws)}


def check(ws: Workspace, key: str, reward_run: int | None) -> str:
    """What is wrong with a choice, as a sentence; empty when nothing is."""
    known = choices(ws)
    if key not in known:
        return f"There is no judge {key}. Known are: {', '.join(known)}."
    if key == f"{_RUN}{reward_run}":
        return f"{known[key]} is what the run learns from, so it is no second opinion."
    return ""


def load(
    ws: Workspace, model: LoadedModel, key: str, cancel: CancelToken
) -> Generator[Event, None, Opinion]:
    """The chosen judge; close it after use.

    Raises:
        UserError: It is not there any more, or does not fit the model.
    """
    if problem := check(ws, key, None):
        raise UserError(problem, "Choose another held-back judge, or none.")
    from workbench.rewards import second_opinion
    from workbench.rewards.annotator import SimulatedAnnotator

    if key == ANNOTATOR:
        return second_opinion.AnnotatorOpinion(SimulatedAnnotator(AnnotatorSettings()))
    if key.startswith(_RUN):
        folder = ws.artifact_folder(int(key.removeprefix(_RUN)), "reward_model")
        return second_opinion.ScorerOpinion(scorers.load(model, folder, adapter=_ADAPTER))
    settings = judges(ws)[key.removeprefix(_AI)]
    secret = judge_keys.find(settings.url) if settings.where == "endpoint" else ""
    judge = yield from judge_of(ws, settings, secret or "", cancel)
    return second_opinion.JudgeOpinion(judge)
