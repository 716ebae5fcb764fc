"""Reward model: a LoRA network with a scalar head, trained on preferences.

    L = weighted mean over pairs of −log σ(r_chosen − r_rejected) + c · (r_chosen + r_rejected)²

Bradley & Terry 1952; Ouyang et al. 2022 (arXiv:2203.02155, eq. 1); centring after Eisenstein et
al. 2023 (arXiv:2312.09244). Left out here: margins by strength, ties, rankings of K.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import atomic_folder
from workbench.data.records import Preference
from workbench.events import Event, Saved
from workbench.models.loading import LoadedModel
from workbench.objectives.intervals import wilson
from workbench.objectives.preference import bradley_terry_loss, bradley_terry_nll
from workbench.rewards.neural import ADAPTER, RewardModel
from workbench.training import offline
from workbench.training.batches import FORWARD_FACTOR
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import require_finite
from workbench.training.pairs import (
    Pair,
    accumulate,
    different,
    encode_pairs,
    sides,
    weights_of,
)
from workbench.training.tally import Totals


def train(settings: RewardModelSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train on preferences and write a SEQ_CLS adapter to `inputs.run_dir / "reward_model"`.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too few usable pairs, or the loss is not a number any more.
        Cancelled: The token was cancelled; no reward model is written.
    """
    reward = RewardModel.fresh(inputs.model, settings.lora, settings.seed)
    heads = {"score_head": reward.head}
    learner = begin("reward", settings, inputs, heads, ADAPTER, reward.trainable)
    pairs = yield from encode_pairs(inputs.model, inputs.preferences, settings, cancel)
    split = offline.split_by_prompt(
        [p.prompt_id for p in pairs], settings.heldout_share, settings.seed
    )
    heldout = [pairs[i] for i in split.heldout]
    yield from offline.run(
        learner,
        inputs,
        cancel,
        split,
        partial(_learn, learner, reward, pairs),
        partial(_evaluate, learner, reward, heldout),
    )
    if learner.ranks.is_main:
        folder = inputs.run_dir / "reward_model"
        with atomic_folder(folder, is_replacing=True) as partial_folder:
            reward.save(partial_folder)
        yield Saved(learner.update, "reward_model", str(folder))


def heldout_prompts(
    model: LoadedModel,
    settings: RewardModelSettings,
    preferences: Sequence[Preference],
    cancel: CancelToken,
) -> Generator[Event, None, set[int]]:
    """The prompts that training with these settings on these preferences keeps apart."""
    pairs = yield from encode_pairs(model, preferences, settings, cancel)
    ids = [pair.prompt_id for pair in pairs]
    split = offline.split_by_prompt(ids, settings.heldout_share, settings.seed)
    return {ids[i] for i in split.heldout}


def _learn(
    learner: Learner[RewardModelSettings],
    reward: RewardModel,
    pairs: Sequence[Pair],
    batch: Sequence[int],
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the pairs of a batch."""

    def loss_of(part: list[Pair]) -> tuple[Tensor, dict[str, Tensor]]:
        answers = different(part)
        chosen, rejected = sides(part, answers, reward.forward(answers))
        losses = bradley_terry_loss(chosen, rejected, learner.settings.centering)
        losses = losses * weights_of(part, losses)
        return losses.sum() / len(batch), {
            "reward/loss": losses.sum() / len(batch),
            "reward/accuracy": (chosen > rejected).sum() / len(batch),
            "reward/margin": (chosen - rejected).sum() / len(batch),
        }

    figures = yield from accumulate(learner, [pairs[i] for i in batch], loss_of)
    require_finite([figures["reward/loss"]], "The loss of the reward model")
    totals.add(figures)
    learner.step(totals)
    return {}


@torch.no_grad()
def _evaluate(
    learner: Learner[RewardModelSettings], reward: RewardModel, pairs: Sequence[Pair]
) -> dict[str, float]:
    """Held-out accuracy (an equal score counts half) with its Wilson interval, and the loss."""
    answers = different(pairs)
    reward.tokens_at_once = learner.micro_batch_tokens * FORWARD_FACTOR
    scores = torch.tensor(reward.score_sequences(answers))
    chosen, rejected = sides(pairs, answers, scores)
    wins = float((chosen > rejected).sum()) + 0.5 * float((chosen == rejected).sum())
    low, high = wilson(wins, len(pairs))
    return {
        "reward/heldout_accuracy": wins / len(pairs),
        "reward/heldout_low": low,
        "reward/heldout_high": high,
        "reward/heldout_loss": float(bradley_terry_nll(chosen, rejected).mean()),
        "reward/heldout_pairs": float(len(pairs)),
    }
