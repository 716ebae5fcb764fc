"""The clipped losses of PPO. B batch, T response tokens.

A loss is a sum over tokens divided by `n_tokens`, the response tokens of the whole MINIBATCH:
the losses of micro-batches then add up to the loss of the minibatch, whatever their lengths.
Averaging the means of micro-batches does not (TRL #3021, #6024, OpenRLHF's accumulation test).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from workbench.objectives.masking import masked_var


class PolicyStats(NamedTuple):
    """Sums over response tokens, so that those of micro-batches add up; scalars, no gradient."""

    approx_kl_sum: Tensor  # Σ ½(log ratio)²
    clipped_sum: Tensor  # number of tokens whose clipped branch was the larger loss
    log_ratio_abs_max: Tensor  # largest |log ratio|: combine with max


def ppo_policy_loss(
    logps: Tensor,  # (B, T) of the policy now, with gradient
    old_logps: Tensor,  # (B, T) of the policy that sampled
    advantages: Tensor,  # (B, T), detached
    is_response: Tensor,  # (B, T) bool
    clip_range: float,
    n_tokens: int,
) -> tuple[Tensor, PolicyStats]:
    """L = Σ m·max(−A·ρ, −A·clip(ρ, 1−ε, 1+ε)) / n_tokens, with ρ = exp(logps − old_logps).

    The log ratio is cut at ±20 before exp, so that a broken step gives a large loss and no
    infinity.

    Source: Schulman et al. 2017 (arXiv:1707.06347), eq. 7.
    """
    log_ratio = torch.where(is_response, logps - old_logps, 0.0)
    ratio = log_ratio.clamp(-20.0, 20.0).exp()
    advantages = torch.where(is_response, advantages, 0.0)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    loss = torch.maximum(plain, clipped).sum() / n_tokens
    with torch.no_grad():
        stats = PolicyStats(
            approx_kl_sum=0.5 * log_ratio.square().sum(),
            clipped_sum=(clipped > plain).sum(),
            log_ratio_abs_max=log_ratio.abs().amax(),
        )
    return loss, stats


def value_loss(
    values: Tensor,  # (B, T) now, with gradient
    old_values: Tensor,  # (B, T) at sampling
    returns: Tensor,  # (B, T), detached
    is_response: Tensor,  # (B, T) bool
    clip_range: float,
    n_tokens: int,
) -> tuple[Tensor, Tensor]:  # loss, number of clipped tokens
    """L = ½ Σ m·max((V − R)², (V_clip − R)²) / n_tokens, V_clip = V_old + clamp(V − V_old, ±ε).

    Source: OpenAI lm-human-preferences `train_policy.py`; the ½ is theirs.
    """
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    plain = torch.where(is_response, values - returns, 0.0).square()
    clipped = torch.where(is_response, near - returns, 0.0).square()
    loss = 0.5 * torch.maximum(plain, clipped).sum() / n_tokens
    return loss, (clipped > plain).sum()


def explained_variance(
    values: Tensor,  # (B, T)
    returns: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
) -> Tensor:  # scalar
    """1 − Var(R − V) / Var(R): 1 perfect, 0 no better than a constant, below 0 worse.

    Returns without any spread explain nothing and give 0.
    """
    spread = masked_var(returns, is_response)
    residual = masked_var(returns - values, is_response)
    return torch.where(spread > 0, 1.0 - residual / spread, 0.0)
