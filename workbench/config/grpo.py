"""Settings of LoRA GRPO (Shao et al. 2024, arXiv:2402.03300), Dr. GRPO and DAPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workbench.config.policy_gradient import GroupSettings
from workbench.config.spec import changed, hyper
from workbench.config.training import PolicyGradientSettings, TrainingSettings

_GRPO = "GRPO"


class GRPOSettings(GroupSettings):
    """Everything a GRPO run needs besides its model, prompts and reward."""

    batch_size: int = changed(TrainingSettings, "batch_size", 32)
    group_size: int = changed(GroupSettings, "group_size", 8)
    kl_coef: float = changed(PolicyGradientSettings, "kl_coef", 0.04)
    kl_in: Literal["reward", "loss"] = changed(PolicyGradientSettings, "kl_in", "loss")
    kl_estimator: Literal["k1", "k2", "k3"] = changed(PolicyGradientSettings, "kl_estimator", "k3")
    aggregation: Literal["answer", "token", "fixed_length"] = hyper(
        "answer",
        "Mean over",
        "answer: each answer weighs the same, so that tokens of short ones weigh more (GRPO); "
        "token: each token weighs the same (DAPO); fixed_length: each token weighs the same in "
        "every batch, whatever lengths there are (Dr. GRPO).",
        group=_GRPO,
    )
    scale_by_std: bool = hyper(
        True,
        "Scale by spread",
        "Divide by the spread of each group's scores. Without it (Dr. GRPO) prompts with little "
        "spread do not weigh more.",
        group=_GRPO,
    )
    skip_equal_groups: bool = hyper(
        False,
        "Skip equal groups",
        "Leave out groups whose answers all score the same, which teach nothing, and divide by "
        "what is left (DAPO).",
        group=_GRPO,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "batch_size": 16, "group_size": 4, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 2, "learning_rate": 2e-5},
    "dr grpo": {"aggregation": "fixed_length", "scale_by_std": False, "kl_coef": 0.0},
    "dapo": {
        "aggregation": "token",
        "clip_range_high": 0.28,
        "kl_coef": 0.0,
        "skip_equal_groups": True,
    },
}
