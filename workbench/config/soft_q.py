"""Settings of soft Q-learning (Guo et al. 2021, arXiv:2106.07704)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.ppo import PPOSettings
from workbench.config.spec import changed, hyper
from workbench.config.training import (
    OnPolicySettings,
    PolicyGradientSettings,
    TokenRewardSettings,
    check_parts,
)


class SoftQSettings(OnPolicySettings):
    """Everything a soft Q-learning run needs besides its model, prompts and reward."""

    kl_coef: float = changed(PolicyGradientSettings, "kl_coef", 0.1)
    gamma: float = changed(TokenRewardSettings, "gamma", 1.0)
    minibatches: int = changed(PPOSettings, "minibatches", 1)
    epochs: int = changed(PPOSettings, "epochs", 2)
    consistency: Literal["token", "answer", "both"] = hyper(
        "both",
        "Consistency",
        "token asks that each value fits the next one; answer that each fits the reward at the "
        "end, which tells the first token at once; both asks both.",
        group="Soft Q-learning",
    )

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        check_parts(self.batch_size, "batch_size", self.minibatches, "Minibatches")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "batch_size": 16, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 4, "learning_rate": 5e-5},
}
