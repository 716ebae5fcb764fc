"""The loss of each item of a reward model, of every member of an ensemble at once.

B items, K answers of the longest of them, N different answers, M members.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.config.reward_model import RewardModelSettings
from workbench.objectives.preference import (
    bradley_terry_loss,
    ranking_loss,
    rao_kupper_loss,
)
from workbench.rewards.neural import Encoded
from workbench.training.reward_items import Item

_PLAIN = {"centering": 0.0, "strength_margin": 0.0, "label_smoothing": 0.0}


def losses(
    settings: RewardModelSettings,
    items: Sequence[Item],
    answers: Sequence[Encoded],
    scores: Tensor,  # (N, M), of `answers`
    tie_parameter: Tensor | float,
) -> Tensor:  # (B, M)
    """What is learned from: with margins, smoothing and centring as set."""
    match settings.loss:
        case "plackett-luce":
            return _of_rankings(settings, items, answers, scores)
        case "regression":
            row = {ids: i for i, ids in enumerate(answers)}
            said = scores[[row[item.answers[0]] for item in items]]
            return (said - said.new_tensor([[item.target] for item in items])).square()
        case _:
            return _of_pairs(settings, items, answers, scores, tie_parameter)


def heldout_losses(
    settings: RewardModelSettings,
    items: Sequence[Item],
    answers: Sequence[Encoded],
    scores: Tensor,  # (N,)
    tie_parameter: Tensor | float,
) -> Tensor:  # (B,)
    """How unlikely what was said is to the model as it stands: nothing is added to the loss."""
    plain = settings.model_copy(update=_PLAIN)
    return losses(plain, items, answers, scores.unsqueeze(-1), tie_parameter).squeeze(-1)


def _of_pairs(
    settings: RewardModelSettings,
    items: Sequence[Item],
    answers: Sequence[Encoded],
    scores: Tensor,
    tie_parameter: Tensor | float,
) -> Tensor:
    row = {ids: i for i, ids in enumerate(answers)}
    index = [[row[item.answers[side]] for item in items] for side in (0, 1)]
    first, second = scores[torch.tensor(index, device=scores.device)]
    margin = scores.new_tensor([[settings.strength_margin * item.is_clear] for item in items])
    if settings.loss == "bradley-terry":
        return bradley_terry_loss(
            first,
            second,
            settings.centering,
            margin if settings.strength_margin else None,
            settings.label_smoothing,
        )
    verdict = scores.new_tensor([[float(item.places[0] != item.places[1])] for item in items])
    return rao_kupper_loss(
        first,
        second,
        verdict,
        tie_parameter,
        settings.centering,
        margin,
        settings.label_smoothing,
    )


def _of_rankings(
    settings: RewardModelSettings,
    items: Sequence[Item],
    answers: Sequence[Encoded],
    scores: Tensor,
) -> Tensor:
    row = {ids: i for i, ids in enumerate(answers)}
    k = max(len(item.answers) for item in items)
    index, places, is_ranked = [], [], []
    for item in items:
        n, n_empty = len(item.answers), k - len(item.answers)
        index.append([*(row[ids] for ids in item.answers), *[0] * n_empty])
        places.append([*item.places, *[k] * n_empty])
        is_ranked.append([True] * n + [False] * n_empty)
    device, n_members = scores.device, scores.shape[1]
    by_member = scores[torch.tensor(index, device=device)].permute(2, 0, 1).reshape(-1, k)
    found = ranking_loss(
        by_member,
        torch.tensor(is_ranked, device=device).repeat(n_members, 1),
        torch.tensor(places, device=device).repeat(n_members, 1),
        settings.centering,
    )
    return found.view(n_members, len(items)).T
