"""From the declaration of a part to what gives it values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workbench.config.reward_parts.part import Part
from workbench.models.loading import LoadedModel
from workbench.rewards.base import Scorer
from workbench.rewards.parts import rules
from workbench.rewards.parts.answers import PartScorer, Rule, RulePart
from workbench.rewards.parts.networks import NetworkPart


class Here(NamedTuple):
    """Where a part is loaded.

    Attributes:
        base: The model whose answers are scored.
        folder: The design's.
        part_folder: What this part needs, when it needs a folder.
        load: Gives the reward in a folder.
    """

    base: LoadedModel
    folder: Path
    part_folder: Path
    load: Callable[[Path], Scorer]


def make(part: Part, here: Here) -> PartScorer:
    """What gives a part its values.

    Raises:
        UserError: What it needs is not there.
    """
    kind = str(part.model_dump(include={"kind"})["kind"])
    if kind in _RULES:
        return RulePart(_RULES[kind](part), here.base)
    return _OTHERS[kind](part, here)


def _network(part: Any, here: Here) -> PartScorer:
    return NetworkPart(part, here.load(here.part_folder))


_RULES: Mapping[str, Callable[[Any], Rule]] = {
    "length-target": rules.length_target,
    "brevity": rules.brevity,
    "repetition": rules.repetition,
    "keywords": rules.keywords,
    "stop-token": rules.stop_token,
}
_OTHERS: Mapping[str, Callable[[Any, Here], PartScorer]] = {"reward-model": _network}
