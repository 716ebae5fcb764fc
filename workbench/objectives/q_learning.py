"""Losses of Q and V on token level. B batch, T response tokens; a token is an action.

V(s_t) and Q(s_t, y_t) are those of the state before token t. Beyond the last response token the
value is 0. What has no `is_response` works on single entries, and `aggregate` selects.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from workbench.objectives.advantages import rewards_to_go


def following_values(
    values: Tensor,  # (B, T), V(s_t) before token t
    is_response: Tensor,  # (B, T) bool
) -> Tensor:  # (B, T)
    """V(s_{t+1}) after each token, 0 after the last one and outside the response."""
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    return torch.where(_has_next(is_response), following, 0.0)


def td_target(
    rewards: Tensor,  # (B, T)
    next_values: Tensor,  # (B, T), V(s_{t+1}) after token t
    is_response: Tensor,  # (B, T) bool
    gamma: float,
) -> Tensor:  # (B, T), no gradient
    """r_t + γV(s_{t+1}), with V = 0 beyond the last response token; 0 outside the response.

    Q-learning puts the value of the best action there (ILQL: V, an expectile of Q), SARSA the
    value of the action that was taken.
    """
    bootstrap = torch.where(_has_next(is_response), next_values, 0.0)
    return torch.where(is_response, rewards + gamma * bootstrap, 0.0).detach()


def q_loss(
    q: Tensor,  # (B, T), Q(s_t, y_t), with gradient
    targets: Tensor,  # (B, T), no gradient goes into them
    is_response: Tensor,  # (B, T) bool
) -> Tensor:  # (B, T)
    """ℓ_t = (r_t + γV(s_{t+1}) − Q(s_t, y_t))²; twin heads have one loss each.

    Source: Snell et al. 2022, ILQL (arXiv:2206.11871), section 4.
    """
    return torch.where(is_response, targets.detach() - q, 0.0).square()


def expectile_loss(
    q: Tensor,  # any shape, of the target copies; no gradient goes into it
    v: Tensor,  # as q, with gradient
    tau: float,
) -> Tensor:  # as q
    """|τ − 1(Q < V)|·(Q − V)²: V becomes the τ-expectile of Q over the actions of the data.

    τ = ½ is the mean, and thus SARSA's V; τ → 1 the largest that the data shows, without asking
    about actions that it does not.

    Source: Kostrikov et al. 2021, IQL (arXiv:2110.06169), eq. 5.
    """
    difference = q.detach() - v
    is_below = (difference < 0).to(difference.dtype)
    return (tau - is_below).abs() * difference.square()


def conservative_loss(
    q_logsumexp: Tensor,  # (B, T), log Σ_a exp(Q(s_t, a) / temperature)
    q_taken: Tensor,  # (B, T), Q(s_t, y_t)
    is_response: Tensor,  # (B, T) bool
    temperature: float = 1.0,
) -> Tensor:  # (B, T)
    """−log softmax(Q / temperature)[y_t]: tokens that the data does not have are pushed down.

    What all tokens of a state share in Q, V for one, cancels out: with a low-rank Q this is what
    `linear_logps` of the head gives, with the sign turned.

    Source: Kumar et al. 2020, CQL (arXiv:2006.04779), eq. 4; ILQL (arXiv:2206.11871), section 4.
    """
    return torch.where(is_response, q_logsumexp - q_taken / temperature, 0.0)


def advantage_weights(
    q: Tensor,  # any shape
    v: Tensor,  # as q
    beta: float,
    max_weight: float,
) -> Tensor:  # as q, no gradient
    """min(exp(β(Q − V)), max_weight): how much a token of the data is worth imitating.

    Source: Nair et al. 2020, AWAC (arXiv:2006.09359), eq. 13; IQL's code cuts them at 100.
    """
    return (beta * (q - v)).detach().exp().clamp(max=max_weight)


def awac_loss(
    logps: Tensor,  # (B, T), with gradient, 0 outside the response
    weights: Tensor,  # (B, T), from `advantage_weights`
) -> Tensor:  # (B, T)
    """ℓ_t = −w_t·logp_t: imitation of the data's better tokens.

    Source: Nair et al. 2020, AWAC (arXiv:2006.09359), eq. 13.
    """
    return -weights.detach() * logps


def path_consistency_loss(
    logps: Tensor,  # (B, T) of the policy, the softmax of Q
    ref_logps: Tensor,  # (B, T) of the reference
    values: Tensor,  # (B, T), V(s_t) before token t
    rewards: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
    beta: float,
    gamma: float,
) -> Tensor:  # (B, T)
    """ℓ_t = (V(s_t) − γV(s_{t+1}) − r_t + β(logp_t − ref_logp_t))², V = 0 beyond the answer.

    Of all policies the one with the largest Σ r − β·KL(policy ‖ reference), and its soft value
    V(s) = β log Σ_a ref(a|s)·exp((r + γV(s')) / β), are the only ones where this is 0 for every
    token, sampled by whom ever: tokens of any data teach. Gradients go into both values and
    into the policy.

    Source: Nachum et al. 2017, PCL (arXiv:1702.08892); for text: Guo et al. 2021
    (arXiv:2106.07704); with a reference in the place of entropy: Trust-PCL (arXiv:1707.01891).
    """
    surprise = rewards - beta * (logps - ref_logps)
    residual = values - gamma * following_values(values, is_response) - surprise
    return torch.where(is_response, residual, 0.0).square()


def path_consistency_to_end_loss(
    logps: Tensor,  # (B, T) of the policy, the softmax of Q
    ref_logps: Tensor,  # (B, T) of the reference
    values: Tensor,  # (B, T), V(s_t) before token t
    rewards: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
    beta: float,
    gamma: float,
) -> Tensor:  # (B, T)
    """ℓ_t = (V(s_t) − Σ_{k≥t} γ^{k−t}(r_k − β(logp_k − ref_logp_k)))².

    The sum of `path_consistency_loss`'s residuals from t to the end: a reward at the end reaches
    the first token at once, instead of one token further with each step.

    Source: Guo et al. 2021 (arXiv:2106.07704), multi-step path consistency.
    """
    to_go = rewards_to_go(rewards - beta * (logps - ref_logps), is_response, gamma)
    return torch.where(is_response, values - to_go, 0.0).square()


@torch.no_grad()
def polyak_(target_params: Iterable[Tensor], params: Iterable[Tensor], rate: float) -> None:
    """θ_target ← (1 − rate)·θ_target + rate·θ, in place.

    Source: Snell et al. 2022 (arXiv:2206.11871), rate 0.005.
    """
    for target, param in zip(target_params, params, strict=True):
        target.lerp_(param, rate)


def _has_next(is_response: Tensor) -> Tensor:
    """True for response tokens that another one follows."""
    following = torch.cat([is_response[:, 1:], torch.zeros_like(is_response[:, :1])], dim=1)
    return is_response & following
