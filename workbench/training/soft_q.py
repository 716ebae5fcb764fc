"""Soft Q-learning: the policy is the softmax of Q, held near the reference.

With Q(s, a) = V(s) + β·log(π(a|s)/ref(a|s)) the policy is ref·exp((Q − V)/β): a language model and
a scalar head are a Q function, and no other head is needed. They are right exactly when

    V(s_t) − γV(s_{t+1}) − r_t + β·log(π(y_t|s_t)/ref(y_t|s_t)) = 0

for every token of any answer, and then π is the policy with the largest reward − β·KL: for an
answer of one token ref·exp(r/β), normalised. The square of the left side is the loss (path
consistency), for single tokens, summed from each token to the end, or both.

One update: answer a batch of prompts with the policy, then `epochs` passes in `minibatches`
steps over the squares. Unlike a policy gradient, whose first passes alone are right, this holds
for answers of any policy; still, a replay of earlier answers is left out, since a checkpoint
would have to hold it, and answers of the policy as it is cost nothing more. Left out as well:
slow copies of V in the target.

When: as an alternative to PPO with a known optimum and without clipping; small β makes it slow,
since the policy's gradient shrinks with β.

Nachum et al. 2017 (arXiv:1702.08892, arXiv:1707.01891); for text: Guo et al. 2021
(arXiv:2106.07704). B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.soft_q import SoftQSettings
from workbench.events import Event, Progress
from workbench.models.heads import ScalarHead
from workbench.objectives.advantages import place_rewards
from workbench.objectives.q_learning import path_consistency_loss, path_consistency_to_end_loss
from workbench.objectives.rollout import Rollout
from workbench.training import on_policy
from workbench.training.batches import accumulate
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.policy_gradient import forward, minibatches
from workbench.training.rollouts import shaped_scores
from workbench.training.tally import Totals


def train(settings: SoftQSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train the policy adapter; what is yielded and raised stands at `on_policy.run`."""
    head = ScalarHead(inputs.model.hidden_size, bias=True)
    learner = begin("soft-q", settings, inputs, {"value_head": head})
    yield from on_policy.run(learner, inputs, cancel, partial(_learn, learner, head, cancel))


def _learn(
    learner: Learner[SoftQSettings],
    head: ScalarHead,
    cancel: CancelToken,
    rollout: Rollout,
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    settings, is_response = learner.settings, rollout.is_response
    beta = learner.live.get("kl_coef", learner.counters.get("kl_coef", settings.kl_coef))
    learner.counters["kl_coef"] = beta  # a change by the user outlives a resume
    kl = (rollout.old_logps - rollout.ref_logps) * is_response
    scores = shaped_scores(learner, rollout)
    rewards = place_rewards(scores, kl, is_response, 0.0)

    widths, n_steps = rollout.widths(), settings.epochs * settings.minibatches
    for rows in minibatches(learner, len(widths), settings.epochs, settings.minibatches):
        n_tokens = int(is_response[rows].sum())
        loss_of = partial(_loss, learner, head, cancel, totals, rollout, rewards, beta, n_tokens)
        totals.add((yield from accumulate(learner, rows, widths, loss_of)))
        learner.step(totals)
        yield Progress(totals.n_minibatches, n_steps, "Learning")
    return {
        "objective/rlhf_reward": float((scores - beta * kl.sum(1)).mean()),
        "objective/kl_coef": beta,
        "policy/first_ratio_error": totals.first_ratio_error,
    }


def _loss(
    learner: Learner[SoftQSettings],
    head: ScalarHead,
    cancel: CancelToken,
    totals: Totals,
    rollout: Rollout,
    rewards: Tensor,
    beta: float,
    n_tokens: int,
    rows: list[int],
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some answers, as their part of the minibatch's."""
    settings, index = learner.settings, torch.tensor(rows, device=rewards.device)
    part = rollout.select(index).trimmed()
    n, is_response = part.is_response.shape[1], part.is_response
    now = forward(learner, part, cancel)
    values: Tensor = head(now.states)
    losses = [
        loss(
            now.logps, part.ref_logps, values, rewards[index, :n], is_response, beta, settings.gamma
        )
        for loss in _CONSISTENCY[settings.consistency]
    ]
    total = torch.stack(losses).sum() / n_tokens
    totals.watch_ratio((now.logps.detach() - part.old_logps).abs().max())
    return total, {
        "loss/consistency": total,
        "objective/entropy": now.entropies.sum() / n_tokens,
        "values/v": torch.where(is_response, values, 0.0).sum() / n_tokens,
    }


_CONSISTENCY = {
    "token": (path_consistency_loss,),
    "answer": (path_consistency_to_end_loss,),
    "both": (path_consistency_loss, path_consistency_to_end_loss),
}
