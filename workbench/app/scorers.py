"""Rewards of an experiment, loaded for use: of whatever kind the run that made them is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app import bases, judge_keys, user_functions
from workbench.app.workspace import Workspace, require_whole
from workbench.cancel import CancelToken
from workbench.data.records import Run
from workbench.events import Progress

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.base import Scorer
    from workbench.rewards.design import DesignedReward
    from workbench.rewards.loading import Place


@contextmanager
def loaded(
    model: LoadedModel, folder: Path, cancel: CancelToken | None = None
) -> Generator[Scorer, None, None]:
    """The reward in a folder that a reward run wrote; closed afterwards.

    Raises:
        UserError: It has changed since it was written, or does not fit the model.
    """
    scorer = load(model, folder, cancel=cancel)
    try:
        yield scorer
    finally:
        scorer.close()


def opened(
    ws: Workspace, run: Run, model: LoadedModel, cancel: CancelToken, adapter: str = "reward"
) -> Generator[Progress, None, Scorer]:
    """The reward of a reward run, for who closes it later: `yield from` it in a job.

    Raises:
        UserError: As `loaded`, or a base that it needs is not here.
    """
    held = yield from bases.ready(ws, run, cancel)
    scorer = load(model, ws.artifact_folder(run.id, "reward_model"), adapter, cancel)
    held.clear()  # the scorer holds what it uses
    return scorer


def load(
    model: LoadedModel, folder: Path, adapter: str = "reward", cancel: CancelToken | None = None
) -> Scorer:
    """As `loaded`, for who closes it later; of two at once each needs an adapter name.

    A base that it needs and that nobody has loaded is loaded without a word; `opened` shows the
    progress.
    """
    require_whole(folder)
    return read(model, folder, adapter, cancel)


def read(
    model: LoadedModel, folder: Path, adapter: str = "reward", cancel: CancelToken | None = None
) -> Scorer:
    """As `load`, for a folder without a manifest of its own: the bundle's was checked already."""
    from workbench.rewards import loading

    return loading.load(_place(model, adapter, cancel), folder)


def part(model: LoadedModel, folder: Path, i: int, cancel: CancelToken) -> DesignedReward:
    """One part of the design in a folder, as a reward by itself; close it after use."""
    from workbench.rewards import loading

    return loading.design(_place(model, "reward", cancel), folder, [i])


def _place(model: LoadedModel, adapter: str, cancel: CancelToken | None) -> Place:
    from workbench.rewards.loading import Place

    return Place(
        model, _find_base, adapter, judge_keys.find, user_functions.is_digest_allowed, cancel
    )


def _find_base(name: str, digest: str) -> LoadedModel:
    return bases.load(bases.Base(name, digest), "This reward")
