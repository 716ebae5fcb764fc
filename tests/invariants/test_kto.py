"""What is special to KTO: the reference point, its mismatched answers, the weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.offline_runs import (
    Run,
    Twin,
    assert_same_adapter,
    feedback,
    one_batch,
    settings,
    trained,
)
from workbench.data.records import Feedback
from workbench.events import Warned
from workbench.models import adapters
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import Encoded
from workbench.training import kto

BETA, GOOD, BAD = 0.3, 1.5, 0.5


def test_whole_updates_equal_a_twin_in_plain_transformers(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """The reference point over the whole batch, at each step as the policy then is."""
    how = one_batch("kto", beta=BETA, desirable_weight=GOOD, undesirable_weight=BAD)
    still = Run("kto", llama, how.model_copy(update={"learning_rate": 0.0}), tmp_path / "still")
    adapters.remove_all(llama)
    run = Run("kto", llama, how, tmp_path / "run")
    twin = Twin(llama.info.path, still.folder)
    everything = feedback()
    partners = kto._partners([f.prompt.id for f in everything], how.seed)
    items = trained(list(zip_named(everything, partners)), how)
    losses, points = [], []

    def ratio(item: Feedback, text: str) -> Tensor:
        new, old = twin.logp(item.prompt, text), twin.reference(item.prompt, text)
        total: Tensor = sum(n - o for n, o in zip(new, old, strict=True))  # type: ignore
        return total

    def loss() -> Tensor:
        moved = [float(ratio(i.item, everything[i.partner].answer).detach()) for i in items]
        z = max(0.0, sum(moved) / len(moved))
        total = torch.zeros(())
        for i in items:
            gain = BETA * (ratio(i.item, i.item.answer) - z)
            value = GOOD * (1 - gain.sigmoid()) if i.item.is_desirable else BAD * gain.sigmoid()
            total = total + value
        losses.append(float(total.detach()) / len(items))
        points.append(z)
        return total / len(items)

    assert_same_adapter(run.adapter(), twin.learn(loss, how))
    assert_close([m["loss/kto"] for m in run.metrics], losses, FORWARD)
    assert_close([m["kto/reference_point"] for m in run.metrics], points, FORWARD)
    assert max(points) > 1e-2, "a point of 0 throughout would test nothing"


class Named:
    def __init__(self, item: Feedback, partner: int) -> None:
        self.item, self.partner, self.prompt = item, partner, item.prompt


def zip_named(items: list[Feedback], partners: list[int]) -> list[Named]:
    return [Named(item, partner) for item, partner in zip(items, partners, strict=True)]


@pytest.mark.parametrize("prompt_ids", [[1, 2], [1, 1, 1, 2], [1, 2, 3] * 5, [7] * 9 + [8]])
def test_a_partner_is_about_another_prompt(prompt_ids: list[int]) -> None:
    for seed in range(5):
        partners = kto._partners(prompt_ids, seed)
        assert all(prompt_ids[i] != prompt_ids[k] for i, k in enumerate(partners))
        assert partners == kto._partners(prompt_ids, seed)


def test_partners_are_spread_over_the_answers() -> None:
    """Not one answer for all: z is a mean over many."""
    partners = kto._partners([i // 2 for i in range(40)], seed=0)
    assert len(set(partners)) > 25


def test_a_mismatched_answer_is_cut_where_it_does_not_fit() -> None:
    own, other = Encoded((4,) * 6, (5,)), Encoded((7,), (8, 9, 10, 1))
    assert kto._joined(own, other, 20) == Encoded((4,) * 6, (8, 9, 10, 1))
    assert kto._joined(own, other, 8) == Encoded((4,) * 6, (8, 9))


def test_figures_of_what_a_batch_does_not_hold_are_absent(
    llama: LoadedModel, tmp_path: Path
) -> None:
    """Absent and not 0: batches of one answer hold good or bad ones, never both."""
    how = settings("kto", batch_size=1)
    run = Run("kto", llama, how, tmp_path)
    kinds = [
        {"rewards/chosen", "rewards/rejected", "rewards/margins"} & set(m) for m in run.metrics
    ]
    assert kinds.count({"rewards/chosen"}) == kinds.count({"rewards/rejected"}) == 8


@pytest.mark.parametrize(
    ("n_good", "n_bad", "weights", "words"),
    [
        (12, 12, {}, None),
        (12, 10, {}, None),
        (18, 6, {}, "12 good answers of weight 1 stand against 4 bad ones of weight 1."),
        (18, 6, {"undesirable_weight": 3.0}, None),
        (18, 6, {"desirable_weight": 0.33}, None),
        (6, 18, {"desirable_weight": 1.5}, "4 good answers of weight 1.5 stand against 12 bad"),
    ],
)
def test_unbalanced_weights_are_told_with_the_weight_that_balances(
    n_good: int, n_bad: int, weights: Any, words: str | None, llama: LoadedModel, tmp_path: Path
) -> None:
    prompts = tinymodels.prompts(6)
    items = [
        Feedback(prompts[i % 6], f"w{i % 16} w{i // 16}", is_good)
        for is_good, n in ((True, n_good), (False, n_bad))
        for i in range(n)
    ]
    how = settings("kto", learning_rate=0.0, batch_size=64, **weights)
    run = Run("kto", llama, how, tmp_path, feedback=items)
    told = [e for e in run.events if isinstance(e, Warned)]
    if words is None:
        assert told == []
    else:
        (warned,) = told
        assert warned.message.startswith(words)
        balanced = {1.0: "0.33", 1.5: "3"}[how.desirable_weight]
        assert warned.hint == f"They balance with {balanced} as the weight of good answers."
