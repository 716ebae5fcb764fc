"""What learns in a run, how it takes a step, and what a checkpoint keeps of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from torch import nn

from workbench.config.training import TrainingSettings
from workbench.errors import UserError
from workbench.models import adapters, checkpoint
from workbench.models.loading import LoadedModel
from workbench.training.inputs import Inputs
from workbench.training.loop import LiveSettings
from workbench.training.ranks import Ranks
from workbench.training.tally import Totals

ADAPTER = "policy"
REFERENCE = "reference"
_MOST_SKIPPED = 3

S = TypeVar("S", bound=TrainingSettings)
S_co = TypeVar("S_co", bound=TrainingSettings, covariant=True)


@dataclass
class Learner(Generic[S_co]):
    """An adapter, heads, their optimiser, and the counters that a checkpoint keeps.

    Attributes:
        algorithm: Its name, which a checkpoint remembers.
        model: The base.
        settings: The hyperparameters.
        adapter: Name of the adapter that learns.
        reference: Name of the adapter that it is held near to; None is the base itself.
        parameters: Those of the adapter.
        heads: What else learns, or is kept beside it, by name.
        optimiser: Over everything that learns.
        live: Settings that may change while the run goes on.
        ranks: The processes that train together.
        first_layer: Number of lower layers that no adapter of this run changes.
        micro_batch_tokens: As set, or less after memory ran out.
        update: How many updates are done.
        counters: Numbers that algorithms keep from one update to the next.
    """

    algorithm: str
    model: LoadedModel
    settings: S_co
    adapter: str
    reference: str | None
    parameters: list[nn.Parameter]
    heads: dict[str, nn.Module]
    optimiser: torch.optim.Optimizer
    live: LiveSettings
    ranks: Ranks
    first_layer: int
    micro_batch_tokens: int
    update: int = 0
    counters: dict[str, float] = field(default_factory=dict)

    def trainable(self) -> list[nn.Parameter]:
        """Everything that a step moves."""
        return [*self.parameters, *_learning(self.heads)]

    def set_learning_rate(self, total: int) -> float:
        """Set the step size of this update of `total`; a change by the user outlives a resume."""
        base = self.counters.get("learning_rate", self.settings.learning_rate)
        base = self.counters["learning_rate"] = self.live.get("learning_rate", base)
        is_linear = self.settings.lr_schedule == "linear"
        lr = base * (1.0 - self.update / total) if is_linear else base
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get("lr_scale", 1.0)
        return lr

    def step(self, totals: Totals) -> None:
        """Clip and step; a gradient that is not finite is dropped and counted instead."""
        norms = (_norm(self.parameters), _norm(list(_learning(self.heads))))
        total = nn.utils.clip_grad_norm_(self.trainable(), self.settings.max_grad_norm)
        if torch.isfinite(total):
            self.optimiser.step()
        totals.count_step(norms, is_finite=bool(torch.isfinite(total)))
        self.optimiser.zero_grad(set_to_none=True)

    def count_skipped(self, totals: Totals) -> None:
        """Give up when gradients are no numbers several updates in a row.

        Raises:
            UserError: They are.
        """
        n = self.counters.get("skipped_in_a_row", 0) + 1 if totals.n_skipped else 0
        self.counters["skipped_in_a_row"] = n
        if n >= _MOST_SKIPPED:
            raise UserError(
                f"The loss is not a number any more, {_MOST_SKIPPED} updates in a row.",
                "Lower the learning rate and go on from the last checkpoint.",
            )

    def forget_scores(self) -> None:
        """Let the next batch fix shift and scale anew: they were those of another reward."""
        self.counters = {n: v for n, v in self.counters.items() if not n.startswith("score_")}

    def save(self, folder: Path) -> None:
        """Write a checkpoint that is complete or absent."""
        checkpoint.save(
            folder,
            self.model,
            self.adapter,
            self.settings.lora,
            self.heads,
            self.optimiser,
            self.algorithm,
            {
                "update": self.update,
                "micro_batch_tokens": self.micro_batch_tokens,
                "counters": self.counters,
            },
        )

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, bit-equal to the run that wrote it.

        Raises:
            UserError: It is damaged, or of another algorithm, version or base.
        """
        state = checkpoint.load(
            folder, self.model, self.adapter, self.heads, self.optimiser, self.algorithm
        )
        counters = state["counters"]
        assert isinstance(counters, dict)
        self.update = int(str(state["update"]))
        self.micro_batch_tokens = int(str(state["micro_batch_tokens"]))
        self.counters = {str(name): float(value) for name, value in counters.items()}


def begin(
    algorithm: str,
    settings: S,
    inputs: Inputs,
    heads: Mapping[str, nn.Module] | None = None,
    adapter: str = ADAPTER,
    parameters: list[nn.Parameter] | None = None,
) -> Learner[S]:
    """Start on the base, on another run's adapter, or where a checkpoint left off.

    A fresh adapter changes nothing (B = 0). One that starts from another run's has that as its
    reference too: RL after supervised fine-tuning is held near to the fine-tuned model.

    Args:
        algorithm: Its name.
        settings: The hyperparameters.
        inputs: Where to start, and with whom.
        heads: What learns, or is kept, beside the adapter.
        adapter: Its name on the base.
        parameters: Those of the adapter when it is on the base already.

    Raises:
        UserError: The adapter or the checkpoint does not fit.
    """
    model = inputs.model
    model.recomputes_activations = settings.checkpoint_activations
    lora = settings.lora if inputs.start is None else adapters.lora_settings(inputs.start)
    if parameters is None:
        parameters = adapters.add(model, adapter, lora, settings.seed)
    reference = None
    if inputs.start is not None:
        reference = REFERENCE
        adapters.load(model, reference, inputs.start)
        adapters.load_state(model, adapter, adapters.state(model, reference))
    own = {name: head.to(model.device) for name, head in (heads or {}).items()}
    learner = Learner(
        algorithm=algorithm,
        model=model,
        settings=settings.model_copy(update={"lora": lora}),
        adapter=adapter,
        reference=reference,
        parameters=parameters,
        heads=own,
        optimiser=torch.optim.AdamW(
            _groups(parameters, own),
            lr=settings.learning_rate,
            eps=settings.adam_eps,
            weight_decay=0.0,
        ),
        live=inputs.live,
        ranks=inputs.ranks,
        first_layer=adapters.first_layer(model, lora),
        micro_batch_tokens=settings.micro_batch_tokens,
    )
    if inputs.resume_from is not None:
        learner.load(inputs.resume_from)
        if inputs.is_reward_new:
            learner.forget_scores()
    return learner


def _groups(
    parameters: list[nn.Parameter], heads: Mapping[str, nn.Module]
) -> list[dict[str, object]]:
    """What the optimiser moves: heads that want larger steps apart from the rest."""
    scaled = {name: head for name, head in heads.items() if hasattr(head, "lr_scale")}
    plain = {name: head for name, head in heads.items() if name not in scaled}
    groups: list[dict[str, object]] = [{"params": [*parameters, *_learning(plain)]}]
    for name, head in scaled.items():
        if learning := [*_learning({name: head})]:
            groups.append({"params": learning, "lr_scale": head.lr_scale})
    return groups


def _learning(heads: Mapping[str, nn.Module]) -> Iterator[nn.Parameter]:
    """Parameters of heads that learn; target copies do not."""
    for head in heads.values():
        yield from (p for p in head.parameters() if p.requires_grad)


def _norm(parameters: list[nn.Parameter]) -> float:
    grads = [p.grad for p in parameters if p.grad is not None]
    return float(nn.utils.get_total_norm(grads))
