"""LoRA RLOO: REINFORCE where the other answers to a prompt are the baseline.

One update:
    1. answer each prompt of a batch `group_size` times and score the answers (`rollouts.py`);
    2. R_i = score_i − β·Σ_t KL_t, one reward for the whole answer;
    3. A_i = R_i − mean of the R_j of the group's other answers: without bias, and without a critic;
    4. `epochs` passes in `minibatches` steps down  mean over answers of −min(ρA, clip(ρ, 1 ± ε)A),
       where an answer is one action: ρ = π(y | x) / π_old(y | x).

With one epoch and one minibatch ρ is 1 and this is REINFORCE to the letter. Take it when the score
is for whole answers anyway: no value head has to learn first. Answers are longer actions than
tokens, so ρ leaves the clip range sooner: keep the steps few.

Kool et al. 2019; Ahmadian et al. 2024 (arXiv:2402.14740). Left out here: rewards of single tokens,
which an answer as one action cannot use.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.rloo import RLOOSettings
from workbench.events import Event
from workbench.objectives.advantages import group_baseline_rloo
from workbench.objectives.masking import masked_whiten
from workbench.objectives.policy_gradient import sequence_policy_loss
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import (
    Penalty,
    Whole,
    clipped_steps,
    forward,
    group_figures,
    kl_in_loss,
    penalty,
    rewards_of_answers,
)
from workbench.training.tally import Totals


def train(settings: RLOOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    learner = begin("rloo", settings, inputs)
    yield from on_policy.run(learner, inputs, cancel, partial(_learn, learner, cancel))


def _learn(
    learner: Learner[RLOOSettings], cancel: CancelToken, rollout: Rollout, totals: Totals
) -> Generator[Event, None, dict[str, float]]:
    settings = learner.settings
    cost = penalty(learner, rollout)
    advantages = group_baseline_rloo(rewards_of_answers(cost), settings.group_size)
    if settings.whiten_advantages:
        advantages = masked_whiten(advantages, torch.ones_like(advantages, dtype=torch.bool))
    totals.keep(advantage=advantages)
    loss_of = partial(_loss, learner, cancel, totals, rollout, advantages, cost)
    yield from clipped_steps(learner, totals, rollout, loss_of)
    return {
        **cost.figures(),
        **group_figures(cost, settings.group_size),
        "policy/first_ratio_error": totals.first_ratio_error,
    }


def _loss(
    learner: Learner[RLOOSettings],
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    advantages: Tensor,
    cost: Penalty,
    whole: Whole,
    rows: list[int],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some answers, as their part of the minibatch's."""
    index = torch.tensor(rows, device=advantages.device)
    part = rollout.select(index).trimmed()
    now = forward(learner, part, cancel)
    losses, stats = sequence_policy_loss(
        now.logps,
        part.old_logps,
        advantages[index],
        part.is_response,
        *learner.settings.clip_ranges,
    )
    loss = policy = losses.sum() / whole.n_answers
    if cost.in_loss:
        loss = loss + cost.in_loss * kl_in_loss(learner, now, part).sum() / whole.n_answers
    totals.watch_ratio(stats.log_ratio_abs_max)
    return loss, {
        "loss/policy": policy,
        "objective/entropy": now.entropies.sum() / whole.n_tokens,
        # ½(Σ_t d_t)² estimates the KL of an answer, which is the sum of its tokens' KL.
        "policy/approx_kl": stats.approx_kl_sum / whole.n_tokens,
        "policy/clip_fraction": stats.clipped_sum / whole.n_answers,
    }
