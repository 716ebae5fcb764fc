"""LoRA REINFORCE: the policy gradient itself, with a baseline.

One update:
    1. answer a batch of prompts with the policy and score the answers (`rollouts.py`);
    2. r_t = −β · KL_t, and the score at the last response token (or spread, `reward_at`);
    3. G_t = Σ_{k≥t} γ^{k−t}·r_k;
    4. one optimiser step down  mean over tokens of −(G_t − b)·log π(y_t).

The baseline b takes away what every answer gets anyway, which is most of the noise, and no bias:
    batch_mean      the mean return of the batch's tokens. It knows the answer that it is for, which
                    shortens the gradient by 1/n;
    moving_average  that of the batches before, which does not;
    learned         V(s_t) of a critic, trained on ½(V_t − G_t)²: A2C with λ = 1;
    none            0, for comparison.

REINFORCE++ (Hu 2025, arXiv:2501.03262) is no baseline and advantages whitened over the batch. Its
clip and its several steps per batch are left out here: PPO's file has them.

Williams 1992; Sutton and Barto 2018, section 13.4.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.reinforce import ReinforceSettings
from workbench.events import Event
from workbench.objectives.advantages import MovingAverage, rewards_to_go
from workbench.objectives.masking import masked_mean, masked_whiten
from workbench.objectives.policy_gradient import explained_variance
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.critic import Critic
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import penalty, plain_step, rewards_of_tokens
from workbench.training.tally import Totals


def train(settings: ReinforceSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    critic = None
    if settings.baseline == "learned":
        critic = Critic(inputs.model, settings.value_network, settings.lora, settings.seed)
    learner = begin("reinforce", settings, inputs, critic.modules if critic else None)
    learn = partial(_learn, learner, critic, cancel)
    yield from on_policy.run(learner, inputs, cancel, learn, critic)


def _learn(
    learner: Learner[ReinforceSettings],
    critic: Critic | None,
    cancel: CancelToken,
    rollout: Rollout,
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    settings, is_response = learner.settings, rollout.is_response
    cost = penalty(learner, rollout)
    rewards = rewards_of_tokens(learner, rollout, cost)
    returns = rewards_to_go(rewards, is_response, settings.gamma)
    advantages = returns - _baseline(learner, rollout, returns)
    if settings.whiten_advantages:
        advantages = masked_whiten(advantages, is_response)
    totals.keep(advantage=advantages, reward=rewards)
    yield from plain_step(learner, critic, cancel, totals, rollout, advantages, returns, cost)
    figures = {**cost.figures(), "policy/first_ratio_error": totals.first_ratio_error}
    if critic is not None:
        explained = explained_variance(rollout.old_values, returns, is_response)
        figures["value/explained_variance"] = float(explained)
    return figures


def _baseline(
    learner: Learner[ReinforceSettings], rollout: Rollout, returns: Tensor
) -> Tensor | float:
    """What is taken from the returns: one number, or one for each token."""
    settings, counters = learner.settings, learner.counters
    match settings.baseline:
        case "batch_mean":
            return masked_mean(returns, rollout.is_response)
        case "moving_average":
            past = MovingAverage(
                settings.baseline_decay,
                counters.get("baseline", 0.0),
                int(counters.get("baseline_batches", 0)),
            )
            now = past.updated(returns[rollout.is_response])
            counters["baseline"], counters["baseline_batches"] = now.mean, now.n
            return past.mean
        case "learned":
            return rollout.old_values
        case "none":
            return 0.0
