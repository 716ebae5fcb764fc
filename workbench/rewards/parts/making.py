"""From the declaration of a part to what gives it values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from workbench.cancel import CancelToken
from workbench.config.reward_parts.kinds import (
    FunctionPart,
    JudgePart,
    PerplexityPart,
    RewardModelPart,
    SimilarityPart,
)
from workbench.config.reward_parts.part import Part
from workbench.data.design_folder import FUNCTION, read_references
from workbench.models.loading import LoadedModel
from workbench.rewards.base import Scorer
from workbench.rewards.endpoint_judge import EndpointJudge
from workbench.rewards.judge import LocalJudge
from workbench.rewards.judge_question import Judge
from workbench.rewards.parts import language, rules, text
from workbench.rewards.parts.answers import PartScorer, Rule, RulePart
from workbench.rewards.parts.networks import Likelihood, NetworkPart
from workbench.rewards.parts.references import Judged, Similarity
from workbench.rewards.parts.user_function import UserFunction


class Here(NamedTuple):
    """Where a part is loaded.

    Attributes:
        base: The model whose answers are scored.
        folder: The design's.
        part_folder: What this part needs, when it needs a folder.
        load: Gives the reward in a folder.
        find_base: Gives another model, by name and digest.
        key_of: The key of an endpoint, by its address.
        may_run: Whether the user allowed the Python file with this SHA-256.
        cancel: Ends what takes long.
    """

    base: LoadedModel
    folder: Path
    part_folder: Path
    load: Callable[[Path], Scorer]
    find_base: Callable[[str, str], LoadedModel]
    key_of: Callable[[str], str]
    may_run: Callable[[str], bool]
    cancel: CancelToken


def make(part: Part, here: Here) -> PartScorer:
    """What gives a part its values.

    Raises:
        UserError: What it needs is not there.
    """
    kind = part.kind_name
    if kind in _RULES:
        return RulePart(_RULES[kind](part), here.base)
    return _OTHERS[kind](part, here)


def _network(part: RewardModelPart, here: Here) -> PartScorer:
    return NetworkPart(part, here.load(here.part_folder))


def _similarity(part: SimilarityPart, here: Here) -> PartScorer:
    return Similarity(part, read_references(here.folder, part.against))


def _judge(part: JudgePart, here: Here) -> PartScorer:
    settings = part.judge
    judge: Judge
    if settings.where == "endpoint":
        judge = EndpointJudge(settings, here.key_of(settings.url), here.cancel)
    elif settings.where == "folder":
        judge = LocalJudge(here.find_base(settings.model, ""), settings, here.cancel)
    else:
        judge = LocalJudge(here.base, settings, here.cancel)
    return Judged(part, read_references(here.folder, part.against), judge, here.cancel)


def _likelihood(_part: PerplexityPart, here: Here) -> PartScorer:
    return Likelihood(here.base)


def _function(part: FunctionPart, here: Here) -> PartScorer:
    return UserFunction(part, here.part_folder / FUNCTION, here.may_run, here.cancel)


_RULES: Mapping[str, Callable[[Any], Rule]] = {
    "length-target": rules.length_target,
    "brevity": rules.brevity,
    "repetition": rules.repetition,
    "language": language.language,
    "keywords": rules.keywords,
    "regex": text.pattern,
    "sentiment": text.sentiment,
    "readability": text.readability,
    "format-json": text.valid_json,
    "stop-token": rules.stop_token,
}
_OTHERS: Mapping[str, Callable[[Any, Here], PartScorer]] = {
    "reward-model": _network,
    "ai-judge": _judge,
    "similarity": _similarity,
    "perplexity": _likelihood,
    "python-function": _function,
}
