"""KTO: learning from answers that were called good or bad one by one, without pairs.

    L = mean over answers of λ_D(1 − σ(β(r − z))) if good, λ_U(1 − σ(β(z − r))) if bad

with r = log π/π_ref of the answer and z ≥ 0, the reference point: the mean of the same over
prompts with answers of other prompts, which stands in for KL(π ‖ π_ref). It is taken over the
whole batch at each step and gets no gradient.

Ethayarajh et al. 2024 (arXiv:2402.01306, eq. 8 and section 4.1). The paper shifts the answers of a
micro-batch by one to get the mismatched pairs, so a prompt's partners change with the batch; here
each prompt keeps one answer of another prompt for the whole run, so that the reference's
log-probabilities are computed once. Left out here: variants without a reference point.

When to use it: feedback is thumbs up and down, or one kind of it is rare. With pairs at hand DPO
says more, since it knows which answer was better than which.

There is no KL to the reference among the figures: that is a mean over the policy's own answers,
and none are drawn here. Evaluate measures it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.kto import KTOSettings
from workbench.errors import UserError
from workbench.events import Event, Warned
from workbench.objectives.preference import (
    implicit_rewards,
    kto_loss,
    kto_reference_point,
    relative_weights,
)
from workbench.rewards.neural import Encoded
from workbench.training import offline
from workbench.training.answers import (
    encode,
    finished,
    forward,
    left_out,
    log_probabilities,
    longest,
    reference,
    reference_of,
)
from workbench.training.batches import accumulate
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import permutation, require_finite
from workbench.training.on_policy import save_adapter
from workbench.training.tally import Totals

_FEWEST_OF_EACH = 2
_BALANCED = (3 / 4, 4 / 3)  # the paper recommends 1 to 4/3
_MISMATCH = 5  # what a key of `seeds` is for


class Judged(NamedTuple):
    """An answer with its verdict, and an answer to something else after the same prompt.

    `weight` is 1 on the average of all answers.
    """

    prompt_id: int
    answer: Encoded
    is_desirable: bool
    mismatched: Encoded
    weight: float


def train(settings: KTOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter on `inputs.feedback`.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too few usable answers, or the loss is not a number any more.
        Cancelled: The token was cancelled; the last checkpoint stays.
    """
    learner = begin("kto", settings, inputs)
    items = yield from _encoded(learner, inputs, cancel)
    split = offline.split_by_prompt(
        [item.prompt_id for item in items], settings.heldout_share, settings.seed
    )
    heldout = [items[i] for i in split.heldout]
    yield from _unbalanced(settings, [items[i] for group in split.train for i in group])
    ref = yield from reference(learner, _texts(items), cancel)
    yield from offline.run(
        learner,
        inputs,
        cancel,
        split,
        partial(_learn, learner, items, ref),
        partial(_evaluate, learner, heldout, ref),
    )
    yield from save_adapter(learner, inputs.run_dir)


def _learn(
    learner: Learner[KTOSettings],
    items: Sequence[Judged],
    ref: Mapping[Encoded, float],
    batch: Sequence[int],
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the answers of a batch."""
    chosen, settings = [items[i] for i in batch], learner.settings
    z = _reference_point(learner, [item.mismatched for item in chosen], ref)
    is_good = torch.tensor([item.is_desirable for item in chosen], device=learner.model.device)

    def loss_of(rows: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        part = [chosen[i] for i in rows]
        answers = [item.answer for item in part]
        policy = forward(learner.model, answers).sums()
        known = reference_of(learner, ref, answers, policy)
        losses, rewards = _compare(settings, policy, known, is_good[rows], z)
        losses = losses * losses.new_tensor([item.weight for item in part])
        loss = losses.sum() / len(batch)
        return loss, {
            "loss/kto": loss,
            **_shares(rewards, is_good[rows], is_good, settings.beta * z),
        }

    widths = [len(item.answer) for item in chosen]
    figures = yield from accumulate(learner, range(len(chosen)), widths, loss_of)
    require_finite([figures["loss/kto"]], "The loss")
    totals.add(figures)
    learner.step(totals)
    return {"kto/reference_point": float(z)}


def _compare(
    settings: KTOSettings,
    policy: Tensor,  # (B,) log-probabilities of answers
    ref: Tensor,  # (B,)
    is_good: Tensor,  # (B,) bool
    z: Tensor,
) -> tuple[Tensor, Tensor]:
    """Loss (B,) and implicit reward (B,) of each answer."""
    weights = settings.desirable_weight, settings.undesirable_weight
    losses = kto_loss(policy, ref, z, is_good, settings.beta, *weights)
    return losses, implicit_rewards(policy.detach(), ref, settings.beta)


def _shares(
    rewards: Tensor,  # (B,) of some answers
    is_good: Tensor,  # (B,) bool
    is_good_of_batch: Tensor,  # (N,) bool, of all of them
    point: Tensor,
) -> dict[str, Tensor]:
    """Figures that add up over a batch; what it holds no answers for is left out."""
    n, n_good = len(is_good_of_batch), int(is_good_of_batch.sum())
    is_right = torch.where(is_good, rewards > point, rewards < point)
    figures = {"rewards/accuracies": is_right.sum() / n}
    if n_good:
        figures["rewards/chosen"] = rewards[is_good].sum() / n_good
    if n_good < n:
        figures["rewards/rejected"] = rewards[~is_good].sum() / (n - n_good)
    if 0 < n_good < n:
        figures["rewards/margins"] = figures["rewards/chosen"] - figures["rewards/rejected"]
    return figures


def _reference_point(
    learner: Learner[KTOSettings], mismatched: Sequence[Encoded], ref: Mapping[Encoded, float]
) -> Tensor:
    """The z of a batch, 0 before the first step."""
    policy = torch.tensor(finished(log_probabilities(learner, learner.adapter, mismatched)))
    return kto_reference_point(policy, reference_of(learner, ref, mismatched, policy))


def _evaluate(
    learner: Learner[KTOSettings], items: Sequence[Judged], ref: Mapping[Encoded, float]
) -> dict[str, float]:
    """The same figures on held-out answers."""
    answers = [item.answer for item in items]
    z = _reference_point(learner, [item.mismatched for item in items], ref)
    policy = torch.tensor(finished(log_probabilities(learner, learner.adapter, answers)))
    is_good = torch.tensor([item.is_desirable for item in items])
    known = reference_of(learner, ref, answers, policy)
    losses, rewards = _compare(learner.settings, policy, known, is_good, z)
    shares = _shares(rewards, is_good, is_good, learner.settings.beta * z)
    return {
        "heldout/loss": float(losses.mean()),
        **{name.replace("rewards/", "heldout/"): float(v) for name, v in shares.items()},
    }


def _texts(items: Sequence[Judged]) -> list[Encoded]:
    """Everything whose log-probability is needed, each once."""
    answers = [item.answer for item in items]
    return list(dict.fromkeys([*answers, *(item.mismatched for item in items)]))


def _encoded(
    learner: Learner[KTOSettings], inputs: Inputs, cancel: CancelToken
) -> Generator[Event, None, list[Judged]]:
    """The answers that can be learned from; those that are too long are told."""
    model, feedback = learner.model, inputs.feedback
    encoded = yield from encode(model, [(f.prompt, f.answer) for f in feedback], cancel)
    limit = longest(model, learner.settings)
    fitting = [(f, a) for f, a in zip(feedback, encoded, strict=True) if len(a) <= limit]
    if n_long := len(feedback) - len(fitting):
        yield left_out(n_long, "answer", limit)
    n_good, n_prompts = (
        sum(f.is_desirable for f, _ in fitting),
        len({f.prompt.id for f, _ in fitting}),
    )
    if min(n_good, len(fitting) - n_good) < _FEWEST_OF_EACH or n_prompts < 2:
        raise UserError(
            f"There are {n_good} good and {len(fitting) - n_good} bad usable answers on "
            f"{n_prompts} prompts; training needs at least {_FEWEST_OF_EACH} of each on 2 prompts.",
            "Rank more pairs, or raise Longest text.",
        )
    partners = _partners([f.prompt.id for f, _ in fitting], learner.settings.seed)
    weights = relative_weights([f.weight for f, _ in fitting])
    return [
        Judged(f.prompt.id, answer, f.is_desirable, _joined(answer, fitting[k][1], limit), weight)
        for (f, answer), k, weight in zip(fitting, partners, weights, strict=True)
    ]


def _partners(prompt_ids: Sequence[int], seed: int) -> list[int]:
    """For each item another one about another prompt: the next in a random order that is."""
    order = permutation(len(prompt_ids), seed, _MISMATCH)
    partners = [0] * len(order)
    for place, item in enumerate(order):
        following = (order[(place + k) % len(order)] for k in range(1, len(order)))
        partners[item] = next(o for o in following if prompt_ids[o] != prompt_ids[item])
    return partners


def _joined(own: Encoded, other: Encoded, limit: int) -> Encoded:
    """A prompt with an answer of another one, cut where the two are too long together."""
    return Encoded(own.prompt, other.answer[: limit - len(own.prompt)])


def _unbalanced(settings: KTOSettings, items: Sequence[Judged]) -> Iterator[Warned]:
    """Tell when good answers weigh more or less than bad ones in all."""
    n_good = sum(item.is_desirable for item in items)
    n_bad = len(items) - n_good
    if not n_good or not n_bad:
        missing = "bad" if n_good else "good"
        yield Warned(
            f"Among the answers to learn from none is {missing}.",
            "Lower Held-out share, or rank more pairs.",
        )
        return
    balanced = settings.undesirable_weight * n_bad / n_good
    low, high = _BALANCED
    if not low <= settings.desirable_weight / balanced <= high:
        yield Warned(
            f"{n_good} good answers of weight {settings.desirable_weight:g} stand against {n_bad} "
            f"bad ones of weight {settings.undesirable_weight:g}.",
            f"They balance with {balanced:.2g} as the weight of good answers.",
        )
