"""Bases beside the chosen model, for rewards that were trained on another one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakValueDictionary

from workbench.app import library
from workbench.app.workspace import Workspace, prepare_torch
from workbench.cancel import CancelToken
from workbench.data.records import Run
from workbench.errors import UserError
from workbench.events import Progress
from workbench.jobs.progress import with_progress

if TYPE_CHECKING:
    from workbench.models.catalog import ModelInfo
    from workbench.models.loading import LoadedModel

log = logging.getLogger(__name__)
OnProgress = Callable[[int, int, str], None]

# Holds nothing alive: a base is there once, for as long as somebody uses it.
_in_memory: WeakValueDictionary[str, LoadedModel] = WeakValueDictionary()
_DIGITS = 12  # of a digest, as people are shown it


class Base(NamedTuple):
    """A model by its name and the digest of its weights."""

    name: str
    digest: str


def of_reward(run: Run) -> list[Base]:
    """The bases that the reward of a run is computed on; none for rules and whole classifiers.

    A run that was trained on one names it as its model; one that is made of several lists them as
    `bases`, each with name and digest.
    """
    listed = run.inputs.get("bases")
    if isinstance(listed, list):
        return [Base(str(each["name"]), str(each["digest"])) for each in listed]
    digest = run.inputs.get("model_digest")
    return [Base(str(run.inputs.get("model", "")), str(digest))] if digest else []


def find(base: Base, what: str, chosen: ModelInfo | None = None) -> ModelInfo:
    """The model with these weights, wherever it lies and whatever it is called.

    Args:
        base: Its name and its digest.
        what: What was trained on it, for the sentence.
        chosen: The model that is chosen, which need not be in the catalogue.

    Raises:
        UserError: It is not on this machine, or has other weights there.
    """
    known = library.models()
    for info in known:
        if info.digest == base.digest and not info.problems:
            return info
    if any(info.name == base.name for info in (*known, *filter(None, [chosen]))):
        raise UserError(
            f"{what} was trained on other weights of {base.name} ({base.digest[:_DIGITS]}) than "
            "those on this machine.",
            "Add the folder with those weights on the Models page, or train anew.",
        )
    raise UserError(
        f"{what} was trained on {base.name} ({base.digest[:_DIGITS]}), which is not on this "
        "machine.",
        "Add its folder on the Models page, or train anew.",
    )


def require(run: Run, info: ModelInfo | None) -> None:
    """Check that the bases of a reward are the chosen model, or are here beside it.

    Raises:
        UserError: One is not.
    """
    for base in of_reward(run):
        if info is None or base.digest != info.digest:
            find(base, run.name, info)


def beside(ws: Workspace, run: Run) -> list[ModelInfo]:
    """The bases of a reward that have to be loaded beside the chosen model.

    Raises:
        UserError: One is not here.
    """
    chosen = ws.model_info().digest
    return [find(base, run.name) for base in of_reward(run) if base.digest != chosen]


def load(
    base: Base, what: str, cancel: CancelToken | None = None, told: OnProgress = lambda *_: None
) -> LoadedModel:
    """A base in memory; the one that is there already, where somebody uses it.

    Raises:
        UserError: It is not here, or cannot be loaded.
        EnvironmentProblem: There is not enough memory.
    """
    model = _in_memory.get(base.digest)
    if model is None:
        info = find(base, what)
        from workbench.models import loading

        model = loading.load(info, cancel=cancel or CancelToken(), on_progress=told)
        log.info("loaded %s (%s) beside the chosen model", info.name, info.digest[:_DIGITS])
        _in_memory[base.digest] = model
    return model


def ready(
    ws: Workspace, run: Run, cancel: CancelToken
) -> Generator[Progress, None, list[LoadedModel]]:
    """Load the bases of a reward with progress: hold on to them until its scorer is loaded.

    Raises:
        UserError: One is not here, or cannot be loaded.
    """
    chosen = ws.model_info().digest
    held = []
    for base in of_reward(run):
        if base.digest != chosen:
            held.append((yield from loading(ws, base, run.name, cancel)))
    return held


def loading(
    ws: Workspace, base: Base, what: str, cancel: CancelToken
) -> Generator[Progress, None, LoadedModel]:
    """As `load`, with progress."""
    prepare_torch(ws.keeps_core_free)
    return (yield from with_progress(lambda told: load(base, what, cancel, told)))
