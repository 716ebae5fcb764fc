"""Losses of policy gradients and of values. B batch, T response tokens.

A loss is given for each token (B, T) or for each answer (B,), 0 outside the response. `aggregate`
makes one number of it, divided by what the whole MINIBATCH holds: micro-batches then add up to the
loss of the minibatch, whatever their lengths. Averaging the means of micro-batches does not (TRL
#3021, #6024, OpenRLHF's accumulation test).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, assert_never

import torch
from torch import Tensor

from workbench.objectives.kl import Estimator, kl_estimate
from workbench.objectives.masking import masked_var

Aggregation = Literal["token", "answer", "fixed_length"]


class PolicyStats(NamedTuple):
    """Sums over tokens (or answers), so that those of micro-batches add up; no gradient."""

    approx_kl_sum: Tensor  # Σ ½(log ratio)²
    clipped_sum: Tensor  # number of them that a clip kept from moving further
    log_ratio_abs_max: Tensor  # largest |log ratio|: combine with max


def clipped_policy_loss(
    logps: Tensor,  # (B, T) of the policy now, with gradient
    old_logps: Tensor,  # (B, T) of the policy that sampled
    advantages: Tensor,  # (B, T), detached
    is_response: Tensor,  # (B, T) bool
    clip_low: float,
    clip_high: float,
    dual_clip: float = 0.0,
) -> tuple[Tensor, PolicyStats]:  # (B, T)
    """ℓ_t = max(−A·ρ, −A·clip(ρ, 1−ε_low, 1+ε_high)), with ρ = exp(logps − old_logps).

    With `dual_clip` c > 1 the loss of a token with A < 0 is at most −A·c, so that one bad token
    that became far more likely does not rule the step; 0 leaves it out. The log ratio is cut at
    ±20 before exp, so that a broken step gives a large loss and no infinity.

    Source: Schulman et al. 2017 (arXiv:1707.06347), eq. 7; ε_high > ε_low: Yu et al. 2025, DAPO
    (arXiv:2503.14476), section 3.1; dual clip: Ye et al. 2020 (arXiv:1912.09729).
    """
    log_ratio = torch.where(is_response, logps - old_logps, 0.0)
    advantages = torch.where(is_response, advantages, 0.0)
    return _clipped(log_ratio, advantages, clip_low, clip_high, dual_clip)


def sequence_policy_loss(
    logps: Tensor,  # (B, T) of the policy now, with gradient
    old_logps: Tensor,  # (B, T) of the policy that sampled
    advantages: Tensor,  # (B,) of whole answers, detached
    is_response: Tensor,  # (B, T) bool
    clip_low: float,
    clip_high: float,
) -> tuple[Tensor, PolicyStats]:  # (B,)
    """The same with an answer as one action: ρ = exp(Σ_t logps − Σ_t old_logps).

    The statistics count answers. An answer without tokens costs nothing.

    Source: Ahmadian et al. 2024, RLOO (arXiv:2402.14740); TRL 1.16 `RLOOTrainer._compute_loss`.
    """
    log_ratio = torch.where(is_response, logps - old_logps, 0.0).sum(dim=-1)
    advantages = torch.where(is_response.any(dim=-1), advantages, 0.0)
    return _clipped(log_ratio, advantages, clip_low, clip_high, 0.0)


def _clipped(
    log_ratio: Tensor,
    advantages: Tensor,  # as log_ratio
    clip_low: float,
    clip_high: float,
    dual_clip: float,
) -> tuple[Tensor, PolicyStats]:
    ratio = log_ratio.clamp(-20.0, 20.0).exp()
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    losses = torch.maximum(plain, clipped)
    is_clipped = clipped > plain
    if dual_clip:
        most = torch.where(advantages < 0, -advantages * dual_clip, torch.inf)
        is_clipped = is_clipped | (losses > most)
        losses = torch.minimum(losses, most)
    with torch.no_grad():
        stats = PolicyStats(
            approx_kl_sum=0.5 * log_ratio.square().sum(),
            clipped_sum=is_clipped.sum(),
            log_ratio_abs_max=log_ratio.abs().amax(),
        )
    return losses, stats


def reinforce_loss(
    logps: Tensor,  # (B, T), with gradient
    advantages: Tensor,  # (B, T), no gradient goes into them
    is_response: Tensor,  # (B, T) bool
) -> Tensor:  # (B, T)
    """ℓ_t = −A_t·logp_t: its gradient is the policy gradient where `logps` sampled the tokens.

    Source: Williams 1992; with a learned baseline A2C: Mnih et al. 2016 (arXiv:1602.01783).
    """
    advantages = torch.where(is_response, advantages.detach(), 0.0)
    return -advantages * torch.where(is_response, logps, 0.0)


def value_loss(
    values: Tensor,  # (B, T) now, with gradient
    old_values: Tensor,  # (B, T) at sampling
    returns: Tensor,  # (B, T), detached
    is_response: Tensor,  # (B, T) bool
    clip_range: float | None,
) -> tuple[Tensor, Tensor]:  # (B, T), number of clipped tokens
    """ℓ_t = ½ max((V − R)², (V_clip − R)²), with V_clip = V_old + clamp(V − V_old, ±ε).

    None clips nothing: ½(V − R)², as in A2C.
    Source: OpenAI lm-human-preferences `train_policy.py`; the ½ is theirs.
    """
    plain = torch.where(is_response, values - returns, 0.0).square()
    if clip_range is None:
        return 0.5 * plain, is_response.new_zeros((), dtype=torch.long)
    near = old_values + (values - old_values).clamp(-clip_range, clip_range)
    clipped = torch.where(is_response, near - returns, 0.0).square()
    return 0.5 * torch.maximum(plain, clipped), (clipped > plain).sum()


def kl_loss(
    logps: Tensor,  # (B, T) of the policy now, with gradient
    old_logps: Tensor,  # (B, T) of the policy that sampled
    ref_logps: Tensor,  # (B, T) of the reference
    is_response: Tensor,  # (B, T) bool
    estimator: Estimator,
) -> Tensor:  # (B, T)
    """KL(policy ‖ reference) of each token as a loss: ρ·k as value, ρ·d·∇logp as gradient.

    With d = logps − ref_logps and ρ = exp(logps − old_logps) the gradient of the KL is
    E_old[ρ·d·∇logp]. That is the gradient of ½d², weighted by a constant ρ, and also that of
    ρ·k3. It is taken in the first form for all three estimators, which choose the value that is
    shown and nothing else: the first cannot overflow. Differentiating the estimates themselves
    goes wrong: k1 gives E[∇logp] = 0, noise without a pull, and k3 without ρ pulls towards the
    forward KL. States are taken as given: that an early token leads to states where later
    tokens are far from the reference is felt by KL in the reward only.

    Source: Liu et al. 2025 (arXiv:2510.01555); Tang and Munos 2025 (arXiv:2506.09477);
    DeepSeek-V3.2 (arXiv:2512.02556), section 3.1; TRL #4967, #4638, #6503.
    """
    d = torch.where(is_response, logps - ref_logps, 0.0)
    log_ratio = torch.where(is_response, logps - old_logps, 0.0)
    ratio = log_ratio.detach().clamp(-20.0, 20.0).exp()
    pull = ratio * 0.5 * d.square()
    value = ratio * kl_estimate(d, torch.zeros_like(d), estimator)
    return pull + (value - pull).detach()


def aggregate(
    token_losses: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
    how: Aggregation,
    *,
    n_tokens: int,
    n_answers: int,
    max_tokens: int,
) -> Tensor:  # scalar
    """One loss of a micro-batch's token losses; those of a minibatch's micro-batches add up.

    token: Σ ℓ / n_tokens, each token alike (PPO, DAPO); answer: the mean over answers of each
    answer's mean (GRPO); fixed_length: Σ ℓ / (n_answers·max_tokens), each token alike whatever
    came with it (Dr. GRPO). An answer without tokens counts as one whose loss is 0.

    Args:
        token_losses: Whatever stands outside the response is left out.
        is_response: The tokens that count.
        how: What is averaged.
        n_tokens: Response tokens of the whole minibatch.
        n_answers: Answers of the whole minibatch.
        max_tokens: The longest that an answer may be.

    Source: Yu et al. 2025, DAPO (arXiv:2503.14476), section 3.3; Shao et al. 2024, DeepSeekMath
    (arXiv:2402.03300), eq. 3; Liu et al. 2025, Dr. GRPO (arXiv:2503.20783), section 3.
    """
    sums = torch.where(is_response, token_losses, 0.0).sum(dim=-1)
    match how:
        case "token":
            return sums.sum() / max(n_tokens, 1)
        case "answer":
            return (sums / is_response.sum(dim=-1).clamp(min=1)).sum() / max(n_answers, 1)
        case "fixed_length":
            return sums.sum() / max(n_answers * max_tokens, 1)
        case _:
            assert_never(how)


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
