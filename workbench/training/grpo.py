"""LoRA GRPO: group relative policy optimisation, PPO's clip without a critic.

One update:
    1. answer each prompt of a batch `group_size` times and score the answers (`rollouts.py`);
    2. A_i = (R_i − μ) / (σ + 1e-4) within the group, alike for all tokens of an answer;
    3. `epochs` passes in `minibatches` steps down
       −min(ρ_t·A, clip(ρ_t, 1 − ε_low, 1 + ε_high)·A) + β·KL_t, token by token, summed as
       `aggregation` says.

Take it when answers are right or wrong: a group then says how hard its prompt is. Its heirs are
settings (the presets):
    Dr. GRPO    no division by σ, which weights easy and hopeless prompts most, nor by the length of
                an answer, which rewards long wrong ones (Liu et al. 2025, arXiv:2503.20783);
    DAPO        a higher upper clip range, each token alike, no KL, no groups without a spread
                (Yu et al. 2025, arXiv:2503.14476).

Shao et al. 2024 (arXiv:2402.03300), eq. 3. Different there: KL in the loss is k3 differentiated as
it stands; here its gradient is that of the KL (`kl_loss`). Left out here: DAPO's drawing of more
prompts until the batch is full (skipped groups make it smaller), its soft punishment of long
answers (`missing_eos_penalty` is the hard one), and iterations with a new reward model.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.grpo import GRPOSettings
from workbench.events import Event
from workbench.objectives.advantages import group_advantages_grpo
from workbench.objectives.policy_gradient import aggregate, clipped_policy_loss
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


def train(settings: GRPOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    learner = begin("grpo", settings, inputs)
    yield from on_policy.run(learner, inputs, cancel, partial(_learn, learner, cancel))


def _learn(
    learner: Learner[GRPOSettings], cancel: CancelToken, rollout: Rollout, totals: Totals
) -> Generator[Event, None, dict[str, float]]:
    settings = learner.settings
    cost = penalty(learner, rollout)
    advantages = group_advantages_grpo(
        rewards_of_answers(cost), settings.group_size, settings.scale_by_std
    )
    totals.keep(advantage=advantages)
    figures = {**cost.figures(), **group_figures(cost, settings.group_size)}
    if settings.skip_equal_groups:
        # Advantages of equal rewards are exactly 0 (`group_advantages_grpo`).
        says_something = advantages.view(-1, settings.group_size).any(dim=1)
        kept = says_something.repeat_interleave(settings.group_size)
        rollout, advantages = rollout.select(kept), advantages[kept]
    loss_of = partial(_loss, learner, cancel, totals, rollout, advantages, cost)
    yield from clipped_steps(learner, totals, rollout, loss_of)
    return {**figures, "policy/first_ratio_error": totals.first_ratio_error}


def _loss(
    learner: Learner[GRPOSettings],
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    advantages: Tensor,
    cost: Penalty,
    whole: Whole,
    rows: list[int],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some answers, as their part of the minibatch's."""
    settings, index = learner.settings, torch.tensor(rows, device=advantages.device)
    part = rollout.select(index).trimmed()
    now = forward(learner, part, cancel)
    token_losses, stats = clipped_policy_loss(
        now.logps,
        part.old_logps,
        advantages[index].unsqueeze(1).expand_as(now.logps),
        part.is_response,
        *settings.clip_ranges,
    )

    def mean(losses: Tensor) -> Tensor:
        return aggregate(
            losses,
            part.is_response,
            settings.aggregation,
            n_tokens=whole.n_tokens,
            n_answers=whole.n_answers,
            max_tokens=settings.max_new_tokens,
        )

    loss = policy = mean(token_losses)
    if cost.in_loss:
        loss = loss + cost.in_loss * mean(kl_in_loss(learner, now, part))
    totals.watch_ratio(stats.log_ratio_abs_max)
    return loss, {
        "loss/policy": policy,
        "objective/entropy": now.entropies.sum() / whole.n_tokens,
        "policy/approx_kl": stats.approx_kl_sum / whole.n_tokens,
        "policy/clip_fraction": stats.clipped_sum / whole.n_tokens,
    }
