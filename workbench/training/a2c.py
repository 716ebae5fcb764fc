"""LoRA A2C: advantage actor-critic, one plain step on each batch.

One update:
    1. answer a batch of prompts with the policy and score the answers (`rollouts.py`);
    2. r_t = −β · KL_t, and the score at the last response token (or spread, `reward_at`);
    3. advantages and returns by GAE, V = 0 after the last token;
    4. one optimiser step down  mean over tokens of −A_t·log π(y_t) + c_v·½(V_t − R_t)² − c_e·H_t.

It is PPO with one epoch, one minibatch and no clip (Huang et al. 2022, arXiv:2205.09123): at the
point where it is taken the ratio is 1, and the gradient of A·ρ is that of A·log π. Each answer is
used once, so nothing has to be held back, and answers must be cheap for it to be worth it.

Mnih et al. 2016 (arXiv:1602.01783), section 4. Left out here: the asynchronous workers that gave
A3C its name, and n-step returns, whose place λ takes.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from workbench.cancel import CancelToken
from workbench.config.a2c import A2CSettings
from workbench.events import Event
from workbench.objectives.advantages import gae
from workbench.objectives.masking import masked_whiten
from workbench.objectives.policy_gradient import explained_variance
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.critic import Critic
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import penalty, plain_step, rewards_of_tokens
from workbench.training.tally import Totals


def train(settings: A2CSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    critic = Critic(inputs.model, settings.value_network, settings.lora, settings.seed)
    learner = begin("a2c", settings, inputs, critic.modules)
    learn = partial(_learn, learner, critic, cancel)
    yield from on_policy.run(learner, inputs, cancel, learn, critic)


def _learn(
    learner: Learner[A2CSettings],
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
    yield from plain_step(learner, critic, cancel, totals, rollout, advantages, returns, cost)
    return {
        **cost.figures(),
        "policy/first_ratio_error": totals.first_ratio_error,
        "value/explained_variance": float(explained),
    }
