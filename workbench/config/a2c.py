"""Settings of LoRA A2C (Mnih et al. 2016, arXiv:1602.01783)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.policy_gradient import GAESettings
from workbench.config.spec import changed
from workbench.config.training import TrainingSettings


class A2CSettings(GAESettings):
    """Everything an A2C run needs besides its model, prompts and reward."""

    adam_eps: float = changed(TrainingSettings, "adam_eps", 1e-5)


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "max_new_tokens": 32},
    "careful": {"updates": 400, "batch_size": 64, "learning_rate": 2e-5},
}
