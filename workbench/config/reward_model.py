"""Settings of reward-model training (Bradley-Terry on preferences)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workbench.config.spec import OPTIMISATION, changed, hyper
from workbench.config.training import OfflineSettings, TrainingSettings


class RewardModelSettings(OfflineSettings):
    """LoRA network with a scalar head, trained on chosen against rejected answers."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 2e-4)
    lr_schedule: Literal["linear", "constant"] = changed(
        TrainingSettings, "lr_schedule", "constant"
    )
    batch_size: int = changed(TrainingSettings, "batch_size", 8)
    epochs: int = changed(OfflineSettings, "epochs", 2)
    heldout_share: float = changed(OfflineSettings, "heldout_share", 0.2)
    centering: float = hyper(
        0.01,
        "Centring",
        "Pulls the mean score to 0 by this weight times the squared sum of both scores.",
        group=OPTIMISATION,
        ge=0.0,
        le=1.0,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1},
    "careful": {"epochs": 3, "learning_rate": 1e-4},
}
