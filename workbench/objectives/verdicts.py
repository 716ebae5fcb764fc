"""From the log-probabilities of verdict words to a probability. B questions, F spellings."""

from __future__ import annotations

from torch import Tensor


def first_probability(
    first: Tensor,  # (B, F) log-probabilities of the spellings of "the first is better"
    second: Tensor,  # (B, F') of those of "the second is better"
) -> Tensor:  # (B,)
    """P(first) / (P(first) + P(second)), each summed over its spellings.

    What the model would rather have said than a verdict does not matter: only the two compete.

    Source: Zheng et al. 2023 (arXiv:2306.05685) for judging in pairs; the odds of verdict tokens
    as in Lee et al. 2023, RLAIF (arXiv:2309.00267), section 2.1.
    """
    return (first.logsumexp(-1) - second.logsumexp(-1)).sigmoid()
