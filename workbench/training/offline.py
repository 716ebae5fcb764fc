"""The loop of algorithms that learn from a fixed set of answers or pairs.

One update: learn from the next batch of the epoch's order, tell its figures; measure on held-out
data before the first update and after each epoch; save a checkpoint now and then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from workbench.cancel import CancelToken
from workbench.config.training import OfflineSettings
from workbench.errors import Cancelled
from workbench.events import Evaluated, Event, Progress, Step
from workbench.models import adapters
from workbench.training.batches import retried
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner
from workbench.training.loop import permutation
from workbench.training.on_policy import save_checkpoint
from workbench.training.tally import Clock, Totals

_SPLIT, _ORDER = 1, 2  # what a key of `seeds` is for

S = TypeVar("S", bound=OfflineSettings)


@dataclass(frozen=True, slots=True)
class Split:
    """Numbers of items to learn from, prompt by prompt, and to measure on."""

    train: list[list[int]]
    heldout: list[int]

    @property
    def n_train(self) -> int:
        """How many items there are to learn from."""
        return sum(map(len, self.train))


class Watch(Protocol):
    """Follows what is measured on held-out data, and says when to stop."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to be gained; known again after a resume."""
        ...

    def take(self, figures: Mapping[str, float]) -> None:
        """Figures that were measured when they were due."""
        ...


def split_by_prompt(prompt_ids: Sequence[int], share: float, seed: int) -> Split:
    """Keep a share of the prompts, with all their items, for measuring (at least one).

    By prompt and not by item: two items about one prompt would otherwise sit on both sides.

    Args:
        prompt_ids: Of each item, the prompt that it is about.
        share: Of the prompts.
        seed: Of the choice.
    """
    by_prompt: dict[int, list[int]] = {}
    for i, prompt_id in enumerate(prompt_ids):
        by_prompt.setdefault(prompt_id, []).append(i)
    ordered = sorted(by_prompt)
    order = permutation(len(ordered), seed, _SPLIT)
    heldout = {ordered[i] for i in order[: max(1, round(share * len(ordered)))]}
    return Split(
        train=[by_prompt[p] for p in ordered if p not in heldout],
        heldout=[i for p in ordered if p in heldout for i in by_prompt[p]],
    )


def batch_of(split: Split, batch_size: int, update: int, seed: int) -> list[int]:
    """Items of one update; the last batch of an epoch may be smaller.

    Prompts are shuffled, not items: items of one prompt share answers, hence forward passes.
    """
    epoch, k = divmod(update, steps_per_epoch(split, batch_size))
    order = permutation(len(split.train), seed, _ORDER, epoch)
    items = [item for i in order for item in split.train[i]]
    return items[k * batch_size : (k + 1) * batch_size]


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Updates of one pass over the training items."""
    return -(-split.n_train // batch_size)


def run(
    learner: Learner[S],
    inputs: Inputs,
    cancel: CancelToken,
    split: Split,
    learn: Callable[[list[int], Totals], Generator[Event, None, dict[str, float]]],
    evaluate: Callable[[], dict[str, float]],
    watch: Watch | None = None,
) -> Iterator[Event]:
    """Train to the end or to a stop; yields `Step`, `Evaluated` and `Saved` (checkpoints).

    What was learned is saved by the caller, under its own name.

    Args:
        learner: What learns.
        inputs: Places, live settings, the other processes.
        cancel: Stop, pause and cancel. A stop ends at the step boundary with a checkpoint.
        split: Items to learn from and to measure on.
        learn: Gradient step on these items, then figures.
        evaluate: Figures on the held-out items.
        watch: Ends the run early. It is told only of what every run with these settings measures,
            so not of what a stop measures on its way out.

    Raises:
        UserError: The loss is not a number any more.
        Cancelled: The token was cancelled.
    """
    settings = learner.settings
    per_epoch = steps_per_epoch(split, settings.batch_size)
    total = per_epoch * settings.epochs
    measure_every = getattr(settings, "measure_every", 0) or per_epoch
    last_saved = learner.update if inputs.resume_from is not None else -1
    model = learner.model
    with model.checking(cancel.raise_if_cancelled), adapters.active(model, learner.adapter):
        if learner.update == 0:
            yield from _measured(learner, evaluate)
        is_over = watch is not None and watch.is_over
        while learner.update < total and not (is_over or learner.ranks.any(cancel.should_stop)):
            began, clock, totals = time.perf_counter(), Clock(), Totals()
            batch = batch_of(split, settings.batch_size, learner.update, settings.seed)
            lr = learner.set_learning_rate(total)
            with clock.timing("optimise"):
                figures = yield from learn(batch, totals)
            yield from totals.warnings(learner.update + 1)
            learner.update += 1
            figures = {"optim/lr": lr, **totals.metrics(), **figures, **clock.metrics()}
            yield Step(learner.update, total, figures, time.perf_counter() - began)
            learner.count_skipped(totals)
            if learner.update % measure_every == 0 or learner.update == total:
                yield Progress(learner.update, total, "Measuring on held-out data")
                measured = yield from _measured(learner, evaluate)
                if watch is not None:
                    watch.take(measured)
                    is_over = watch.is_over
            every = settings.checkpoint_every
            if every and learner.update % every == 0:
                yield from save_checkpoint(learner, inputs.run_dir)
                last_saved = learner.update
        if learner.update % measure_every and learner.update != total:
            yield from _measured(learner, evaluate)
    if cancel.is_cancelled:
        raise Cancelled
    if last_saved != learner.update:
        yield from save_checkpoint(learner, inputs.run_dir)


def _measured(
    learner: Learner[S], evaluate: Callable[[], dict[str, float]]
) -> Generator[Event, None, dict[str, float]]:
    """Figures on the held-out items, in smaller pieces when memory runs out."""
    figures = yield from retried(learner, 0, evaluate)
    yield Evaluated(learner.update, figures)
    return figures
