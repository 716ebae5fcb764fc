"""Judged pairs as token ids, for the reward model and for DPO.

An answer that stands in several pairs of a batch is computed once (Ouyang et al. 2022, sec. 3.5).
Chosen and rejected go through the network in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor, tensor

from workbench.cancel import CancelToken
from workbench.config.training import OfflineSettings, TrainingSettings
from workbench.data.records import Preference
from workbench.errors import UserError
from workbench.events import Event, Warned
from workbench.models.loading import LoadedModel
from workbench.objectives.preference import relative_weights
from workbench.rewards.neural import Encoded
from workbench.training.answers import encode, left_out, longest
from workbench.training.batches import accumulate_pieces, micro_batches
from workbench.training.learner import Learner

_FEWEST_PAIRS = 8


class Group(Protocol):
    """Answers to one prompt that are learned from together."""

    @property
    def prompt_id(self) -> int:
        """The prompt."""
        ...

    @property
    def answers(self) -> tuple[Encoded, ...]:
        """The answers."""
        ...

    @property
    def n_tokens(self) -> int:
        """Of the longest answer, with the prompt."""
        ...

    @property
    def weight(self) -> float:
        """How much it counts; 1 on the average of all."""
        ...


G = TypeVar("G", bound=Group)


class Pair(NamedTuple):
    """Two answers to one prompt; `weight` is 1 on the average of all pairs."""

    prompt_id: int
    chosen: Encoded
    rejected: Encoded
    weight: float = 1.0

    @property
    def answers(self) -> tuple[Encoded, ...]:
        """Both."""
        return self.chosen, self.rejected

    @property
    def n_tokens(self) -> int:
        """Of the longer answer, with the prompt."""
        return max(len(self.chosen), len(self.rejected))


def encode_pairs(
    model: LoadedModel,
    preferences: Sequence[Preference],
    settings: OfflineSettings,
    cancel: CancelToken,
) -> Generator[Event, None, list[Pair]]:
    """The pairs that can be learned from; those that are too long are told.

    Raises:
        UserError: There are too few.
        Cancelled: On a stop as well: nothing was learned yet.
    """
    differing = [p for p in preferences if p.chosen.strip() != p.rejected.strip()]
    texts = [(p.prompt, text) for p in differing for text in (p.chosen, p.rejected)]
    encoded = yield from encode(model, texts, cancel)
    pairs = [
        Pair(p.prompt.id, chosen, rejected, p.weight)
        for p, chosen, rejected in zip(differing, encoded[::2], encoded[1::2], strict=True)
    ]
    limit = longest(model, settings)
    fitting = [pair for pair in pairs if pair.n_tokens <= limit]
    if n_long := len(pairs) - len(fitting):
        yield left_out(n_long, "pair", limit)
    n_prompts = len({pair.prompt_id for pair in fitting})
    if len(fitting) < _FEWEST_PAIRS or n_prompts < 2:
        raise UserError(
            f"There are {len(fitting)} usable pairs on {n_prompts} prompts; training needs at "
            f"least {_FEWEST_PAIRS} pairs on 2 prompts.",
            "Rank more pairs. About 150 give a usable model.",
        )
    weights = relative_weights([pair.weight for pair in fitting])
    return [pair._replace(weight=w) for pair, w in zip(fitting, weights, strict=True)]


def different(groups: Sequence[Group]) -> list[Encoded]:
    """The answers of some groups, each once, in the order in which they come."""
    return list(dict.fromkeys(ids for group in groups for ids in group.answers))


def sides(pairs: Sequence[Pair], answers: Sequence[Encoded], values: Tensor) -> Tensor:
    """(2, B) values of the chosen and of the rejected answers, out of (N,) of `different`."""
    row = {ids: i for i, ids in enumerate(answers)}
    index = [[row[p.chosen] for p in pairs], [row[p.rejected] for p in pairs]]
    return values[tensor(index, device=values.device)]


def weights_of(groups: Sequence[Group], like: Tensor) -> Tensor:
    """(B,) how much each group counts, where `like` lies."""
    return like.new_tensor([group.weight for group in groups])


def accumulate(
    learner: Learner[TrainingSettings],
    groups: Sequence[G],
    loss_of: Callable[[list[G]], tuple[Tensor, dict[str, Tensor]]],
) -> Generator[Warned, None, dict[str, float]]:
    """As `batches.accumulate`; groups of one prompt stay together as far as they fit.

    Raises:
        EnvironmentProblem: A single group does not fit into memory.
    """
    together = sorted(by_prompt(groups, learner.micro_batch_tokens), key=lambda g: -n_tokens(g))
    mine = together[learner.ranks.rank :: learner.ranks.size]

    def cut(max_tokens: int) -> list[list[G]]:
        parts = [part for some in mine for part in by_prompt(some, max_tokens)]
        widths = list(map(n_tokens, parts))
        pieces = micro_batches(range(len(parts)), widths, max_tokens)
        return [[group for i in piece for group in parts[i]] for piece in pieces]

    smallest = max((n_tokens([group]) for some in mine for group in some), default=0)
    return (yield from accumulate_pieces(learner, smallest, cut, loss_of))


def by_prompt(groups: Sequence[G], max_tokens: int) -> list[list[G]]:
    """Groups of one prompt together, as many as their different answers fit into `max_tokens`."""
    found: dict[int, list[list[G]]] = {}
    for group in groups:
        parts = found.setdefault(group.prompt_id, [[]])
        if parts[-1] and n_tokens([*parts[-1], group]) > max_tokens:
            parts.append([])
        parts[-1].append(group)
    return [part for parts in found.values() for part in parts]


def n_tokens(groups: Sequence[Group]) -> int:
    """Padded tokens of the different answers of some groups."""
    return len(different(groups)) * max(group.n_tokens for group in groups)
