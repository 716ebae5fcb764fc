"""The loss of a reward model on pairs of answers. B pairs."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import logsigmoid


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
) -> Tensor:  # (B,)
    """−log σ(r_c − r_r − margin) + c·(r_c + r_r)², one loss per pair.

    The second term fixes the origin, which the first leaves free, at a mean score of 0 for each
    pair. Source: Eisenstein et al. 2023 (arXiv:2312.09244), c = 0.01.
    """
    return bradley_terry_nll(chosen, rejected, margin) + centering * (chosen + rejected).square()
