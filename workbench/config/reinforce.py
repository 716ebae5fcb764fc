"""Settings of LoRA REINFORCE (Williams 1992) and REINFORCE++ (Hu 2025, arXiv:2501.03262)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workbench.config.policy_gradient import CriticSettings
from workbench.config.spec import changed, hyper
from workbench.config.training import TokenRewardSettings, TrainingSettings

_BASELINE = "Baseline"


class ReinforceSettings(CriticSettings):
    """Everything a REINFORCE run needs besides its model, prompts and reward."""

    adam_eps: float = changed(TrainingSettings, "adam_eps", 1e-5)
    baseline: Literal["batch_mean", "moving_average", "learned", "none"] = hyper(
        "batch_mean",
        "Baseline",
        "What is taken from the returns: the mean of the batch, that of the batches before, or "
        "the value that a critic gives each token.",
        group=_BASELINE,
    )
    baseline_decay: float = hyper(
        0.9,
        "Memory",
        "How much of the moving average stays at each update.",
        group=_BASELINE,
        ge=0.0,
        le=0.999,
    )
    whiten_advantages: bool = changed(TokenRewardSettings, "whiten_advantages", False)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "max_new_tokens": 32},
    "reinforce++": {"baseline": "none", "whiten_advantages": True},
    "careful": {"updates": 400, "batch_size": 64, "learning_rate": 2e-5},
}
