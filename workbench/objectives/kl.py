"""Distance of the policy from the reference, per token, and the controller of its weight β."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, assert_never

from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def kl_estimate(
    logps: Tensor,  # (B, T) policy
    ref_logps: Tensor,  # (B, T) reference
    estimator: Estimator,
) -> Tensor:  # (B, T) nats
    """Single-sample estimate of KL(policy ‖ reference) at each sampled token.

    With d = logps − ref_logps: k1 = d (unbiased, signed), k2 = ½d², k3 = exp(−d) − 1 + d
    (unbiased, never negative). k3 is cut as in verl, d at ±20 before exp and the result at 10,
    so that one token far from the reference cannot overflow the reward; expm1 keeps the digits
    that exp − 1 loses while the policy is still near.

    Source: Schulman 2020, joschu.net/blog/kl-approx.html; verl `core_algos.kl_penalty`.
    """
    d = logps - ref_logps
    match estimator:
        case "k1":
            return d
        case "k2":
            return 0.5 * d.square()
        case "k3":
            e = (-d).clamp(-20.0, 20.0)
            return (e.expm1() - e).clamp(0.0, 10.0)
        case _:
            assert_never(estimator)


@dataclass(frozen=True, slots=True)
class AdaptiveKL:
    """KL weight β that is raised while KL is above its target and lowered while below.

    err = clip(KL / target − 1, −0.2, 0.2);  β ← β·(1 + err·n / horizon)

    `target` is in nats per answer, `horizon` in answers.
    Source: Ziegler et al. 2019 (arXiv:1909.08593), section 2.2.
    """

    coef: float
    target: float
    horizon: int

    def updated(self, kl_per_sequence_mean: float, n_sequences: int) -> AdaptiveKL:
        """The controller after a batch of `n_sequences` answers with this mean summed k1."""
        error = min(max(kl_per_sequence_mean / self.target - 1.0, -0.2), 0.2)
        return replace(self, coef=self.coef * (1.0 + error * n_sequences / self.horizon))
