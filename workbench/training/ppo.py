"""LoRA PPO: proximal policy optimisation of a language model against a reward.

One update:
    1. answer a batch of prompts with the policy and score the answers (`rollouts.py`);
    2. r_t = −β · KL_t, and the score at the last response token (or spread, `reward_at`);
    3. advantages and returns by GAE, V = 0 after the last token (finite horizon, no bootstrap,
       for cut answers too, which pay `missing_eos_penalty` instead);
    4. `epochs` passes in `minibatches` steps over the clipped losses, one optimiser step each.

Schulman et al. 2017 (arXiv:1707.06347); Ziegler et al. 2019 (arXiv:1909.08593) for text;
details after Huang et al. 2024 (arXiv:2403.17031).

B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.ppo import PPOSettings
from workbench.events import Event
from workbench.objectives.advantages import gae
from workbench.objectives.masking import masked_whiten
from workbench.objectives.policy_gradient import (
    clipped_policy_loss,
    explained_variance,
    value_loss,
)
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.critic import Critic
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import (
    Penalty,
    Whole,
    clipped_steps,
    forward,
    kl_in_loss,
    penalty,
    rewards_of_tokens,
)
from workbench.training.tally import Totals


def train(settings: PPOSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    critic = Critic(inputs.model, settings.value_network, settings.lora, settings.seed)
    learner = begin("ppo", settings, inputs, critic.modules)
    learn = partial(_learn, learner, critic, cancel)
    yield from on_policy.run(learner, inputs, cancel, learn, critic)


def _learn(
    learner: Learner[PPOSettings],
    critic: Critic,
    cancel: CancelToken,
    rollout: Rollout,
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    settings, is_response = learner.settings, rollout.is_response
    cost = penalty(learner, rollout)
    rewards = rewards_of_tokens(learner, rollout, cost)
    advantages, returns = gae(
        rewards, rollout.old_values, is_response, settings.gamma, settings.gae_lambda
    )
    explained = explained_variance(rollout.old_values, returns, is_response)
    if settings.whiten_advantages:
        advantages = masked_whiten(advantages, is_response)
    totals.keep(advantage=advantages, reward=rewards)

    loss_of = partial(_loss, learner, critic, cancel, totals, rollout, advantages, returns, cost)
    yield from clipped_steps(learner, totals, rollout, loss_of)
    return {
        **cost.figures(),
        "policy/first_ratio_error": totals.first_ratio_error,
        "value/explained_variance": float(explained),
    }


def _loss(
    learner: Learner[PPOSettings],
    critic: Critic,
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    advantages: Tensor,
    returns: Tensor,
    cost: Penalty,
    whole: Whole,
    rows: list[int],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some answers, as their part of the minibatch's."""
    settings, index = learner.settings, torch.tensor(rows, device=advantages.device)
    n_tokens = whole.n_tokens
    part = rollout.select(index).trimmed()
    n, is_response = part.is_response.shape[1], part.is_response
    now = forward(learner, part, cancel, with_entropy_grad=settings.entropy_coef > 0)
    policy_losses, stats = clipped_policy_loss(
        now.logps,
        part.old_logps,
        advantages[index, :n],
        is_response,
        *settings.clip_ranges,
        settings.dual_clip,
    )
    value_losses, n_clipped = value_loss(
        critic.values(part, now.states),
        part.old_values,
        returns[index, :n],
        is_response,
        settings.value_clip_range,
    )
    policy, value = policy_losses.sum() / n_tokens, value_losses.sum() / n_tokens
    entropy = now.entropies.sum() / n_tokens
    loss = policy + settings.value_coef * value - settings.entropy_coef * entropy
    if cost.in_loss:
        loss = loss + cost.in_loss * kl_in_loss(learner, now, part).sum() / n_tokens
    totals.watch_ratio(stats.log_ratio_abs_max)
    return loss, {
        "loss/policy": policy,
        "loss/value": value,
        "objective/entropy": entropy,
        "policy/approx_kl": stats.approx_kl_sum / n_tokens,
        "policy/clip_fraction": stats.clipped_sum / n_tokens,
        "value/clip_fraction": n_clipped / n_tokens,
    }
