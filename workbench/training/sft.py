"""Supervised fine-tuning: the policy learns to say what is written.

    L = −Σ log π(y_t | x, y_<t) / N over the N answer tokens of a batch, stop tokens included

Prompts are read and not learned: only answer tokens count. Every token counts alike, however
batches are cut into pieces. It is the stage before RLHF (Ouyang et al. 2022, arXiv:2203.02155,
section 3.5), and with the best of several answers it is rejection sampling. Left out here:
packing of several texts into one row, learning from the earlier turns of a dialogue.

When to use it: good answers are there, or the base does not yet answer in the form that is
wanted. It imitates, the bad habits of the answers included; what to avoid it cannot be told.

There is no KL to the reference among its figures: that is a mean over the policy's own answers,
and none are drawn here. Evaluate measures it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.sft import SFTSettings
from workbench.errors import UserError
from workbench.events import Event
from workbench.rewards.neural import Encoded
from workbench.training import offline
from workbench.training.answers import (
    encode,
    finished,
    forward,
    left_out,
    log_probabilities,
    longest,
)
from workbench.training.batches import accumulate
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import require_finite
from workbench.training.on_policy import save_adapter
from workbench.training.tally import Totals

_FEWEST_ANSWERS = 2


class Demonstration(NamedTuple):
    """An answer to imitate."""

    prompt_id: int
    answer: Encoded


def train(settings: SFTSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter on `inputs.answers`.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too few usable answers, or the loss is not a number any more.
        Cancelled: The token was cancelled; the last checkpoint stays.
    """
    learner = begin("sft", settings, inputs)
    found = yield from _encoded(learner, inputs, cancel)
    split = offline.split_by_prompt(
        [d.prompt_id for d in found], settings.heldout_share, settings.seed
    )
    answers = [d.answer for d in found]
    heldout = [answers[i] for i in split.heldout]
    yield from offline.run(
        learner,
        inputs,
        cancel,
        split,
        partial(_learn, learner, answers),
        partial(_evaluate, learner, heldout),
    )
    yield from save_adapter(learner, inputs.run_dir)


def _learn(
    learner: Learner[SFTSettings], answers: Sequence[Encoded], batch: Sequence[int], totals: Totals
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the answers of a batch."""
    chosen = [answers[i] for i in batch]
    n_tokens = sum(len(a.answer) for a in chosen)

    def loss_of(rows: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        scored = forward(learner.model, [chosen[i] for i in rows])
        loss = -scored.sums().sum() / n_tokens
        return loss, {"loss/sft": loss, "objective/entropy": scored.entropies.sum() / n_tokens}

    widths = [len(a) for a in chosen]
    figures = yield from accumulate(learner, range(len(chosen)), widths, loss_of)
    require_finite([figures["loss/sft"]], "The loss")
    totals.add(figures)
    learner.step(totals)
    return {}


def _evaluate(learner: Learner[SFTSettings], answers: Sequence[Encoded]) -> dict[str, float]:
    """Loss per token of held-out answers."""
    logps = finished(log_probabilities(learner, learner.adapter, answers))
    return {"heldout/loss": -sum(logps) / sum(len(a.answer) for a in answers)}


def _encoded(
    learner: Learner[SFTSettings], inputs: Inputs, cancel: CancelToken
) -> Generator[Event, None, list[Demonstration]]:
    """The answers that can be learned from; those that are too long are told."""
    model, items = learner.model, inputs.answers
    encoded = yield from encode(model, [(i.prompt, i.answer) for i in items], cancel)
    limit = longest(model, learner.settings)
    found = [
        Demonstration(item.prompt.id, answer)
        for item, answer in zip(items, encoded, strict=True)
        if len(answer) <= limit
    ]
    if n_long := len(items) - len(found):
        yield left_out(n_long, "answer", limit)
    n_prompts = len({d.prompt_id for d in found})
    if n_prompts < _FEWEST_ANSWERS:
        raise UserError(
            f"There are {len(found)} usable answers on {n_prompts} prompts; training needs at "
            f"least {_FEWEST_ANSWERS} prompts, one of them to measure on.",
            "Write or import more answers, or rank more pairs.",
        )
    return found
