"""Best of n: draw n answers and keep the one with the highest score. P prompts, M answers each."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def best_of_n_kl(n: int) -> float:
    """KL(best of n ‖ policy) is at most log n − (n − 1)/n nats.

    Nearly this much where every single answer is improbable and no two have the same score, as
    with long answers and a reward model; less otherwise.

    Source: Stiennon et al. 2020 (arXiv:2009.01325), appendix G.3; that it is a bound and no
    equality: Beirami et al. 2024 (arXiv:2401.01879).
    """
    return math.log(n) - (n - 1) / n


def expected_best_of_n(
    scores: Tensor,  # (..., N), of the answers from the worst to the best; verdicts may be bool
    n: int,
) -> Tensor:  # (...) float
    """E[score of the best of n ≤ N], without bias: Σ_i C(i−1, n−1)/C(N, n)·s_i, i = 1 … N.

    That is the mean over all choices of n out of N answers. Sorted by one score and given in
    another (sorted by the reward model, given as the annotator's), it is what best of n would
    earn there.

    Source: Nakano et al. 2021, WebGPT (arXiv:2112.09332), appendix I.
    """
    n_scores = scores.shape[-1]
    if not 1 <= n <= n_scores:
        raise ValueError(f"the best of {n} cannot be told from {n_scores} scores")
    n_choices = math.comb(n_scores, n)
    weights = [math.comb(i, n - 1) / n_choices for i in range(n_scores)]
    wide = scores if scores.is_floating_point() else scores.float()
    return (wide * wide.new_tensor(weights)).sum(dim=-1)


def win_shares(
    scores: Tensor,  # (P, M) of M answers to each prompt: what chooses
    utilities: Tensor,  # (P, M) what judges
    n: int,
) -> Tensor:  # (P,)
    """How often the best of n answers is better than one more answer; equal ones count half.

    The mean over all ways to take one answer as the opponent and n others to choose from, so that
    it is without bias and 1/2 for n = 1. Needs n < M.
    """
    n_answers = scores.shape[1]
    shares = []
    for opponent in range(n_answers):
        others = [i for i in range(n_answers) if i != opponent]
        order = scores[:, others].argsort(dim=1, stable=True)
        chosen = utilities[:, others].gather(1, order)
        wins = (chosen - utilities[:, opponent : opponent + 1]).sign() / 2 + 0.5
        shares.append(expected_best_of_n(wins, n))
    return torch.stack(shares).mean(dim=0)
