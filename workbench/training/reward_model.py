"""Reward model: a LoRA network with a scalar head, trained on what annotators said of answers.

    L = weighted mean over items of −log P(what was said | scores) + c · (sum of the scores)²

An item is a pair (Bradley & Terry 1952; Ouyang et al. 2022, arXiv:2203.02155, eq. 1), a pair or a
tie (Rao & Kupper 1967), a ranking (Plackett 1975; Luce 1959), or a rating, whose term is a square.
Centring after Eisenstein et al. 2023 (arXiv:2312.09244), margins after Llama 2 (arXiv:2307.09288).

Of an ensemble each member learns from a bootstrap sample of the items (Efron 1979): how often it
drew an item is the item's weight. Left out here: Davidson's form of ties, members with adapters of
their own (train several runs with other seeds instead).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from workbench.cancel import CancelToken
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import atomic_folder
from workbench.events import Evaluated, Event, Saved, Warned
from workbench.models.decoding import seeds
from workbench.models.heads import KeptWeights, TieParameter
from workbench.objectives.intervals import wilson
from workbench.rewards.neural import ADAPTER, Encoded, RewardModel
from workbench.training import offline
from workbench.training.batches import FORWARD_FACTOR, retried
from workbench.training.early_stopping import EarlyStopping
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner, begin
from workbench.training.loop import require_finite
from workbench.training.pairs import accumulate, different, weights_of
from workbench.training.reward_items import Item, Items, better_worse, encode_items
from workbench.training.reward_losses import heldout_losses, losses
from workbench.training.tally import Totals

_BOOTSTRAP = 3  # what a key of `seeds` is for


def train(settings: RewardModelSettings, inputs: Inputs, cancel: CancelToken) -> Iterator[Event]:
    """Train and write a SEQ_CLS adapter to `inputs.run_dir / "reward_model"`.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too little to learn from, or the loss is not a number any more.
        Cancelled: The token was cancelled; no reward model is written.
    """
    run = _begin(settings, inputs, (yield from encode_items(settings, inputs, cancel)))
    learner, stopping = run.learner, run.stopping
    yield from offline.run(
        learner,
        inputs,
        cancel,
        run.data.split,
        partial(_learn, run),
        partial(_evaluate, run),
        stopping,
    )
    if stopping is not None and (best := stopping.best_update) is not None:
        if stopping.is_over:
            yield Warned(
                f"Stopped after update {learner.update}: the held-out loss was lowest after update "
                f"{best}, whose weights are kept."
            )
        stopping.restore_()
        yield Evaluated(best, (yield from retried(learner, 0, partial(_evaluate, run))))
    run.reward.average_members_()
    if learner.ranks.is_main:
        folder = inputs.run_dir / "reward_model"
        with atomic_folder(folder, is_replacing=True) as partial_folder:
            run.reward.save(partial_folder, run.facts())
        yield Saved(learner.update, "reward_model", str(folder))


@dataclass(frozen=True, slots=True)
class _Run:
    """What a run works with.

    Attributes:
        draws: How often each member drew each item, (M, n_items); None without an ensemble.
    """

    learner: Learner[RewardModelSettings]
    reward: RewardModel
    tie: TieParameter
    data: Items
    draws: Tensor | None
    stopping: EarlyStopping | None

    def tie_parameter(self) -> Tensor:
        """η, with its gradient where it is learned."""
        value: Tensor = self.tie()
        return value

    def facts(self) -> dict[str, object]:
        """What those want to know who use the scores."""
        facts: dict[str, object] = {"loss": self.learner.settings.loss}
        if self.learner.settings.loss == "rao-kupper":
            facts["tie_parameter"] = float(self.tie_parameter().detach())
        return facts


def _begin(settings: RewardModelSettings, inputs: Inputs, data: Items) -> _Run:
    reward = RewardModel.fresh(inputs.model, settings.lora, settings.seed, settings.ensemble)
    head = reward.members or reward.head
    heads: dict[str, nn.Module] = {"score_head": head}
    tie = TieParameter(settings.tie_parameter, is_learned=settings.learn_tie_parameter)
    if settings.loss == "rao-kupper":
        heads["tie"] = tie
    learnt = [*reward.trainable, *(p for h in heads.values() for p in h.parameters())]
    if settings.patience:
        heads["best"] = KeptWeights(learnt)
    learner = begin("reward", settings, inputs, heads, ADAPTER, reward.trainable)
    stopping = None
    if settings.patience:
        kept = learner.heads["best"]
        assert isinstance(kept, KeptWeights)
        stopping = EarlyStopping(learner, kept, learnt, "reward/heldout_loss", settings.patience)
    draws = None
    if settings.ensemble > 1:
        draws = _bootstrap(len(data.items), data.split, settings)
    return _Run(learner, reward, tie.to(inputs.model.device), data, draws, stopping)


def _bootstrap(n_items: int, split: offline.Split, settings: RewardModelSettings) -> Tensor:
    """(M, n_items): how often each member drew an item, with replacement, from those to learn."""
    train = torch.tensor([i for group in split.train for i in group])
    draws = torch.zeros(settings.ensemble, n_items)
    for m in range(settings.ensemble):
        generator = torch.Generator().manual_seed(seeds(settings.seed, _BOOTSTRAP, m, n=1)[0])
        drawn = train[torch.randint(len(train), (len(train),), generator=generator)]
        draws[m] = torch.bincount(drawn, minlength=n_items).float()
    return draws


def _learn(
    run: _Run, batch: Sequence[int], totals: Totals
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on the items of a batch."""
    learner, settings = run.learner, run.learner.settings
    items = [run.data.items[i] for i in batch]
    number = {id(item): i for item, i in zip(items, batch, strict=True)}
    n_decided = sum(len([*better_worse(item)]) for item in items)

    def loss_of(part: list[Item]) -> tuple[Tensor, dict[str, Tensor]]:
        answers = different(part)
        scores = run.reward.forward_members(answers)
        found = losses(settings, part, answers, scores, run.tie_parameter())
        found = found * weights_of(part, found).unsqueeze(-1)
        if run.draws is not None:
            found = found * run.draws[:, [number[id(item)] for item in part]].T.to(found.device)
        loss = found.mean(dim=-1).sum() / len(batch)
        return loss, {"reward/loss": loss, **_order(part, answers, scores.mean(-1), n_decided)}

    figures = yield from accumulate(learner, items, loss_of)
    require_finite([figures["reward/loss"]], "The loss of the reward model")
    totals.add(figures)
    learner.step(totals)
    is_tied = settings.loss == "rao-kupper"
    return {"reward/tie_parameter": float(run.tie_parameter().detach())} if is_tied else {}


def _order(
    items: Sequence[Item], answers: Sequence[Encoded], scores: Tensor, n_decided: int
) -> dict[str, Tensor]:
    """How many of the decided pairs of some items are ordered right, and how far apart they are."""
    row = {ids: i for i, ids in enumerate(answers)}
    pairs = [(row[b], row[w]) for item in items for b, w in better_worse(item)]
    if not n_decided:
        return {}
    index = torch.tensor(pairs, dtype=torch.long, device=scores.device).view(-1, 2)
    better, worse = scores[index[:, 0]], scores[index[:, 1]]
    return {
        "reward/accuracy": (better > worse).sum() / n_decided,
        "reward/margin": (better - worse).sum() / n_decided,
    }


@torch.no_grad()
def _evaluate(run: _Run) -> dict[str, float]:
    """Held-out accuracy of pairs (an equal score counts half) with its interval, and the loss."""
    settings, heldout, pairs = run.learner.settings, run.data.heldout, run.data.pairs
    answers = list(dict.fromkeys([*different(heldout), *(ids for pair in pairs for ids in pair)]))
    run.reward.average_members_()
    run.reward.tokens_at_once = run.learner.micro_batch_tokens * FORWARD_FACTOR
    spreads: list[float] = []
    if run.draws is None:
        said = run.reward.score_sequences(answers)
    else:
        said, spreads = run.reward.score_sequences_with_spread(answers)
    scores = torch.tensor(said)
    tie = run.tie_parameter().cpu()
    figures = {
        "reward/heldout_loss": float(
            heldout_losses(settings, heldout, answers, scores, tie).mean()
        ),
        **_accuracy(pairs, dict(zip(answers, said, strict=True))),
    }
    if spreads:
        figures["reward/heldout_spread"] = sum(spreads) / len(spreads)
    return figures


def _accuracy(
    pairs: Sequence[tuple[Encoded, Encoded]], score: dict[Encoded, float]
) -> dict[str, float]:
    """Nothing where no pair was kept apart."""
    if not pairs:
        return {}
    wins = sum(
        1.0 if score[better] > score[worse] else 0.5 * (score[better] == score[worse])
        for better, worse in pairs
    )
    low, high = wilson(wins, len(pairs))
    return {
        "reward/heldout_accuracy": wins / len(pairs),
        "reward/heldout_low": low,
        "reward/heldout_high": high,
        "reward/heldout_pairs": float(len(pairs)),
    }
