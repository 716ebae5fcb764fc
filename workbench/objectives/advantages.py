"""Rewards of tokens, and generalised advantage estimation. B batch, T response tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def place_rewards(
    scores: Tensor,  # (B,) of whole answers
    kl: Tensor,  # (B, T) per token
    is_response: Tensor,  # (B, T) bool
    kl_coef: float,
) -> Tensor:  # (B, T)
    """r_t = −β·kl_t on response tokens, plus the score on the last one; 0 elsewhere.

    The last response token is the stop token, or the last sampled one of an answer that was cut:
    both endings are treated alike. TRL puts the score one slot later when there is one
    (#1893, #3750). A row without response tokens gets nothing.
    """
    rewards = torch.where(is_response, -kl_coef * kl, 0.0)
    is_last = is_response & (_tokens_from_here(is_response) == 1)
    return rewards + torch.where(is_last, scores.unsqueeze(-1), 0.0)


def gae(
    rewards: Tensor,  # (B, T)
    values: Tensor,  # (B, T), V(s_t) before token t
    is_response: Tensor,  # (B, T) bool
    gamma: float,
    gae_lambda: float,
) -> tuple[Tensor, Tensor]:  # advantages (B, T), returns (B, T)
    """δ_t = r_t + γV_{t+1} − V_t;  A_t = δ_t + γλA_{t+1};  R_t = A_t + V_t, backwards in t.

    Beyond the last response token V = A = 0, for answers that ended and answers that were cut
    alike (finite horizon, no bootstrap). Returns use the advantages as they are: whiten after.

    Source: Schulman et al. 2015 (arXiv:1506.02438), eq. 11 to 16.
    """
    rewards = torch.where(is_response, rewards, 0.0)
    values = torch.where(is_response, values, 0.0)
    advantages = torch.zeros_like(values)
    next_value = next_advantage = torch.zeros_like(values[:, 0])
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        next_advantage = delta + gamma * gae_lambda * next_advantage
        next_value = values[:, t]
        advantages[:, t] = next_advantage
    advantages = torch.where(is_response, advantages, 0.0)
    return advantages, advantages + values


def _tokens_from_here(is_response: Tensor) -> Tensor:
    """Number of response tokens at and after each place."""
    return is_response.long().flip(-1).cumsum(dim=-1).flip(-1)
