"""Settings of KTO (Ethayarajh et al. 2024, arXiv:2402.01306)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.spec import changed, hyper
from workbench.config.training import OfflineSettings, TrainingSettings

_KTO = "KTO"


class KTOSettings(OfflineSettings):
    """Everything a KTO run needs besides its model and answers called good or bad."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 5e-5)
    epochs: int = changed(OfflineSettings, "epochs", 2)
    beta: float = hyper(
        0.1,
        "Strength of the reference",
        "Higher keeps the policy nearer to the reference. 0.01 to 0.5 is usual.",
        symbol="β",
        group=_KTO,
        gt=0.0,
        le=10.0,
    )
    desirable_weight: float = hyper(
        1.0,
        "Weight of good answers",
        "Raise it when good answers are fewer, so that good and bad ones weigh alike in all.",
        symbol="λ_D",
        group=_KTO,
        gt=0.0,
        le=100.0,
    )
    undesirable_weight: float = hyper(
        1.0,
        "Weight of bad answers",
        "Raise it when bad answers are fewer.",
        symbol="λ_U",
        group=_KTO,
        gt=0.0,
        le=100.0,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1, "learning_rate": 1e-4},
    "careful": {"epochs": 3, "batch_size": 32},
}
