"""What policy gradients share: the KL penalty, rewards, the forward pass, and two ways to step.

A plain step uses a batch once, clipped steps use it several times.

B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.policy_gradient import ClippedSettings, CriticSettings
from workbench.config.training import (
    OnPolicySettings,
    PolicyGradientSettings,
    TokenRewardSettings,
)
from workbench.events import Event, Progress
from workbench.objectives.advantages import place_rewards, shaping
from workbench.objectives.kl import AdaptiveKL, kl_estimate
from workbench.objectives.masking import masked_whiten
from workbench.objectives.policy_gradient import kl_loss, reinforce_loss, value_loss
from workbench.objectives.rollout import Rollout
from workbench.training.batches import accumulate
from workbench.training.critic import Critic
from workbench.training.learner import Learner
from workbench.training.loop import permutation
from workbench.training.rollouts import response_states, shaped_scores
from workbench.training.tally import Totals

_MINIBATCH = 3  # what a key of `seeds` is for

P = TypeVar("P", bound=PolicyGradientSettings)


class Penalty(NamedTuple):
    """What a batch earned and what its distance from the reference costs."""

    scores: Tensor  # (B,) normalised, clipped, punished for cut answers
    kl: Tensor  # (B, T) estimate per token, 0 outside
    coef: float  # β of this update
    in_reward: float  # β where KL is part of the reward, else 0
    in_loss: float  # β where KL is part of the loss, else 0

    def figures(self) -> dict[str, float]:
        """For the charts."""
        return {
            "objective/rlhf_reward": float((self.scores - self.coef * self.kl.sum(1)).mean()),
            "objective/kl_coef": self.coef,
        }


def penalty(learner: Learner[P], rollout: Rollout) -> Penalty:
    """Scores and KL of a batch, with the β that holds now.

    An adaptive β then moves towards the KL target, for the next update (Ziegler et al. 2019).
    """
    settings, counters = learner.settings, learner.counters
    coef = counters.get("kl_coef", settings.kl_coef)
    if not settings.is_kl_adaptive:
        coef = learner.live.get("kl_coef", coef)
    kl = kl_estimate(rollout.old_logps, rollout.ref_logps, settings.kl_estimator)
    kl = torch.where(rollout.is_response, kl, 0.0)
    counters["kl_coef"] = coef
    if settings.is_kl_adaptive:
        difference = (rollout.old_logps - rollout.ref_logps) * rollout.is_response
        controller = AdaptiveKL(coef, settings.kl_target, settings.kl_horizon)
        mean = float(difference.sum(1).mean())
        counters["kl_coef"] = controller.updated(mean, settings.batch_size).coef
    is_in_reward = settings.kl_in == "reward"
    return Penalty(
        scores=shaped_scores(learner, rollout),
        kl=kl,
        coef=coef,
        in_reward=coef if is_in_reward else 0.0,
        in_loss=0.0 if is_in_reward else coef,
    )


def rewards_of_tokens(
    learner: Learner[TokenRewardSettings], rollout: Rollout, cost: Penalty
) -> Tensor:  # (B, T)
    """−β·KL of each token, and the score at the end, at each token, or both."""
    settings = learner.settings
    token_scores, scores = rollout.token_scores, cost.scores
    if token_scores is not None:
        if settings.normalise_scores != "off":
            token_scores = token_scores / learner.counters["score_scale"]
        if settings.reward_at != "both":
            token_scores = shaping(token_scores, rollout.is_response, settings.gamma)
    rewards = place_rewards(
        scores, cost.kl, rollout.is_response, cost.in_reward, token_rewards=token_scores
    )
    if settings.whiten_rewards:
        rewards = masked_whiten(rewards, rollout.is_response, shift_mean=False)
    return rewards


def rewards_of_answers(cost: Penalty) -> Tensor:  # (B,)
    """The score of each answer less β·KL of all its tokens, where KL is part of the reward."""
    return cost.scores - cost.in_reward * cost.kl.sum(1)


def group_figures(cost: Penalty, group_size: int) -> dict[str, float]:
    """How much the answers to one prompt differ, which is all that groups can learn from."""
    groups = cost.scores.view(-1, group_size)
    is_equal = (groups == groups[:, :1]).all(dim=1)
    return {
        "groups/score_spread": float(groups.std(dim=1).mean()),
        "groups/equal_share": float(is_equal.float().mean()),
    }


class Forward(NamedTuple):
    """The policy's view of some answers now, with gradients."""

    states: Tensor  # (B, T, H)
    logps: Tensor  # (B, T)
    entropies: Tensor  # (B, T)


def forward(
    learner: Learner[OnPolicySettings],
    part: Rollout,
    cancel: CancelToken,
    *,
    with_entropy_grad: bool = False,
) -> Forward:
    """Log-probabilities and entropies of answers under the policy as it is now."""
    model = learner.model
    with model.checking(cancel.raise_if_cancelled):
        states = response_states(learner, part)
    logps, entropies = model.logps(
        states,
        part.response_ids,
        part.is_response,
        learner.settings.temperature,
        with_entropy_grad=with_entropy_grad,
    )
    return Forward(states, logps, entropies)


def kl_in_loss(learner: Learner[P], now: Forward, part: Rollout) -> Tensor:  # (B, T)
    """KL to the reference as a loss, with the right gradient."""
    return kl_loss(
        now.logps, part.old_logps, part.ref_logps, part.is_response, learner.settings.kl_estimator
    )


class Whole(NamedTuple):
    """What a minibatch holds: its pieces divide their sums by it, so that they add up."""

    n_tokens: int
    n_answers: int


def plain_step(
    learner: Learner[CriticSettings],
    critic: Critic | None,
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    advantages: Tensor,  # (B, T)
    returns: Tensor,  # (B, T), what the critic should have said
    cost: Penalty,
) -> Generator[Event, None, None]:
    """One step of A2C's kind on the whole batch: −A·logp + c_v·½(V − R)² − c_e·H + β·KL."""
    settings = learner.settings
    n_tokens = int(rollout.is_response.sum())

    def loss_of(rows: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        index = torch.tensor(rows, device=advantages.device)
        part = rollout.select(index).trimmed()
        n, is_response = part.is_response.shape[1], part.is_response
        now = forward(learner, part, cancel, with_entropy_grad=settings.entropy_coef > 0)
        totals.watch_ratio((now.logps.detach() - part.old_logps).abs().amax())
        policy = reinforce_loss(now.logps, advantages[index, :n], is_response).sum() / n_tokens
        entropy = now.entropies.sum() / n_tokens
        figures = {"loss/policy": policy, "objective/entropy": entropy}
        loss = policy - settings.entropy_coef * entropy
        if critic is not None:
            values, wanted = critic.values(part, now.states), returns[index, :n]
            losses, _ = value_loss(values, part.old_values, wanted, is_response, None)
            figures["loss/value"] = losses.sum() / n_tokens
            loss = loss + settings.value_coef * figures["loss/value"]
        if cost.in_loss:
            loss = loss + cost.in_loss * kl_in_loss(learner, now, part).sum() / n_tokens
        return loss, figures

    widths = rollout.widths()
    figures = yield from accumulate(learner, range(len(widths)), widths, loss_of)
    totals.add(figures)
    learner.step(totals)


def clipped_steps(
    learner: Learner[ClippedSettings],
    totals: Totals,
    rollout: Rollout,
    loss_of: Callable[[Whole, list[int]], tuple[Tensor, dict[str, Tensor]]],
) -> Generator[Event, None, None]:
    """One step per minibatch, until all are done or the policy has moved too far.

    Args:
        learner: What learns.
        totals: Counts the figures; `policy/approx_kl` must be one of them.
        rollout: The batch.
        loss_of: The loss of some rows, as their part of the whole minibatch's.
    """
    settings, widths = learner.settings, rollout.widths()
    n_steps = settings.epochs * settings.minibatches
    for rows in minibatches(learner, len(widths), settings.epochs, settings.minibatches):
        whole = Whole(int(rollout.is_response[rows].sum()), len(rows))
        figures = yield from accumulate(learner, rows, widths, partial(loss_of, whole))
        totals.add(figures)
        limit = settings.target_step_kl
        if limit and figures["policy/approx_kl"] > 1.5 * limit:
            learner.optimiser.zero_grad(set_to_none=True)
            break
        learner.step(totals)
        yield Progress(totals.n_minibatches, n_steps, "Learning")


def minibatches(
    learner: Learner[OnPolicySettings], n: int, epochs: int, parts: int
) -> Iterator[list[int]]:
    """Rows of one optimiser step after the other: a fresh order of whole answers per epoch.

    Rows that do not divide make parts that differ by one, and fewer rows than parts fewer parts.
    """
    for epoch in range(epochs):
        order = permutation(n, learner.settings.seed, _MINIBATCH, learner.update, epoch)
        for part in range(parts):
            if rows := order[n * part // parts : n * (part + 1) // parts]:
                yield rows
