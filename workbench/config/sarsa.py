"""Settings of one-step SARSA (Rummery and Niranjan 1994; Brandfonbrener et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.q_learning import QLearningSettings


class SARSASettings(QLearningSettings):
    """Everything a SARSA run needs besides its model, answers and reward."""


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 3},
    "careful": {"epochs": 16, "learning_rate": 2e-4},
}
