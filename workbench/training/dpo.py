"""DPO: direct preference optimisation, RLHF without a reward model and without sampling.

With Δ = log π/π_ref of the chosen answer less that of the rejected one, whole answers each:

    sigmoid:  L = weighted mean over pairs of −log σ(βΔ); with label smoothing ε conservative DPO
    ipo:      L = mean of (Δ − 1/2β)², with means per token in place of sums
    hinge:    L = mean of max(0, 1 − βΔ)

Rafailov et al. 2023 (arXiv:2305.18290, eq. 7); Mitchell 2023 (ericmitchell.ai/cdpo.pdf); Azar et
al. 2023 (arXiv:2310.12036, eq. 17), its means as its authors told TRL; Liu et al. 2023
(arXiv:2309.06657, eq. 10). The reference's log-probabilities do not change, so they are computed
once before the first update. Left out here: ties, other divergences, a reference that moves.

When to use it: preferences are there and a reward model is not wanted. It is cheap and steady, but
it learns from the answers that were judged and not from the policy's own, so it gains less than
PPO where those are far from each other. Starting from supervised fine-tuning on the chosen answers
brings them near.

`rewards/chosen` usually falls with `rewards/rejected`, only less: what is learned is the margin.
There is no KL to the reference among the figures: that is a mean over the policy's own answers,
and none are drawn here. Evaluate measures it.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.dpo import DPOSettings
from workbench.events import Event
from workbench.objectives.intervals import wilson
from workbench.objectives.preference import dpo_loss, implicit_rewards
from workbench.rewards.neural import Encoded
from workbench.training import offline
from workbench.training.answers import finished, forward, log_probabilities, reference, reference_of
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import require_finite
from workbench.training.on_policy import save_adapter
from workbench.training.pairs import (
    Pair,
    accumulate,
    different,
    encode_pairs,
    sides,
    weights_of,
)
from workbench.training.tally import Totals


def train(settings: DPOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter on `inputs.preferences`.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too few usable pairs, or the loss is not a number any more.
        Cancelled: The token was cancelled; the last checkpoint stays.
    """
    learner = begin("dpo", settings, inputs)
    pairs = yield from encode_pairs(learner.model, inputs.preferences, settings, cancel)
    split = offline.split_by_prompt(
        [p.prompt_id for p in pairs], settings.heldout_share, settings.seed
    )
    heldout = [pairs[i] for i in split.heldout]
    ref = yield from reference(learner, different(pairs), cancel)
    yield from offline.run(
        learner,
        inputs,
        cancel,
        split,
        partial(_learn, learner, pairs, ref),
        partial(_evaluate, learner, heldout, ref),
    )
    yield from save_adapter(learner, inputs.run_dir)


def _learn(
    learner: Learner[DPOSettings],
    pairs: Sequence[Pair],
    ref: Mapping[Encoded, float],
    batch: Sequence[int],
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the pairs of a batch."""

    def loss_of(part: list[Pair]) -> tuple[Tensor, dict[str, Tensor]]:
        answers = different(part)
        policy = forward(learner.model, answers).sums()
        known = reference_of(learner, ref, answers, policy)
        losses, rewards = _compare(learner.settings, part, answers, policy, known)
        margins = rewards[0] - rewards[1]
        loss = (losses * weights_of(part, losses)).sum() / len(batch)
        return loss, {
            "loss/dpo": loss,
            "rewards/chosen": rewards[0].sum() / len(batch),
            "rewards/rejected": rewards[1].sum() / len(batch),
            "rewards/margins": margins.sum() / len(batch),
            "rewards/accuracies": (margins > 0).sum() / len(batch),
        }

    figures = yield from accumulate(learner, [pairs[i] for i in batch], loss_of)
    require_finite([figures["loss/dpo"]], "The loss")
    totals.add(figures)
    learner.step(totals)
    return {}


def _evaluate(
    learner: Learner[DPOSettings], pairs: Sequence[Pair], ref: Mapping[Encoded, float]
) -> dict[str, float]:
    """Loss, margin and accuracy on held-out pairs, with Wilson's interval; equal counts half."""
    answers = different(pairs)
    policy = torch.tensor(finished(log_probabilities(learner, learner.adapter, answers)))
    known = reference_of(learner, ref, answers, policy)
    losses, rewards = _compare(learner.settings, pairs, answers, policy, known)
    margins = rewards[0] - rewards[1]
    wins = float((margins > 0).sum()) + 0.5 * float((margins == 0).sum())
    low, high = wilson(wins, len(pairs))
    return {
        "heldout/loss": float(losses.mean()),
        "heldout/margins": float(margins.mean()),
        "heldout/accuracies": wins / len(pairs),
        "heldout/accuracies_low": low,
        "heldout/accuracies_high": high,
        "heldout/pairs": float(len(pairs)),
    }


def _compare(
    settings: DPOSettings,
    pairs: Sequence[Pair],
    answers: Sequence[Encoded],
    policy: Tensor,  # (N,) log-probabilities of the answers
    ref: Tensor,  # (N,)
) -> tuple[Tensor, Tensor]:
    """Loss (B,) of each pair, and implicit rewards (2, B) of its chosen and rejected answer."""
    rewards = implicit_rewards(policy.detach(), ref, settings.beta)
    if settings.kind == "ipo":
        lengths = torch.tensor([len(a.answer) for a in answers], device=policy.device)
        policy, ref = policy / lengths, ref / lengths
    policy_sides, ref_sides = sides(pairs, answers, policy), sides(pairs, answers, ref)
    losses = dpo_loss(
        policy_sides[0],
        policy_sides[1],
        ref_sides[0],
        ref_sides[1],
        settings.beta,
        settings.kind,
        settings.label_smoothing,
    )
    return losses, sides(pairs, answers, rewards)
