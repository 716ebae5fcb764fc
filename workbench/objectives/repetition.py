"""How much answers repeat themselves. B answers, T response tokens."""

from __future__ import annotations

import torch
from torch import Tensor

N = 4  # tokens of a sequence that is looked for again


def repeated_share(
    ids: Tensor,  # (B, T)
    is_response: Tensor,  # (B, T) bool, True for the first tokens of each row
    n: int = N,
) -> Tensor:  # scalar
    """1 − |different n-grams| / |n-grams| of each answer, as a mean over answers.

    Answers shorter than `n` tokens have no n-gram and do not count; without any other it is 0.
    Source: Welleck et al. 2019 (arXiv:1908.04319), seq-rep-n.
    """
    shares = []
    for row, length in zip(ids.cpu(), is_response.sum(1).tolist(), strict=True):
        if length >= n:
            grams = row[:length].unfold(0, n, 1)
            shares.append(1.0 - len({tuple(g) for g in grams.tolist()}) / len(grams))
    return torch.tensor(shares).mean() if shares else torch.tensor(0.0)
