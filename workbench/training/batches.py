"""Gradients of a minibatch in pieces that fit into memory, and smaller pieces when they do not.

A piece holds as many answers as its tokens allow, with answers of one length together, so that
little of it is padding. Losses are sums divided by counts of the whole minibatch, so how it is cut
changes memory and time and not the result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from workbench.config.training import TrainingSettings
from workbench.errors import EnvironmentProblem
from workbench.events import Warned
from workbench.training.learner import Learner

log = logging.getLogger(__name__)

# Of some rows: the loss to differentiate, and figures that add up to the minibatch's.
LossOf = Callable[[list[int]], tuple[Tensor, dict[str, Tensor]]]
# Tokens of each row, by its number.
Widths = Sequence[int] | Mapping[int, int]
# Without gradients only one layer's activations are in memory, not all.
FORWARD_FACTOR = 4
_SMALLEST = 16

P = TypeVar("P")
R = TypeVar("R")


def micro_batches(rows: Sequence[int], widths: Widths, max_tokens: int) -> list[list[int]]:
    """Cut rows into lists, longest first, whose padded size is at most `max_tokens`.

    Args:
        rows: Numbers of rows.
        widths: Tokens of every row, by its number.
        max_tokens: Of one list: its number of rows times the longest of them. A row that is
            longer makes a list of its own.
    """
    parts: list[list[int]] = []
    for row in sorted(rows, key=lambda row: -widths[row]):
        if parts and (len(parts[-1]) + 1) * widths[parts[-1][0]] <= max_tokens:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def accumulate(
    learner: Learner[TrainingSettings], rows: Sequence[int], widths: Widths, loss_of: LossOf
) -> Generator[Warned, None, dict[str, float]]:
    """Add up the gradients of a minibatch, and its figures over all processes.

    When memory runs out, the minibatch is begun again in pieces of half the size: nothing is lost,
    and the next minibatches keep to the smaller size.

    Raises:
        EnvironmentProblem: A single answer does not fit.
    """
    longest_first = sorted(rows, key=lambda row: -widths[row])
    mine = longest_first[learner.ranks.rank :: learner.ranks.size]
    longest = max((widths[row] for row in mine), default=0)
    return (
        yield from accumulate_pieces(
            learner, longest, lambda size: micro_batches(mine, widths, size), loss_of
        )
    )


def accumulate_pieces(
    learner: Learner[TrainingSettings],
    smallest: int,
    cut: Callable[[int], Sequence[P]],
    loss_of: Callable[[P], tuple[Tensor, dict[str, Tensor]]],
) -> Generator[Warned, None, dict[str, float]]:
    """As `accumulate`, of a share of the minibatch that cuts itself.

    Args:
        learner: What learns.
        smallest: Tokens of the largest piece that cannot be cut.
        cut: This process's share in pieces of at most so many tokens.
        loss_of: Of one piece.

    Raises:
        EnvironmentProblem: A piece that cannot be cut does not fit.
    """
    figures = yield from retried(
        learner, smallest, lambda: _accumulate_once(cut(learner.micro_batch_tokens), loss_of)
    )
    learner.ranks.sum_gradients_(learner.trainable())
    return learner.ranks.summed(figures)


def _accumulate_once(
    pieces: Sequence[P], loss_of: Callable[[P], tuple[Tensor, dict[str, Tensor]]]
) -> dict[str, float]:
    sums: dict[str, Tensor | float] = {}
    for piece in pieces:
        loss, figures = loss_of(piece)
        torch.autograd.backward(loss)
        for name, value in figures.items():
            sums[name] = sums.get(name, 0.0) + value.detach()
    return {name: float(value) for name, value in sums.items()}


def retried(
    learner: Learner[TrainingSettings], smallest: int, compute: Callable[[], R]
) -> Generator[Warned, None, R]:
    """What `compute` gives, with half of `learner.micro_batch_tokens` whenever memory runs out.

    Args:
        learner: Keeps the smaller size, in its checkpoints too.
        smallest: With so many tokens at once nothing could be cut any smaller.
        compute: Cuts its work by `learner.micro_batch_tokens` and can be begun again.

    Raises:
        EnvironmentProblem: A single answer does not fit.
    """
    while True:
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        # Not among the lines above: the error holds on to all that was computed until then.
        yield _halve(learner, smallest)


def _halve(learner: Learner[TrainingSettings], smallest: int) -> Warned:
    before = learner.micro_batch_tokens
    if before <= max(smallest, _SMALLEST):
        raise too_little()
    release(learner)
    learner.micro_batch_tokens = max(before // 2, _SMALLEST)
    log.warning("out of memory at %d tokens, going on with half", before)
    return Warned(
        f"Memory ran out with {before} tokens at once; the step is done again with "
        f"{learner.micro_batch_tokens}.",
        "Nothing is lost. Lower Micro-batch in the next run.",
    )


def too_little() -> EnvironmentProblem:
    """What to say when nothing can be cut any smaller."""
    return EnvironmentProblem(
        "There is not enough memory for a single answer.",
        "Lower the answer length, adapt fewer layers, recompute activations, or choose a smaller "
        "model.",
    )


def release(learner: Learner[TrainingSettings]) -> None:
    """Give back what a step that is done again has left behind."""
    learner.optimiser.zero_grad(set_to_none=True)
    if learner.model.device.type == "cuda":
        torch.cuda.empty_cache()


# The processor's own class is RuntimeError, and each device has words of its own.
_WORDS = ("you tried to allocate", "out of memory", "CUBLAS_STATUS_ALLOC_FAILED")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device, or Python, said that it has no memory left."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in _WORDS)
    )
