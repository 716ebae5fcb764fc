"""Settings of ILQL (Snell et al. 2022, arXiv:2206.11871)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.q_learning import VALUES, QLearningSettings
from workbench.config.spec import hyper


class ILQLSettings(QLearningSettings):
    """Everything an ILQL run needs besides its model, answers and reward."""

    expectile: float = hyper(
        0.8,
        "Expectile",
        "0.5 makes V the mean of Q over the answers' tokens, towards 1 the best of them. 0.7 to "
        "0.9 is usual.",
        symbol="τ",
        group=VALUES,
        ge=0.5,
        lt=1.0,
    )
    target_rate: float = hyper(
        0.05,
        "Target rate",
        "How far the target copies follow the Q heads after each update. ILQL's authors take "
        "0.005, in runs that are a hundred times longer.",
        symbol="α",
        group=VALUES,
        gt=0.0,
        le=1.0,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 3},
    "careful": {"epochs": 16, "learning_rate": 2e-4, "target_rate": 0.02},
}
