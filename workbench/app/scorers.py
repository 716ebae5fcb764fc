"""Rewards of an experiment, loaded for use: of whatever kind the run that made them is."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.app.workspace import require_whole
from workbench.errors import UserError

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel
    from workbench.rewards.base import Scorer
    from workbench.rewards.design import DesignedReward


@contextmanager
def loaded(model: LoadedModel, folder: Path) -> Generator[Scorer, None, None]:
    """The reward in a folder that a reward run wrote; closed afterwards.

    Raises:
        UserError: It has changed since it was written, or does not fit the model.
    """
    scorer = load(model, folder)
    try:
        yield scorer
    finally:
        scorer.close()


def load(model: LoadedModel, folder: Path, adapter: str = "reward") -> Scorer:
    """As `loaded`, for who closes it later; of two at once each needs an adapter name."""
    require_whole(folder)
    return read(model, folder, adapter)


def read(model: LoadedModel, folder: Path, adapter: str = "reward") -> Scorer:
    """As `load`, for a folder without a manifest of its own: the bundle's was checked already."""
    from workbench.rewards import loading

    return loading.load(loading.Place(model, _no_other, adapter), folder)


def part(model: LoadedModel, folder: Path, i: int) -> DesignedReward:
    """One part of the design in a folder, as a reward by itself; close it after use."""
    from workbench.rewards import loading

    return loading.design(loading.Place(model, _no_other), folder, [i])


def _no_other(name: str, _digest: str) -> LoadedModel:
    raise UserError(
        f"This reward was trained on {name}, which is not loaded.",
        f"Choose {name} on the Models page.",
    )
