"""Reward model: a LoRA network with a scalar head, trained on preferences.

    L = mean over pairs of −log σ(r_chosen − r_rejected) + c · (r_chosen + r_rejected)²

Bradley & Terry 1952; Ouyang et al. 2022 (arXiv:2203.02155, eq. 1); centring after Eisenstein et
al. 2023 (arXiv:2312.09244). Left out here: margins by strength, ties, rankings of K.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import atomic_folder
from workbench.data.records import Preference
from workbench.errors import UserError
from workbench.events import Event, Saved, Warned
from workbench.objectives.intervals import wilson
from workbench.objectives.preference import bradley_terry_loss, bradley_terry_nll
from workbench.rewards.neural import ADAPTER, Encoded, RewardModel
from workbench.training import offline
from workbench.training.batches import accumulate
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import require_finite
from workbench.training.tally import Totals

_FEWEST_PAIRS = 8


class Pair(NamedTuple):
    """Two answers to one prompt as token ids."""

    prompt_id: int
    chosen: Encoded
    rejected: Encoded


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
    pairs, n_long = _encode(reward, inputs.preferences, settings)
    if n_long:
        yield Warned(
            f"{n_long} pairs are longer than {settings.max_length} tokens and were left out.",
            "Raise Longest text if the model's context allows it.",
        )
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
        partial(_evaluate, reward, heldout),
    )
    if learner.ranks.is_main:
        folder = inputs.run_dir / "reward_model"
        with atomic_folder(folder, is_replacing=True) as partial_folder:
            reward.save(partial_folder)
        yield Saved(learner.update, "reward_model", str(folder))


def _learn(
    learner: Learner[RewardModelSettings],
    reward: RewardModel,
    pairs: Sequence[Pair],
    batch: Sequence[int],
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the pairs of a batch."""
    groups = _by_prompt([pairs[i] for i in batch])

    def loss_of(rows: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        chosen, rejected = _scores(reward, [pair for i in rows for pair in groups[i]])
        losses = bradley_terry_loss(chosen, rejected, learner.settings.centering)
        return losses.sum() / len(batch), {
            "reward/loss": losses.sum() / len(batch),
            "reward/accuracy": (chosen > rejected).sum() / len(batch),
            "reward/margin": (chosen - rejected).sum() / len(batch),
        }

    widths = [_tokens(group) for group in groups]
    figures = yield from accumulate(learner, range(len(groups)), widths, loss_of)
    require_finite([figures["reward/loss"]], "The loss of the reward model")
    totals.add(figures)
    learner.step(totals)
    return {}


def _by_prompt(pairs: Sequence[Pair]) -> list[list[Pair]]:
    """Pairs of one prompt together: they share answers, which are then computed once."""
    groups: dict[int, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(pair.prompt_id, []).append(pair)
    return list(groups.values())


def _tokens(group: Sequence[Pair]) -> int:
    """Padded tokens of the different answers of a group."""
    answers = {ids for pair in group for ids in (pair.chosen, pair.rejected)}
    return len(answers) * max(map(len, answers))


def _scores(reward: RewardModel, pairs: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Scores (B,) of chosen and of rejected, both out of one batch.

    An answer that stands in several of the pairs is computed once (Ouyang et al. 2022, sec. 3.5).
    """
    rows: dict[Encoded, int] = {}
    index = [[rows.setdefault(ids, len(rows)) for ids in (p.chosen, p.rejected)] for p in pairs]
    scores = reward.forward(list(rows))
    chosen, rejected = torch.tensor(index, device=scores.device).T
    return scores[chosen], scores[rejected]


@torch.no_grad()
def _evaluate(reward: RewardModel, pairs: Sequence[Pair]) -> dict[str, float]:
    """Held-out accuracy (an equal score counts half) with its Wilson interval, and the loss."""
    unique = list(dict.fromkeys(ids for pair in pairs for ids in (pair.chosen, pair.rejected)))
    score = dict(zip(unique, reward.score_sequences(unique), strict=True))
    chosen, rejected = torch.tensor([[score[p.chosen], score[p.rejected]] for p in pairs]).T
    wins = float((chosen > rejected).sum()) + 0.5 * float((chosen == rejected).sum())
    low, high = wilson(wins, len(pairs))
    return {
        "reward/heldout_accuracy": wins / len(pairs),
        "reward/heldout_low": low,
        "reward/heldout_high": high,
        "reward/heldout_loss": float(bradley_terry_nll(chosen, rejected).mean()),
        "reward/heldout_pairs": float(len(pairs)),
    }


def _encode(
    reward: RewardModel, preferences: Sequence[Preference], settings: RewardModelSettings
) -> tuple[list[Pair], int]:
    """The usable pairs, and the number of those that are too long."""
    longest = min(settings.max_length, reward.base.context_length)
    pairs, n_long = [], 0
    for preference in preferences:
        if preference.chosen.strip() == preference.rejected.strip():
            continue
        messages = preference.prompt.messages
        chosen = reward.encode_text(messages, preference.chosen)
        rejected = reward.encode_text(messages, preference.rejected)
        if max(len(chosen), len(rejected)) > longest:
            n_long += 1
        else:
            pairs.append(Pair(preference.prompt.id, chosen, rejected))
    n_prompts = len({pair.prompt_id for pair in pairs})
    if len(pairs) < _FEWEST_PAIRS or n_prompts < 2:
        raise UserError(
            f"There are {len(pairs)} usable pairs on {n_prompts} prompts; a reward model needs "
            f"at least {_FEWEST_PAIRS} pairs on 2 prompts.",
            "Rank more pairs. About 150 give a usable model.",
        )
    return pairs, n_long
