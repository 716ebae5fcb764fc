"""Means, variances and masks over response tokens. B batch, T response tokens.

`is_response` is True for the tokens that the policy chose: up to and including the first stop
token. What lies outside may hold anything, NaN included: it is selected away, never multiplied
by 0.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor


def masked_mean(
    x: Tensor,  # any shape
    is_response: Tensor,  # bool, as x
) -> Tensor:
    """Scalar Σ m·x / Σ m; 0 when nothing is selected, so that an empty batch gives no NaN."""
    return torch.where(is_response, x, 0.0).sum() / is_response.sum().clamp(min=1)


def masked_var(
    x: Tensor,  # any shape
    is_response: Tensor,  # bool, as x
    unbiased: bool = True,
) -> Tensor:
    """Scalar variance of the selected entries, with N − 1 as in TRL and verl, or with N.

    OpenAI and OpenRLHF divide by N. Fewer than two entries have variance 0.
    """
    deviations = torch.where(is_response, x - masked_mean(x, is_response), 0.0)
    return deviations.square().sum() / (is_response.sum() - int(unbiased)).clamp(min=1)


def masked_whiten(
    x: Tensor,  # any shape
    is_response: Tensor,  # bool, as x
    shift_mean: bool = True,
) -> Tensor:
    """(x − μ)·(σ² + 1e-8)^(−½) over the selected entries, 0 outside.

    With `shift_mean=False` the mean is kept and only the spread becomes 1: for rewards, whose
    sign matters. One entry alone becomes 0 (or stays as it is): it has no spread.

    Source: TRL 1.12 `masked_whiten`. torchtune's `whiten` has the condition inverted.
    """
    mean = masked_mean(x, is_response)
    deviations = torch.where(is_response, x - mean, 0.0)
    whitened = deviations * torch.rsqrt(masked_var(x, is_response) + 1e-8)
    return whitened if shift_mean else torch.where(is_response, whitened + mean, 0.0)


def response_mask(
    ids: Tensor,  # (B, T) sampled tokens, then padding
    stop_ids: Collection[int],
) -> Tensor:  # (B, T) bool
    """True up to and including the first stop token of each row, m_t = [no stop before t].

    Only stop ids end an answer. Comparing with the padding id, as TRL does, cuts an answer at a
    sampled padding token and loses the stop token of models whose padding is their end token.
    A row without any stop token is True throughout.
    """
    is_stop = torch.isin(ids, torch.tensor(sorted(stop_ids), dtype=ids.dtype, device=ids.device))
    n_stops_before = is_stop.long().cumsum(dim=-1) - is_stop.long()
    return n_stops_before == 0


def position_ids(
    attention_mask: Tensor,  # (B, S) bool or int, True for real tokens
) -> Tensor:  # (B, S) int64
    """0, 1, 2 … over the real tokens, whatever the padding.

    Needed in generation and in training alike: models with absolute positions give other numbers
    without it (TRL #469, transformers #18388), models with RoPE hide the mistake.
    """
    return (attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
