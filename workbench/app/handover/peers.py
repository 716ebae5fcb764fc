"""What the files for other trainers have in common: a plan in, names and values out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench.config.training import OnPolicySettings, TrainingSettings

_MOST_AT_ONCE = 8
_USUAL_GROUP = 4


NO_NETWORK = "{} cannot compute this reward, which is no single network. Train with the worker."


@dataclass(frozen=True, slots=True)
class Plan:
    """A training job, as far as other trainers need to know it.

    Attributes:
        algorithm: Its name here.
        settings: Its hyperparameters.
        model: What users call the base.
        hub_id: Its name on the Hub; empty when it has none.
        revision: The commit on the Hub; empty when it is not known.
        context_length: Longest prompt plus answer, in tokens.
        has_chat_template: Whether its tokenizer can render messages.
        is_encoder_decoder: Whether it is of the T5 kind.
        has_reward_model: Whether `reward_model/` is in the bundle.
        has_start_adapter: Whether training starts from `start_adapter/` and not from the base.
        n_prompts: Prompts in `data/prompts.jsonl`.
        is_reward_network: Whether that is one network, which other programs can load.
        n_lighter: Pairs that count less than others here, as those of AI judges do.
    """

    algorithm: str
    settings: TrainingSettings
    model: str
    hub_id: str
    revision: str
    context_length: int
    has_chat_template: bool
    is_encoder_decoder: bool
    has_reward_model: bool
    has_start_adapter: bool
    n_prompts: int
    n_lighter: int = 0
    is_reward_network: bool = True

    @property
    def values(self) -> dict[str, Any]:
        """All settings by their dotted names."""
        return dict(_flat(self.settings.model_dump()))

    @property
    def model_default(self) -> str:
        """What a shell script takes for the model when its user says nothing."""
        if self.hub_id:
            return f"${{MODEL:-{self.hub_id}}}"
        return f"${{MODEL:?Set MODEL to the folder of {self.model}.}}"


@dataclass(frozen=True, slots=True)
class Translation:
    """How another trainer does a plan.

    Attributes:
        command: Its command or module; empty when it has none for the algorithm.
        remark: A sentence on what differs; empty when it is the same algorithm.
        values: Its settings by its names.
        names: For each setting here that is carried over, what stands for it there.
        same: Settings that cannot be chosen there, with the value that they have there.
        reasons: Why a setting is not carried over, where more can be said than that there is none.
    """

    command: str
    remark: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    same: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def cell(self, name: str, value: Any) -> str:
        """What stands for a setting there, for a table; empty when nothing does."""
        if name in self.names:
            return f"`{self.names[name]}`"
        return "the same" if self.command and self.same.get(name) == value else ""


@dataclass(frozen=True, slots=True)
class Batches:
    """How a batch is cut: everything in answers (or pairs), over all devices.

    Attributes:
        batch: Per update.
        group: Answers to one prompt.
        step: Per optimiser step.
        at_once: Per device and forward pass.
        passes: How often each answer is learned from.
    """

    batch: int
    group: int
    step: int
    at_once: int
    passes: int

    @property
    def accumulation(self) -> int:
        """Forward passes per optimiser step on one device."""
        return self.step // self.at_once


def batches(settings: TrainingSettings, *, needs_groups: bool = False) -> Batches:
    """Cut a batch as the settings say; `needs_groups`: every prompt has two answers or more."""
    batch = max(settings.batch_size, 2) if needs_groups else settings.batch_size
    group = settings.answers_per_prompt if isinstance(settings, OnPolicySettings) else 1
    if needs_groups and group < 2:
        group = next(k for k in (_USUAL_GROUP, 2, 3, batch) if batch % k == 0)
    step = batch // int(getattr(settings, "minibatches", 1))
    at_once = max(k for k in range(1, _MOST_AT_ONCE + 1) if step % k == 0)
    is_repeated = isinstance(settings, OnPolicySettings)
    return Batches(
        batch, group, step, at_once, getattr(settings, "epochs", 1) if is_repeated else 1
    )


def carried(
    plan: Plan, names: Mapping[str, str], convert: Mapping[str, Callable[[Any], Any]]
) -> dict[str, Any]:
    """The settings of a plan that have a name there, with their values converted."""
    return {
        there: convert.get(here, _same)(plan.values[here])
        for here, there in names.items()
        if here in plan.values
    }


def _same(value: Any) -> Any:
    return value


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
