"""Settings of LoRA PPO (Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.policy_gradient import CLIPPING, CRITIC, ClippedSettings, GAESettings
from workbench.config.spec import changed, hyper
from workbench.config.training import TrainingSettings


class PPOSettings(ClippedSettings, GAESettings):
    """Everything a PPO run needs besides its model, prompts and reward."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 1e-5)
    adam_eps: float = changed(TrainingSettings, "adam_eps", 1e-5)
    epochs: int = changed(ClippedSettings, "epochs", 2)
    dual_clip: float = hyper(
        0.0,
        "Dual clip",
        "Bounds the loss of a bad token that became likely at this many times its advantage, "
        "usually 3; 0 means off.",
        group=CLIPPING,
        ge=0.0,
        le=100.0,
    )
    value_clip_range: float = hyper(
        0.2,
        "Value clip range",
        "How far one update may move a value.",
        group=CRITIC,
        gt=0.0,
        le=1000.0,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "batch_size": 16, "learning_rate": 1e-4, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 4, "learning_rate": 1e-5},
}
