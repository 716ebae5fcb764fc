"""LoRA online DPO: two fresh answers to each prompt, the better one preferred.

One update:
    1. answer each prompt of a batch twice with the policy and score the answers (`rollouts.py`);
    2. the answer with the higher score is chosen, the other rejected; equal scores say nothing and
       leave the pair out;
    3. one optimiser step down the DPO loss against the reference, the mean over the pairs left.

Of the scores only their order is used, so a reward that is right about which and wrong about how
much does no harm; an AI judge is a reward like any other. DPO on a fixed set of pairs learns from
answers that the policy stops giving; here the pairs move with it.

Guo et al. 2024, OAIF (arXiv:2402.04792), algorithm 1; losses: Rafailov et al. 2023
(arXiv:2305.18290), Azar et al. 2023 (ipo), Liu et al. 2023 (hinge). Left out here: several steps on
a batch (the paper takes one too), and more than two answers.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.online_dpo import OnlineDPOSettings
from workbench.events import Event
from workbench.objectives.preference import (
    DPOKind,
    dpo_loss,
    implicit_rewards,
    sequence_logps,
)
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.batches import accumulate
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import forward
from workbench.training.rollouts import shaped_scores
from workbench.training.tally import Totals


def train(settings: OnlineDPOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    learner = begin("online-dpo", settings, inputs)
    yield from on_policy.run(learner, inputs, cancel, partial(_learn, learner, cancel))


def _learn(
    learner: Learner[OnlineDPOSettings], cancel: CancelToken, rollout: Rollout, totals: Totals
) -> Generator[Event, None, dict[str, float]]:
    # A changed β outlives a resume, as a changed learning rate does.
    beta = learner.counters.get("beta", learner.settings.beta)
    beta = learner.counters["beta"] = learner.live.get("beta", beta)
    scores = shaped_scores(learner, rollout)
    pairs = ranked(scores)
    figures = {"rewards/tied": 1.0 - 2.0 * len(pairs) / len(scores)}
    if pairs:
        answers = rollout.widths()
        widths = [2 * max(answers[chosen], answers[rejected]) for chosen, rejected in pairs]
        n_tokens = int(_select(rollout, pairs).is_response.sum())
        loss_of = partial(_loss, learner, cancel, totals, rollout, pairs, beta, n_tokens)
        totals.add((yield from accumulate(learner, range(len(pairs)), widths, loss_of)))
        learner.step(totals)
        figures |= _margins(rollout, pairs, beta, learner.settings.kind)
    return {**figures, "policy/first_ratio_error": totals.first_ratio_error}


def ranked(scores: Tensor) -> list[tuple[int, int]]:
    """Rows of chosen and rejected of each pair of neighbours whose scores (B,) differ."""
    return [
        (row, row + 1) if first > second else (row + 1, row)
        for row, (first, second) in zip(
            range(0, len(scores), 2), scores.view(-1, 2).tolist(), strict=True
        )
        if first != second
    ]


def _loss(
    learner: Learner[OnlineDPOSettings],
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    pairs: list[tuple[int, int]],
    beta: float,
    n_tokens: int,
    rows: list[int],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some pairs, as their part of the batch's; both answers in one forward pass."""
    part = _select(rollout, [pairs[row] for row in rows]).trimmed()
    now, kind = forward(learner, part, cancel), learner.settings.kind
    policy_chosen, policy_rejected = _answers(now.logps, part, kind)
    ref_chosen, ref_rejected = _answers(part.ref_logps, part, kind)
    losses = dpo_loss(policy_chosen, policy_rejected, ref_chosen, ref_rejected, beta, kind)
    totals.watch_ratio((now.logps.detach() - part.old_logps).abs().amax())
    loss = losses.sum() / len(pairs)
    return loss, {"loss/policy": loss, "objective/entropy": now.entropies.sum() / n_tokens}


def _margins(
    rollout: Rollout, pairs: list[tuple[int, int]], beta: float, kind: DPOKind
) -> dict[str, float]:
    """How far the policy that answered is of the same mind as the reward; an even one by half."""
    part = _select(rollout, pairs)
    policy, ref = _answers(part.old_logps, part, kind), _answers(part.ref_logps, part, kind)
    chosen, rejected = (implicit_rewards(p, r, beta) for p, r in zip(policy, ref, strict=True))
    margins = chosen - rejected
    return {
        "rewards/chosen": float(chosen.mean()),
        "rewards/rejected": float(rejected.mean()),
        "rewards/margins": float(margins.mean()),
        "rewards/accuracies": float((margins.sign() + 1.0).mean()) / 2.0,
    }


def _select(rollout: Rollout, pairs: list[tuple[int, int]]) -> Rollout:
    """The chosen answers of some pairs, then the rejected ones in the same order."""
    return rollout.select(torch.tensor(pairs, device=rollout.scores.device).T.flatten())


def _answers(logps: Tensor, part: Rollout, kind: DPOKind) -> tuple[Tensor, Tensor]:
    """Log-probabilities of chosen and rejected answers; IPO is made for means over tokens."""
    chosen, rejected = sequence_logps(logps, part.is_response, average=kind == "ipo").chunk(2)
    return chosen, rejected
