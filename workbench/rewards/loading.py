"""Any reward from its folder: what lies in it says which kind it is.

Every kind is written by a run of kind `reward` into a folder `reward_model`, so whatever takes a
reward run (training, evaluation, best of n, the queue) takes every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards import neural
from workbench.rewards.base import Scorer


class Place(NamedTuple):
    """Where a reward is loaded.

    Attributes:
        base: The model that is loaded, whose answers will be scored.
        find_base: Gives another base, by name and digest, for a reward that was trained on one.
        adapter: The name of the reward's adapter on the base, when it has one. Two rewards that
            are loaded together need two names.
    """

    base: LoadedModel
    find_base: Callable[[str, str], LoadedModel]
    adapter: str = neural.ADAPTER


def load(place: Place, folder: Path) -> Scorer:
    """The reward in a folder; close it after use.

    Raises:
        UserError: The folder is damaged, of no known kind, or does not fit the model.
    """
    for marker, read in _KINDS.items():
        if (folder / marker).is_file():
            return read(place, folder)
    raise UserError(
        f"{folder} holds no reward that this program knows.",
        f"There should be one of {', '.join(_KINDS)} in it.",
    )


def _network(place: Place, folder: Path) -> Scorer:
    return neural.RewardModel.load(place.base, folder, place.adapter)


_KINDS: Mapping[str, Callable[[Place, Path], Scorer]] = {"adapter_config.json": _network}
