"""Settings of LoRA online DPO (Guo et al. 2024, arXiv:2402.04792)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.spec import hyper
from workbench.config.training import OnPolicySettings, check_parts

_DPO = "DPO"


class OnlineDPOSettings(OnPolicySettings):
    """Everything an online DPO run needs besides its model, prompts and reward."""

    beta: float = hyper(
        0.1,
        "DPO β",
        "Higher keeps the policy nearer to the reference. 0.05 to 0.5 is usual.",
        symbol="β",
        group=_DPO,
        gt=0.0,
        le=10.0,
        is_live=True,
    )
    kind: Literal["sigmoid", "ipo", "hinge"] = hyper(
        "sigmoid",
        "Loss",
        "sigmoid is DPO's own; ipo pulls each pair to a finite margin per token; hinge leaves "
        "pairs alone that are clear already.",
        group=_DPO,
    )

    @property
    def answers_per_prompt(self) -> int:
        """How often each prompt of an update is answered."""
        return 2

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        check_parts(self.batch_size, "batch_size", 2, "the two answers of a pair")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "learning_rate": 2e-5},
}
