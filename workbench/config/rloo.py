"""Settings of LoRA RLOO (Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.policy_gradient import GroupSettings
from workbench.config.spec import OPTIMISATION, hyper


class RLOOSettings(GroupSettings):
    """Everything an RLOO run needs besides its model, prompts and reward."""

    whiten_advantages: bool = hyper(
        False,
        "Whiten advantages",
        "Mean 0, variance 1 over the answers of the batch.",
        group=OPTIMISATION,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 2, "learning_rate": 2e-5},
}
