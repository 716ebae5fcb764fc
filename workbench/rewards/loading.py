"""Any reward from its folder: what lies in it says which kind it is.

Every kind is written by a run of kind `reward` into a folder `reward_model`, so whatever takes a
reward run (training, evaluation, best of n, the queue) takes every kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from workbench.cancel import CancelToken
from workbench.data import design_folder
from workbench.errors import UserError
from workbench.models.loading import LoadedModel
from workbench.rewards import classifier, neural, probe_reward
from workbench.rewards.base import Scorer
from workbench.rewards.classifier import ClassifierReward
from workbench.rewards.design import DesignedReward
from workbench.rewards.parts import making
from workbench.rewards.parts.answers import PartScorer
from workbench.rewards.retold import Retold


class Place(NamedTuple):
    """Where a reward is loaded.

    Attributes:
        base: The model that is loaded, whose answers will be scored.
        find_base: Gives another base, by name and digest, for a reward that was trained on one.
        adapter: The name of the reward's adapter on the base, when it has one. Two rewards that
            are loaded together need two names.
        key_of: The key of a judge's endpoint, by its address.
        may_run: Whether the user allowed the Python file with this SHA-256 to run.
        cancel: Ends what a reward waits for.
    """

    base: LoadedModel
    find_base: Callable[[str, str], LoadedModel]
    adapter: str = neural.ADAPTER
    key_of: Callable[[str], str] = lambda _: ""
    may_run: Callable[[str], bool] = lambda _: False
    cancel: CancelToken | None = None


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
    base = neural.base_of(folder)
    if base is None or base[1] == place.base.info.digest:
        return neural.RewardModel.load(place.base, folder, place.adapter)
    reward = neural.RewardModel.load(place.find_base(*base), folder, place.adapter)
    return Retold(reward, place.base)


def design(place: Place, folder: Path, chosen: Sequence[int] | None = None) -> DesignedReward:
    """The designed reward in a folder, or some of its parts only.

    Raises:
        UserError: The folder is damaged, or what a part needs is not there.
    """
    found = design_folder.read(folder)
    numbers = range(len(found.parts)) if chosen is None else chosen
    loaded: list[PartScorer] = []
    try:
        for i in numbers:
            # Rewards that are loaded together need names of their own.
            inner = place._replace(adapter=f"{place.adapter}_{i + 1}")
            here = making.Here(
                base=place.base,
                folder=folder,
                part_folder=design_folder.part_folder(folder, i),
                load=partial(load, inner),
                find_base=place.find_base,
                key_of=place.key_of,
                may_run=place.may_run,
                cancel=place.cancel or CancelToken(),
            )
            loaded.append(making.make(found.parts[i], here))
    except BaseException:
        for scorer in loaded:
            scorer.close()
        raise
    some = found.model_copy(update={"parts": tuple(found.parts[i] for i in numbers)})
    return DesignedReward(some, loaded, place.base, numbers)


def _probe(place: Place, folder: Path) -> Scorer:
    told, _ = probe_reward.read(folder)
    base = place.base
    # Of the same name with other weights: there is no other base to look for.
    if told.base_digest != base.info.digest and told.base != base.info.name:
        base = place.find_base(told.base, told.base_digest)
    return probe_reward.ProbeReward.load(place.base, folder, base)


def _classifier(place: Place, folder: Path) -> Scorer:
    return ClassifierReward.load(place.base, folder)


_KINDS: Mapping[str, Callable[[Place, Path], Scorer]] = {
    design_folder.DESIGN: design,
    probe_reward.FILE: _probe,
    classifier.MARKER: _classifier,
    "adapter_config.json": _network,
}
