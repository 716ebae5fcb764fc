"""Reward model: a LoRA network with a scalar head, trained on preferences.

    L = mean over pairs of −log σ(r_chosen − r_rejected) + c · (r_chosen + r_rejected)²

Bradley & Terry 1952; Ouyang et al. 2022 (arXiv:2203.02155, eq. 1); centring after Eisenstein et
al. 2023 (arXiv:2312.09244). Left out here: margins by strength, ties, rankings of K.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import atomic_folder
from workbench.data.records import Preference
from workbench.errors import Cancelled, UserError
from workbench.events import Evaluated, Event, Progress, Saved, Step, Warned
from workbench.models.loading import LoadedModel
from workbench.objectives.intervals import wilson
from workbench.objectives.preference import bradley_terry_loss, bradley_terry_nll
from workbench.rewards.neural import RewardModel
from workbench.training.loop import permutation, require_finite

_SPLIT, _SHUFFLE = 1, 2
_FEWEST_PAIRS = 8

Pair = tuple[list[int], list[int]]  # token ids of chosen and of rejected, prompt included


def train(
    model: LoadedModel,
    preferences: Sequence[Preference],
    settings: RewardModelSettings,
    cancel: CancelToken,
    folder: Path,
) -> Iterator[Event]:
    """Train on preferences and write a SEQ_CLS adapter to `folder`.

    Yields `Step` per optimiser step, `Evaluated` on held-out pairs before training and after each
    epoch, and `Saved` at the end. A stop ends training at the step boundary and saves.

    Raises:
        UserError: Too few usable pairs, or the loss is not a number any more.
        Cancelled: The token was cancelled; nothing is written.
    """
    reward = RewardModel.fresh(model, settings.lora, settings.seed)
    by_prompt, heldout_pairs, n_long = _split(reward, preferences, settings)
    if n_long:
        yield Warned(
            f"{n_long} pairs are longer than {settings.max_length} tokens and were left out.",
            "Raise Longest text if the model's context allows it.",
        )
    optimiser = torch.optim.AdamW(reward.trainable, lr=settings.learning_rate, weight_decay=0.0)
    steps_per_epoch = -(-sum(map(len, by_prompt)) // settings.batch_size)
    total = steps_per_epoch * settings.epochs

    step = 0
    with model.checking(cancel.raise_if_cancelled):
        yield Evaluated(step, _evaluate(reward, heldout_pairs))
        for epoch in range(settings.epochs):
            # Prompts are shuffled, not pairs: pairs of one prompt share answers, hence forwards.
            order = permutation(len(by_prompt), settings.seed, _SHUFFLE, epoch)
            pairs = [pair for i in order for pair in by_prompt[i]]
            for start in range(0, len(pairs), settings.batch_size):
                if cancel.should_stop:
                    break
                began = time.perf_counter()
                batch = pairs[start : start + settings.batch_size]
                metrics = _step(reward, batch, optimiser, settings)
                step += 1
                yield Step(step, total, metrics, time.perf_counter() - began)
            yield Progress(step, total, "Measuring on held-out pairs")
            yield Evaluated(step, _evaluate(reward, heldout_pairs))
            if cancel.should_stop:
                break
    if cancel.is_cancelled:
        raise Cancelled
    with atomic_folder(folder) as partial:
        reward.save(partial)
    yield Saved(step, "reward_model", str(folder))


def _step(
    reward: RewardModel,
    batch: Sequence[Pair],
    optimiser: torch.optim.Optimizer,
    settings: RewardModelSettings,
) -> dict[str, float]:
    """One optimiser step; micro-batches are weighted so that their number changes nothing."""
    losses, margins = [], []
    for start in range(0, len(batch), settings.micro_batch_size):
        chosen, rejected = _scores(reward, batch[start : start + settings.micro_batch_size])
        loss = bradley_terry_loss(chosen, rejected, settings.centering)
        torch.autograd.backward(loss.sum() / len(batch))
        losses += loss.tolist()
        margins += (chosen - rejected).tolist()
    require_finite(losses, "The loss of the reward model")
    norm = torch.nn.utils.clip_grad_norm_(reward.trainable, settings.max_grad_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return {
        "reward/loss": sum(losses) / len(losses),
        "reward/accuracy": sum(m > 0 for m in margins) / len(margins),
        "reward/margin": sum(margins) / len(margins),
        "policy/grad_norm": float(norm),
        "optim/lr": settings.learning_rate,
    }


def _scores(reward: RewardModel, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Scores (B,) of chosen and of rejected, both out of one batch.

    An answer that stands in several of the pairs is computed once (Ouyang et al. 2022, sec. 3.5).
    """
    rows: dict[tuple[int, ...], int] = {}
    index = [[rows.setdefault(tuple(ids), len(rows)) for ids in pair] for pair in pairs]
    scores = reward.forward(list(rows))
    chosen, rejected = torch.tensor(index, device=scores.device).T
    return scores[chosen], scores[rejected]


@torch.no_grad()
def _evaluate(reward: RewardModel, pairs: Sequence[Pair]) -> dict[str, float]:
    """Held-out accuracy (an equal score counts half) with its Wilson interval, and the loss."""
    unique = list(dict.fromkeys(tuple(ids) for pair in pairs for ids in pair))
    score = dict(zip(unique, reward.score_sequences(unique), strict=True))
    chosen, rejected = torch.tensor([[score[tuple(ids)] for ids in pair] for pair in pairs]).T
    wins = float((chosen > rejected).sum()) + 0.5 * float((chosen == rejected).sum())
    low, high = wilson(wins, len(pairs))
    return {
        "reward/heldout_accuracy": wins / len(pairs),
        "reward/heldout_low": low,
        "reward/heldout_high": high,
        "reward/heldout_loss": float(bradley_terry_nll(chosen, rejected).mean()),
        "reward/heldout_pairs": float(len(pairs)),
    }


def _split(
    reward: RewardModel, preferences: Sequence[Preference], settings: RewardModelSettings
) -> tuple[list[list[Pair]], list[Pair], int]:
    """Training pairs of each prompt, held-out pairs, and the number of pairs that are too long.

    Split by prompt and not by pair: two pairs about one prompt would otherwise sit on both sides.
    """
    longest = min(settings.max_length, reward.base.context_length)
    by_prompt: dict[int, list[Pair]] = {}
    n_long = 0
    for preference in preferences:
        if preference.chosen.strip() == preference.rejected.strip():
            continue
        messages = preference.prompt.messages
        chosen = reward.encode_text(messages, preference.chosen)
        rejected = reward.encode_text(messages, preference.rejected)
        if max(len(chosen), len(rejected)) > longest:
            n_long += 1
        else:
            by_prompt.setdefault(preference.prompt.id, []).append((chosen, rejected))
    prompt_ids = sorted(by_prompt)
    n_pairs = sum(len(pairs) for pairs in by_prompt.values())
    if n_pairs < _FEWEST_PAIRS or len(prompt_ids) < 2:
        raise UserError(
            f"There are {n_pairs} usable pairs on {len(prompt_ids)} prompts; a reward model needs "
            f"at least {_FEWEST_PAIRS} pairs on 2 prompts.",
            "Rank more pairs. About 150 give a usable model.",
        )
    order = permutation(len(prompt_ids), settings.seed, _SPLIT)
    n_heldout = max(1, round(settings.heldout_share * len(prompt_ids)))
    heldout = {prompt_ids[i] for i in order[:n_heldout]}
    train_pairs = [by_prompt[i] for i in prompt_ids if i not in heldout]
    heldout_pairs = [p for i in prompt_ids if i in heldout for p in by_prompt[i]]
    return train_pairs, heldout_pairs, n_long
