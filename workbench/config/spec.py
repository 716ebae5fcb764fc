"""How a hyperparameter is declared: one frozen pydantic model per action, one field per setting."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

RUN, OPTIMISATION, KL, GENERATION, REWARD, DATA, LORA, CHECKPOINTS = GROUPS = (
    "Run",
    "Optimisation",
    "KL control",
    "Generation",
    "Reward",
    "Data",
    "LoRA",
    "Checkpoints",
)
"""Groups that algorithms share, in the order of forms; an algorithm's own come after the first."""


class Settings(BaseModel):
    """Base of all settings models: frozen, strict about names, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


def hyper(
    default: Any,
    title: str,
    help: str,
    *,
    unit: str = "",
    symbol: str = "",
    group: str = "General",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    is_live: bool = False,
) -> Any:
    """Declare one hyperparameter.

    Args:
        default: Its value when nothing else is said.
        title: Label in the form, sentence case.
        help: One or two sentences: what it does, and what is usual.
        unit: Unit spelled as in the glossary (tokens, nats, updates, GB), or empty.
        symbol: The letter that papers use for it, or empty.
        group: Heading under which the form shows it.
        ge: Lowest allowed value.
        gt: Bound that the value must exceed.
        le: Highest allowed value.
        lt: Bound that the value must stay below.
        is_live: Whether it may change while a run goes on.
    """
    extra: dict[str, Any] = {
        "ui": {"unit": unit, "symbol": symbol, "group": group, "is_live": is_live}
    }
    return Field(
        default, title=title, description=help, ge=ge, gt=gt, le=le, lt=lt, json_schema_extra=extra
    )


def changed(model: type[Settings], name: str, default: Any) -> Any:
    """The same hyperparameter with another default, for a subclass: its words stand only once."""
    info = copy.copy(model.model_fields[name])
    info.default = default
    return info
