"""What a reward model learns from, by its loss: pairs, ties, rankings or ratings, as token ids.

Whatever it learns from, its accuracy is measured on pairs, so that runs can be compared.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Prompt, Strength
from workbench.errors import UserError
from workbench.events import Event
from workbench.objectives.preference import relative_weights
from workbench.rewards.neural import Encoded
from workbench.training import offline
from workbench.training.answers import encode, left_out, longest
from workbench.training.inputs import Inputs

_FEWEST = 8
_CLEARLY: Strength = 2
_WORDS = {
    "bradley-terry": ("pair", "Rank more pairs. About 150 give a usable model."),
    "rao-kupper": ("pair", "Rank more pairs. About 150 give a usable model."),
    "plackett-luce": ("ranking", "Rank more answers."),
    "regression": ("rating", "Rate more answers."),
}


class Item(NamedTuple):
    """What one term of the loss is about.

    Attributes:
        prompt_id: The prompt.
        answers: One that was rated, two of a pair, or all of a ranking, best first.
        places: Of each answer, 0 the best; those that share one are equally good.
        weight: 1 on the average of all.
        is_clear: Whether the better answer was called clearly better.
        target: What the score of a rated answer should be.
    """

    prompt_id: int
    answers: tuple[Encoded, ...]
    places: tuple[int, ...]
    weight: float = 1.0
    is_clear: bool = False
    target: float = 0.0

    @property
    def n_tokens(self) -> int:
        """Of the longest answer, with the prompt."""
        return max(map(len, self.answers))


@dataclass(frozen=True, slots=True)
class Items:
    """All that is learned from and measured on, split by prompt.

    Attributes:
        items: What the loss is about.
        split: Numbers of items to learn from and to measure the loss on.
        pairs: Those of the held-out prompts, to measure accuracy on: better, worse.
    """

    items: list[Item]
    split: offline.Split
    pairs: list[tuple[Encoded, Encoded]]

    @property
    def heldout(self) -> list[Item]:
        """The items to measure on."""
        return [self.items[i] for i in self.split.heldout]

    @property
    def heldout_prompts(self) -> set[int]:
        """The prompts that nothing is learned of."""
        return {item.prompt_id for item in self.heldout}


class _Raw(NamedTuple):
    """An item before its texts are token ids."""

    prompt: Prompt
    texts: tuple[str, ...]
    places: tuple[int, ...]
    weight: float
    is_clear: bool = False
    rating: float = 0.0


def encode_items(
    settings: RewardModelSettings, inputs: Inputs, cancel: CancelToken
) -> Generator[Event, None, Items]:
    """What is learned from and measured on; what is too long is told and left out.

    Raises:
        UserError: There is too little.
        Cancelled: On a stop as well: nothing was learned yet.
    """
    pairs = [
        _Raw(p.prompt, (p.chosen, p.rejected), (0, 1), p.weight, p.strength == _CLEARLY)
        for p in inputs.preferences
        if p.chosen.strip() != p.rejected.strip()
    ]
    raw = [*_learned(settings, inputs, pairs)]
    others = pairs if settings.loss in ("plackett-luce", "regression") else []
    flat = [(r.prompt, text) for r in (*raw, *others) for text in r.texts]
    encoded = iter((yield from encode(inputs.model, flat, cancel)))
    items = [_item(r, encoded) for r in raw]
    measured = [_item(r, encoded) for r in others]
    limit = longest(inputs.model, settings)
    fitting = [item for item in items if item.n_tokens <= limit]
    what, remedy = _WORDS[settings.loss]
    if n_long := len(items) - len(fitting):
        yield left_out(n_long, what, limit)
    n_prompts = len({item.prompt_id for item in fitting})
    if len(fitting) < _FEWEST or n_prompts < 2:
        raise UserError(
            f"There are {len(fitting)} usable {what}s on {n_prompts} prompts; training needs at "
            f"least {_FEWEST} {what}s on 2 prompts.",
            remedy,
        )
    weights = relative_weights([item.weight for item in fitting])
    fitting = [item._replace(weight=w) for item, w in zip(fitting, weights, strict=True)]
    split = offline.split_by_prompt(
        [item.prompt_id for item in fitting], settings.heldout_share, settings.seed
    )
    if settings.loss == "regression":
        fitting = _standardised(fitting, split)
    heldout = {fitting[i].prompt_id for i in split.heldout}
    known = [item for item in (*fitting, *measured) if item.prompt_id in heldout]
    decided = [pair for item in known if item.n_tokens <= limit for pair in better_worse(item)]
    if settings.loss == "regression" and not decided:
        decided = [*_by_rating([fitting[i] for i in split.heldout])]
    return Items(fitting, split, list(dict.fromkeys(decided)) if others else decided)


def better_worse(item: Item) -> Iterator[tuple[Encoded, Encoded]]:
    """The pairs of an item's answers of which one is better."""
    both = zip(item.answers, item.places, strict=True)
    for (one, place), (other, later) in itertools.combinations(both, 2):
        if place < later and one != other:
            yield one, other


def _learned(
    settings: RewardModelSettings, inputs: Inputs, pairs: Sequence[_Raw]
) -> Iterator[_Raw]:
    match settings.loss:
        case "bradley-terry":
            yield from pairs
        case "rao-kupper":
            yield from pairs
            for tie in inputs.ties:
                yield _Raw(tie.prompt, (tie.first, tie.second), (0, 0), tie.weight)
        case "plackett-luce":
            yield from _rankings(inputs, pairs)
        case "regression":
            for r in inputs.ratings:
                yield _Raw(r.prompt, (r.answer,), (0,), r.weight, rating=r.rating)


def _rankings(inputs: Inputs, pairs: Sequence[_Raw]) -> Iterator[_Raw]:
    """Whole rankings, and the pairs that are in none of them as rankings of two."""
    inside: dict[int, list[frozenset[str]]] = defaultdict(list)
    for ranking in inputs.rankings:
        texts = tuple(text for place in ranking.places for text in place)
        places = tuple(k for k, place in enumerate(ranking.places) for _ in place)
        inside[ranking.prompt.id].append(frozenset(texts))
        yield _Raw(ranking.prompt, texts, places, ranking.weight)
    for pair in pairs:
        if not any(texts.issuperset(pair.texts) for texts in inside[pair.prompt.id]):
            yield pair


def _item(raw: _Raw, encoded: Iterator[Encoded]) -> Item:
    answers = tuple(itertools.islice(encoded, len(raw.texts)))
    return Item(raw.prompt.id, answers, raw.places, raw.weight, raw.is_clear, raw.rating)


def _standardised(items: Sequence[Item], split: offline.Split) -> list[Item]:
    """Targets in units of the spread of the ratings that are learned from, their mean at 0."""
    learned = [items[i] for group in split.train for i in group]
    total = sum(item.weight for item in learned)
    mean = sum(item.weight * item.target for item in learned) / total
    variance = sum(item.weight * (item.target - mean) ** 2 for item in learned) / total
    if not variance > 0:
        raise UserError(
            f"All ratings that are learned from are {mean:g}: there is nothing to tell apart.",
            "Rate some answers better and some worse.",
        )
    return [item._replace(target=(item.target - mean) / variance**0.5) for item in items]


def _by_rating(items: Sequence[Item]) -> Iterator[tuple[Encoded, Encoded]]:
    """Answers to one prompt of which one was rated higher, where nobody judged pairs."""
    for one, other in itertools.combinations(items, 2):
        if one.prompt_id == other.prompt_id and one.target != other.target:
            better, worse = sorted((one, other), key=lambda item: -item.target)
            yield better.answers[0], worse.answers[0]
