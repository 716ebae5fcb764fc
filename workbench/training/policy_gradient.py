"""What policy gradients share: the KL penalty, rewards of tokens, minibatches, the forward pass.

B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.training import PolicyGradientSettings, TokenRewardSettings
from workbench.objectives.advantages import place_rewards
from workbench.objectives.kl import AdaptiveKL, kl_estimate
from workbench.objectives.masking import masked_whiten
from workbench.objectives.policy_gradient import kl_loss
from workbench.objectives.rollout import Rollout
from workbench.training.learner import Learner
from workbench.training.loop import permutation
from workbench.training.rollouts import response_states, shaped_scores

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
        scale = learner.counters["score_scale"] if settings.normalise_scores else 1.0
        token_scores = token_scores / scale
        if settings.reward_at == "token":
            # The rest (shift, clip, penalty, the score before the first token) is paid at the
            # end, so that the sum over an answer stays its score and the optimum does not move.
            scores = scores - token_scores.sum(1)
    rewards = place_rewards(
        scores, cost.kl, rollout.is_response, cost.in_reward, token_rewards=token_scores
    )
    if settings.whiten_rewards:
        rewards = masked_whiten(rewards, rollout.is_response, shift_mean=False)
    return rewards


class Forward(NamedTuple):
    """The policy's view of some answers now, with gradients."""

    states: Tensor  # (B, T, H)
    logps: Tensor  # (B, T)
    entropies: Tensor  # (B, T)


def forward(
    learner: Learner[P], part: Rollout, cancel: CancelToken, *, with_entropy_grad: bool = False
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


def minibatches(learner: Learner[P], n: int, epochs: int, parts: int) -> Iterator[list[int]]:
    """Rows of one optimiser step after the other: a fresh order of whole answers per epoch."""
    for epoch in range(epochs):
        order = permutation(n, learner.settings.seed, _MINIBATCH, learner.update, epoch)
        for start in range(0, n, n // parts):
            yield order[start : start + n // parts]
