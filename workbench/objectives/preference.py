"""Losses of reward models and of policies on judged answers. B pairs or answers, T tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, assert_never

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

DPOKind = Literal["sigmoid", "ipo", "hinge"]


def bradley_terry_nll(
    chosen: Tensor,  # (B,) scores
    rejected: Tensor,  # (B,) scores
    margin: Tensor | None = None,  # (B,), how much better the chosen answer is
) -> Tensor:  # (B,) nats
    """−log σ(r_c − r_r − margin): log 2 for a model that cannot tell the two apart.

    Source: Bradley and Terry 1952; Stiennon et al. 2020 (arXiv:2009.01325), section 3.4; the
    margin is Llama 2's (arXiv:2307.09288), eq. 2.
    """
    difference = chosen - rejected
    return -logsigmoid(difference if margin is None else difference - margin)


def bradley_terry_loss(
    chosen: Tensor,  # (B,) scores
    rejected: Tensor,  # (B,) scores
    centering: float = 0.0,
    margin: Tensor | None = None,  # (B,)
    label_smoothing: float = 0.0,
) -> Tensor:  # (B,)
    """−(1 − ε)·log σ(r_c − r_r − margin) − ε·log σ(r_r − r_c) + c·(r_c + r_r)², one per pair.

    ε is the share of labels taken to be wrong; a wrong one says nothing of how much better. The
    last term fixes the origin, which the others leave free, at a mean score of 0 for each pair.
    Source: Eisenstein et al. 2023 (arXiv:2312.09244), c = 0.01; ε: Mitchell 2023,
    ericmitchell.ai/cdpo.pdf, for the policy's own rewards.
    """
    losses = bradley_terry_nll(chosen, rejected, margin)
    if label_smoothing:
        wrong = bradley_terry_nll(rejected, chosen)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * wrong
    return losses + centering * (chosen + rejected).square()


def relative_weights(weights: Sequence[float]) -> list[float]:
    """w_i / mean(w), so that Σ w_i·L_i / n over all pairs is the weighted mean Σ w_i·L_i / Σ w_i.

    Divided by the mean of a batch instead, a weight would mean nothing in a batch of one. Equal
    weights are 1, whatever their value.
    """
    mean = math.fsum(weights) / len(weights)
    return [weight / mean for weight in weights]


def rao_kupper_nll(
    first: Tensor,  # (B,) scores
    second: Tensor,  # (B,) scores
    verdict: Tensor,  # (B,) 1 the first is better, -1 the second is, 0 neither
    tie_parameter: Tensor | float,  # η = log θ > 0
    margin: Tensor | float = 0.0,  # (B,), how much better the better answer is
) -> Tensor:  # (B,) nats
    """−log P(verdict) where answers whose scores differ by less than η mostly count as equal.

    A margin is taken from the difference of a decided pair, as in `bradley_terry_nll`.

    P(first) = σ(r_1 − r_2 − η),  P(second) = σ(r_2 − r_1 − η),
    P(tie) = (e^{2η} − 1)·P(first)·P(second)

    Source: Rao and Kupper 1967, with scores as logarithms of worths.
    """
    eta = torch.as_tensor(tie_parameter, dtype=first.dtype, device=first.device)
    tie_nll = (
        -logsigmoid(first - second - eta)
        - logsigmoid(second - first - eta)
        - (2.0 * eta).expm1().log()
    )
    decided = -logsigmoid(verdict * (first - second) - eta - margin)
    return torch.where(verdict == 0, tie_nll, decided)


def rao_kupper_loss(
    first: Tensor,  # (B,) scores
    second: Tensor,  # (B,) scores
    verdict: Tensor,  # (B,)
    tie_parameter: Tensor | float,
    centering: float = 0.0,
    margin: Tensor | float = 0.0,  # (B,)
    label_smoothing: float = 0.0,
) -> Tensor:  # (B,)
    """Rao and Kupper with smoothing and centring, which are those of `bradley_terry_loss`."""
    losses = rao_kupper_nll(first, second, verdict, tie_parameter, margin)
    if label_smoothing:
        wrong = rao_kupper_nll(first, second, -verdict, tie_parameter)
        losses = (1.0 - label_smoothing) * losses + label_smoothing * wrong
    return losses + centering * (first + second).square()


def plackett_luce_nll(
    scores: Tensor,  # (B, K), from the best answer to the worst
    is_ranked: Tensor,  # (B, K) bool, False where a row has fewer answers
    places: Tensor | None = None,  # (B, K) rising; None: no two answers share a place
) -> Tensor:  # (B,) nats
    """−Σ_k log(exp r_k / Σ_{j≥k} exp r_j): each place is won against all that come after.

    For two answers it is the loss of Bradley and Terry. Answers that share a place are won by
    each against all of it and what comes after.

    Source: Luce 1959; Plackett 1975; for language models: Rafailov et al. 2023
    (arXiv:2305.18290), appendix A.3; shared places: Breslow 1974 (Biometrics 30).
    """
    if places is None:
        places = torch.arange(scores.shape[1], device=scores.device).expand(scores.shape)
    comes_after = places.unsqueeze(1) >= places.unsqueeze(2)
    competes = comes_after & is_ranked.unsqueeze(1)
    field = scores.unsqueeze(1).masked_fill(~competes, -torch.inf).logsumexp(dim=-1)
    return torch.where(is_ranked, field - scores, 0.0).sum(dim=-1)


def ranking_loss(
    scores: Tensor,  # (B, K)
    is_ranked: Tensor,  # (B, K) bool
    places: Tensor,  # (B, K)
    centering: float = 0.0,
) -> Tensor:  # (B,)
    """Plackett-Luce, and c·(2·mean r)², which for two answers is c·(r_c + r_r)².

    Source: `plackett_luce_nll`; the centring: Eisenstein et al. 2023 (arXiv:2312.09244).
    """
    mean = torch.where(is_ranked, scores, 0.0).sum(dim=-1) / is_ranked.sum(dim=-1)
    return plackett_luce_nll(scores, is_ranked, places) + centering * (2.0 * mean).square()


def sequence_logps(
    logps: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool
    average: bool = False,
) -> Tensor:  # (B,)
    """Log-probability of each whole answer, or its mean per token; 0 for an empty answer."""
    sums = torch.where(is_response, logps, 0.0).sum(dim=-1)
    return sums / is_response.sum(dim=-1).clamp(min=1) if average else sums


def implicit_rewards(
    policy: Tensor,  # (B,) log-probabilities of whole answers
    ref: Tensor,  # (B,)
    beta: float,
) -> Tensor:  # (B,)
    """β(log π − log π_ref): the reward, up to a constant of the prompt, that π is optimal for.

    Source: Rafailov et al. 2023 (arXiv:2305.18290), eq. 5.
    """
    return beta * (policy - ref)


def dpo_loss(
    policy_chosen: Tensor,  # (B,) log-probabilities of whole answers, with gradient
    policy_rejected: Tensor,  # (B,), with gradient
    ref_chosen: Tensor,  # (B,)
    ref_rejected: Tensor,  # (B,)
    beta: float,
    kind: DPOKind,
    label_smoothing: float = 0.0,
) -> Tensor:  # (B,)
    """The loss of a pair where the policy is its own reward model: `implicit_rewards`.

    With Δ = log π/π_ref of the chosen answer less that of the rejected one:

    sigmoid: −(1 − ε)·log σ(βΔ) − ε·log σ(−βΔ), with ε the share of labels taken to be wrong
    (conservative DPO; of the three only this one has it)
    ipo:     (Δ − 1/(2β))², which pulls Δ to a finite value; made for means per token
    hinge:   max(0, 1 − βΔ), which leaves clear pairs alone

    Source: Rafailov et al. 2023 (arXiv:2305.18290), eq. 7, ε: Mitchell 2023,
    ericmitchell.ai/cdpo.pdf; Azar et al. 2023 (arXiv:2310.12036), eq. 17; hinge: Liu et al. 2023,
    RSO (arXiv:2309.06657).
    """
    delta = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected)
    match kind:
        case "sigmoid":
            right, wrong = logsigmoid(beta * delta), logsigmoid(-beta * delta)
            return -(1.0 - label_smoothing) * right - label_smoothing * wrong
        case "ipo":
            return (delta - 1.0 / (2.0 * beta)).square()
        case "hinge":
            return (1.0 - beta * delta).relu()
        case _:
            assert_never(kind)


def kto_reference_point(
    policy_mismatched: Tensor,  # (B,) log-probabilities of answers after prompts of other answers
    ref_mismatched: Tensor,  # (B,)
) -> Tensor:  # scalar, no gradient
    """KTO's z = max(0, mean(log π − log π_ref)), of prompts with answers that are not theirs.

    The paper's cheap stand-in for KL(π ‖ π_ref), which would need answers of the policy itself.

    Source: Ethayarajh et al. 2024 (arXiv:2402.01306), section 4; TRL 1.16 `KTOTrainer`, which
    turns the answers of a batch by one.
    """
    return (policy_mismatched - ref_mismatched).mean().clamp(min=0.0).detach()


def kto_loss(
    policy: Tensor,  # (B,) log-probabilities of whole answers, with gradient
    ref: Tensor,  # (B,)
    kl: Tensor,  # scalar ≥ 0 from `kto_reference_point`, no gradient goes into it
    is_desirable: Tensor,  # (B,) bool
    beta: float,
    desirable_weight: float,
    undesirable_weight: float,
) -> Tensor:  # (B,)
    """λ_D(1 − σ(β(r − z))) for a good answer, λ_U(1 − σ(β(z − r))) for a bad one.

    With r = log π − log π_ref and z the distance that the policy has moved on the whole: gains
    and losses are felt against it, and both saturate. λ_D·n_D between λ_U·n_U and 4/3 of it
    balances classes of n_D and n_U answers.

    Source: Ethayarajh et al. 2024 (arXiv:2402.01306), eq. 7 and 8.
    """
    gain = beta * (policy - ref - kl.detach())
    good = desirable_weight * (-gain).sigmoid()
    bad = undesirable_weight * gain.sigmoid()
    return torch.where(is_desirable, good, bad)
