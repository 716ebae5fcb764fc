"""What ILQL and SARSA share: Q and V heads, the step on a batch of episodes, what is saved.

The heads read the states of the policy's trunk, and their gradients go into its adapter too: one
forward pass gives the policy's log-probabilities and all values. B answers, T response tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from workbench.cancel import CancelToken
from workbench.config.q_learning import QLearningSettings
from workbench.events import Event
from workbench.models.decoding import seeds
from workbench.models.heads import QHead, ScalarHead
from workbench.models.loading import LoadedModel
from workbench.models.policy import Guidance
from workbench.objectives.advantages import rewards_to_go
from workbench.objectives.policy_gradient import explained_variance
from workbench.objectives.q_learning import (
    advantage_weights,
    awac_loss,
    conservative_loss,
    polyak_,
)
from workbench.training import offline
from workbench.training.batches import FORWARD_FACTOR, accumulate, micro_batches
from workbench.training.episodes import Batch, Episode, batched, scored, shaped
from workbench.training.inputs import Inputs
from workbench.training.learner import Learner
from workbench.training.loop import require_finite
from workbench.training.on_policy import save_adapter
from workbench.training.tally import Totals

_HEADS = 5  # what a key of `seeds` is for

S = TypeVar("S", bound=QLearningSettings)


class View(NamedTuple):
    """What policy and heads say of a batch; everything is 0 outside the response."""

    logps: Tensor  # (B, T) of the policy
    qs: list[Tensor]  # (B, T) each, Q_i(s_t, y_t)
    q_logsumexps: list[Tensor]  # (B, T) each, log Σ_a exp Q_i(s_t, a); empty when not wanted
    q_hat: Tensor  # (B, T), Q̂(s_t, y_t) that V learns from and that sampling uses, no gradient
    values: Tensor  # (B, T), V(s_t)


class Heads:
    """V and one or two Qs; with a `target_rate`, also copies that follow them slowly.

    Attributes:
        modules: All of them by name, for optimiser and checkpoint.
    """

    def __init__(
        self,
        model: LoadedModel,
        rank: int,
        seed: int,
        *,
        n_q: int,
        target_rate: float | None = None,
    ) -> None:
        output_head = model.model.get_output_embeddings()

        def fresh(i: int) -> QHead:
            generator = torch.Generator().manual_seed(seeds(seed, _HEADS, i, n=1)[0])
            return QHead(output_head, rank, generator)

        self._q = [fresh(i) for i in range(n_q)]
        self._target_rate = target_rate
        n_targets = 0 if target_rate is None else n_q
        self._targets = [fresh(i).requires_grad_(False) for i in range(n_targets)]
        self._value = ScalarHead(model.hidden_size, bias=True).to(model.device)
        self.modules: dict[str, nn.Module] = {
            "value_head": self._value,
            **{f"q_{i}": head for i, head in enumerate(self._q)},
            **{f"q_target_{i}": head for i, head in enumerate(self._targets)},
        }

    def view(
        self, learner: Learner[QLearningSettings], batch: Batch, *, with_logsumexp: bool
    ) -> View:
        """One forward pass of the active adapter, and all heads on its response tokens."""
        model, is_response = learner.model, batch.is_response
        states = model.response_states(
            batch.prompt_ids, batch.prompt_mask, batch.response_ids, is_response
        )
        logps, _ = model.logps(states, batch.response_ids, is_response, 1.0)
        hidden, ids = states[is_response], batch.response_ids[is_response]

        def placed(flat: Tensor) -> Tensor:
            return flat.new_zeros(is_response.shape).masked_scatter(is_response, flat)

        qs = [head.forward_taken(hidden, ids) for head in self._q]
        with torch.no_grad():
            q_hats = [head.forward_taken(hidden, ids) for head in self._targets] or qs
            q_hat = torch.stack(q_hats).amin(0)
        sums = [head.log_sum_exp(hidden) for head in self._q] if with_logsumexp else []
        return View(
            logps=logps,
            qs=[placed(q) for q in qs],
            q_logsumexps=[placed(q) for q in sums],
            q_hat=placed(q_hat),
            values=placed(self._value(hidden)),
        )

    def follow(self) -> None:
        """Move the target copies, where there are any, towards the heads."""
        if self._target_rate is not None:
            for target, head in zip(self._targets, self._q, strict=True):
                polyak_(target.parameters(), head.parameters(), self._target_rate)

    def guidance(self, beta: float) -> Guidance:
        """What sampling needs of them."""
        return Guidance(self._targets or self._q, self._value, beta)


class Losses(NamedTuple):
    """Losses of tokens (B, T), 0 outside the response."""

    q: Tensor
    value: Tensor
    conservative: Tensor
    imitation: Tensor


LossesOf = Callable[[View, Batch], Losses]


def conservatism(view: View, is_response: Tensor) -> Tensor:  # (B, T)
    """The conservative term, summed over the heads; 0 when it is not wanted."""
    total = torch.zeros_like(view.values)
    for q_logsumexp, q in zip(view.q_logsumexps, view.qs[: len(view.q_logsumexps)], strict=True):
        total = total + conservative_loss(q_logsumexp, q, is_response)
    return total


def imitation(settings: QLearningSettings, view: View) -> Tensor:  # (B, T)
    """−w_t·logp_t with more weight on tokens of more advantage."""
    weights = advantage_weights(
        view.q_hat, view.values, settings.imitation_beta, settings.max_weight
    )
    return awac_loss(view.logps, weights)


def run(
    learner: Learner[S], heads: Heads, losses_of: LossesOf, inputs: Inputs, cancel: CancelToken
) -> Iterator[Event]:
    """Score the answers once, learn from them, save adapter and heads.

    Yields what `offline.run` does, and `Saved` at the end.

    Raises:
        UserError: Too few answers, no reward, or numbers that are not numbers any more.
        Cancelled: The token was cancelled, or stopped before anything was learned.
    """
    settings = learner.settings
    episodes = yield from scored(learner, inputs, cancel)
    split = offline.split_by_prompt(
        [e.prompt_id for e in episodes], settings.heldout_share, settings.seed
    )
    episodes = shaped(episodes, [i for items in split.train for i in items], settings)
    heldout = [episodes[i] for i in split.heldout]
    yield from offline.run(
        learner,
        inputs,
        cancel,
        split,
        partial(_learn, learner, heads, losses_of, episodes),
        partial(_evaluate, learner, heads, losses_of, heldout),
    )
    yield from save_adapter(learner, inputs.run_dir, heads.guidance(settings.guidance))


def _learn(
    learner: Learner[S],
    heads: Heads,
    losses_of: LossesOf,
    episodes: Sequence[Episode],
    rows: list[int],
    totals: Totals,
) -> Generator[Event, None, dict[str, float]]:
    """One optimiser step on some episodes, then a step of the target copies."""
    n_tokens = sum(episodes[i].n_actions for i in rows)

    def loss_of(part: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
        batch = batched(learner.model, [episodes[i] for i in part])
        return _loss(learner, heads, losses_of, batch, n_tokens)

    widths = {i: len(episodes[i]) for i in rows}
    figures = yield from accumulate(learner, rows, widths, loss_of)
    require_finite([figures["loss/q"]], "The loss")
    totals.add(figures)
    learner.step(totals)
    heads.follow()
    return {}


def _loss(
    learner: Learner[S], heads: Heads, losses_of: LossesOf, batch: Batch, n_tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    settings = learner.settings
    view = heads.view(learner, batch, with_logsumexp=settings.conservative_coef > 0)
    losses = Losses(*(loss.sum() / n_tokens for loss in losses_of(view, batch)))
    total = (
        losses.q
        + losses.value
        + settings.conservative_coef * losses.conservative
        + settings.imitation_coef * losses.imitation
    )
    return total, {
        "loss/q": losses.q,
        "loss/value": losses.value,
        "loss/conservative": losses.conservative,
        "loss/imitation": losses.imitation,
        "values/q": view.q_hat.sum() / n_tokens,
        "values/v": view.values.sum() / n_tokens,
    }


@torch.no_grad()
def _evaluate(
    learner: Learner[S], heads: Heads, losses_of: LossesOf, episodes: Sequence[Episode]
) -> dict[str, float]:
    """Figures of answers to other prompts; above all, whether Q foresees what they earn."""
    n_tokens = sum(e.n_actions for e in episodes)
    widths, sums = list(map(len, episodes)), dict.fromkeys(_HELDOUT.values(), 0.0)
    q_hats, returns = [], []
    budget = learner.micro_batch_tokens * FORWARD_FACTOR
    for rows in micro_batches(range(len(episodes)), widths, budget):
        batch = batched(learner.model, [episodes[i] for i in rows])
        view = heads.view(learner, batch, with_logsumexp=False)
        losses = losses_of(view, batch)._asdict()
        for part, name in _HELDOUT.items():
            sums[name] += float(losses[part].sum()) / n_tokens
        to_go = rewards_to_go(batch.rewards, batch.is_response, learner.settings.gamma)
        q_hats.append(view.q_hat[batch.is_response])
        returns.append(to_go[batch.is_response])
    q_hat, to_go = torch.cat(q_hats), torch.cat(returns)
    explained = explained_variance(q_hat, to_go, torch.ones_like(q_hat, dtype=torch.bool))
    return {**sums, "heldout/explained_variance": float(explained)}


_HELDOUT = {"q": "heldout/q_loss", "imitation": "heldout/loss"}
