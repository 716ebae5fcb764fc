"""Minibatches select the same rows of every field: numerics.md item 15."""

from __future__ import annotations

import torch

from workbench.objectives.rollout import Rollout


def _rollout(n: int) -> Rollout:
    """Every field says its row number."""
    row = torch.arange(n)
    wide = row.unsqueeze(1).expand(n, 3)
    return Rollout(
        prompt_ids=wide,
        prompt_mask=wide >= 0,
        response_ids=wide,
        is_response=wide % 2 == 0,
        old_logps=wide.float(),
        ref_logps=wide.float(),
        old_values=wide.float(),
        scores=row.float(),
        ended=row % 2 == 0,
    )


def test_a_permutation_orders_every_field_alike() -> None:
    order = torch.tensor([3, 0, 2])
    picked = _rollout(5).select(order)
    for name in ("prompt_ids", "response_ids", "old_logps", "ref_logps", "old_values"):
        assert getattr(picked, name)[:, 0].tolist() == order.tolist(), name
    assert picked.scores.tolist() == order.tolist()
    assert picked.is_response[:, 0].tolist() == [False, True, True]
    assert picked.ended.tolist() == [False, True, True]
    assert picked.prompt_mask.all()


def test_a_bool_index_keeps_the_rows_that_are_true() -> None:
    whole = _rollout(4)
    assert whole.select(whole.ended).scores.tolist() == [0.0, 2.0]
