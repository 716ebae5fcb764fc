"""Rewards of tokens, and how much better than expected they are. B batch, T response tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor


def place_rewards(
    scores: Tensor,  # (B,) of whole answers
    kl: Tensor,  # (B, T) per token
    is_response: Tensor,  # (B, T) bool
    kl_coef: float,
    token_rewards: Tensor | None = None,  # (B, T) of single tokens
) -> Tensor:  # (B, T)
    """r_t = −β·kl_t on response tokens, plus the score on the last one; 0 elsewhere.

    Rewards of single tokens are added where they stand. The last response token is the stop
    token, or the last sampled one of an answer that was cut: both endings are treated alike. TRL
    puts the score one slot later when there is one (#1893, #3750). A row without response tokens
    gets nothing.
    """
    rewards = torch.where(is_response, -kl_coef * kl, 0.0)
    if token_rewards is not None:
        rewards = rewards + torch.where(is_response, token_rewards, 0.0)
    return rewards + torch.where(_is_last(is_response), scores.unsqueeze(-1), 0.0)


def shaping(
    rises: Tensor,  # (B, T) right-padded, by how much each token raised a potential
    is_response: Tensor,  # (B, T) bool
    gamma: float,
) -> Tensor:  # (B, T)
    """F_t = γ·Φ_t − Φ_{t−1}, with Φ = 0 before the first token and again after the last.

    Added to any reward it leaves the discounted return of every answer as it is, Σ γ^{t−1}·F_t = 0,
    so that no policy becomes better or worse than another. What is left of the potential at the
    last token is taken back there: in sum a score is paid as it rises, not twice.

    Source: Ng, Harada & Russell 1999, "Policy invariance under reward transformations", theorem 1;
    the potential of an episode's end must be 0 (Grześ 2017).
    """
    after = rises.cumsum(1)
    before = after - rises
    next_potential = torch.where(_is_last(is_response), 0.0, after)
    return torch.where(is_response, gamma * next_potential - before, 0.0)


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


def rewards_to_go(
    rewards: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
    gamma: float,
) -> Tensor:  # (B, T)
    """G_t = Σ_{k≥t} γ^{k−t}·r_k over the response, 0 outside.

    Source: Williams 1992; Sutton and Barto 2018, section 13.3.
    """
    rewards = torch.where(is_response, rewards, 0.0)
    following = torch.zeros_like(rewards[:, 0])
    to_go = []
    for t in reversed(range(rewards.shape[1])):
        following = rewards[:, t] + gamma * following
        to_go.append(following)
    return torch.where(is_response, torch.stack(to_go[::-1], dim=1), 0.0)


def group_baseline_rloo(
    scores: Tensor,  # (B,), the answers to one prompt side by side
    group_size: int,
) -> Tensor:  # (B,)
    """A_i = R_i − b_i, where b_i is the mean score of the group's other answers.

    A baseline that does not know the answer it is for leaves the gradient unbiased.

    Source: Kool et al. 2019; Ahmadian et al. 2024, RLOO (arXiv:2402.14740).
    """
    groups = _groups(scores, group_size)
    others = (groups.sum(dim=1, keepdim=True) - groups) / (group_size - 1)
    return (groups - others).flatten()


def group_advantages_grpo(
    scores: Tensor,  # (B,), the answers to one prompt side by side
    group_size: int,
    scale_by_std: bool,
) -> Tensor:  # (B,)
    """A_i = (R_i − μ) / (σ + 1e-4) in each group, σ with N − 1; or R_i − μ (Dr. GRPO).

    Dividing by σ weights prompts: the easy and the hopeless ones, with little spread, most.

    Source: Shao et al. 2024, DeepSeekMath (arXiv:2402.03300), section 4.1.2; Liu et al. 2025,
    Dr. GRPO (arXiv:2503.20783), section 3; the 1e-4 is TRL's.
    """
    groups = _groups(scores, group_size)
    deviations = groups - groups.mean(dim=1, keepdim=True)
    if scale_by_std:
        deviations = deviations / (groups.std(dim=1, keepdim=True) + 1e-4)
    return deviations.flatten()


@dataclass(frozen=True, slots=True)
class MovingAverage:
    """A baseline that remembers: the mean of past batches, the latest ones weighing most.

    mean ← mean + w·(batch mean − mean), with w = max(1 − decay, 1/n) for the nth batch, so that
    the first batches are averaged alike and the 0 of the beginning is forgotten at once. The
    baseline of a batch is the one before it is added: one that knows the answers it is for would
    bias the gradient.
    """

    decay: float
    mean: float = 0.0
    n: int = 0

    def updated(self, values: Tensor) -> MovingAverage:
        """The average after a batch of these values."""
        weight = max(1.0 - self.decay, 1.0 / (self.n + 1))
        step = weight * (float(values.mean()) - self.mean)
        return replace(self, mean=self.mean + step, n=self.n + 1)


def _groups(scores: Tensor, group_size: int) -> Tensor:  # (B / group_size, group_size)
    """Scores by group, less each group's first one.

    The shift changes no advantage, and makes those of equal scores exactly 0: rounding errors
    of a mean would be divided by a spread of 0.
    """
    if group_size < 2:
        raise ValueError(f"a group of {group_size} has nothing to be compared with")
    groups = scores.view(-1, group_size)
    return groups - groups[:, :1]


def _is_last(is_response: Tensor) -> Tensor:
    """Where the last response token of each answer is."""
    return is_response & (_tokens_from_here(is_response) == 1)


def _tokens_from_here(is_response: Tensor) -> Tensor:
    """Number of response tokens at and after each place."""
    return is_response.long().flip(-1).cumsum(dim=-1).flip(-1)
