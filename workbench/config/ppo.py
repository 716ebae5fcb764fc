"""Settings of LoRA PPO (Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.spec import OPTIMISATION, changed, hyper
from workbench.config.training import TokenRewardSettings, TrainingSettings, check_parts

_PPO = "PPO"


class PPOSettings(TokenRewardSettings):
    """Everything a PPO run needs besides its model, prompts and reward."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 1e-5)
    adam_eps: float = changed(TrainingSettings, "adam_eps", 1e-5)
    minibatches: int = hyper(
        1,
        "Minibatches",
        "Parts of the batch; each gives one optimiser step per epoch.",
        group=OPTIMISATION,
        ge=1,
        le=1024,
    )
    epochs: int = hyper(
        2,
        "Epochs per update",
        "How often each batch is learned from. More is faster but less stable.",
        group=OPTIMISATION,
        ge=1,
        le=64,
    )
    clip_range: float = hyper(
        0.2,
        "Clip range",
        "How far one update may move a token's probability ratio.",
        symbol="ε",
        group=_PPO,
        gt=0.0,
        le=10.0,
    )
    clip_range_high: float = hyper(
        0.0,
        "Clip range upwards",
        "Another clip range for ratios above 1: larger keeps rare tokens alive (clip-higher of "
        "DAPO, 0.28); 0 means the same.",
        group=_PPO,
        ge=0.0,
        le=10.0,
    )
    dual_clip: float = hyper(
        0.0,
        "Dual clip",
        "Bounds the loss of a bad token that became likely at this many times its advantage, "
        "usually 3; 0 means off.",
        group=_PPO,
        ge=0.0,
        le=100.0,
    )
    value_network: Literal["shared", "own"] = hyper(
        "shared",
        "Value network",
        "shared reads values off the policy's hidden states; own gives the value head a LoRA "
        "adapter of its own, which is slower and does not pull at the policy.",
        group=_PPO,
    )
    value_clip_range: float = hyper(
        0.2,
        "Value clip range",
        "How far one update may move a value.",
        group=_PPO,
        gt=0.0,
        le=1000.0,
    )
    value_coef: float = hyper(
        0.1, "Value coefficient", "Weight of the value loss.", group=_PPO, ge=0.0, le=10.0
    )
    entropy_coef: float = hyper(
        0.0,
        "Entropy bonus",
        "Above 0 keeps the policy from repeating itself.",
        group=_PPO,
        ge=0.0,
        le=1.0,
    )
    gae_lambda: float = hyper(
        0.95,
        "GAE λ",
        "0 trusts the value head, 1 trusts the returns.",
        symbol="λ",
        group=_PPO,
        ge=0.0,
        le=1.0,
    )
    target_step_kl: float = hyper(
        0.0,
        "Step KL limit",
        "An update ends early when its step KL passes 1.5 times this; 0 means off.",
        unit="nats",
        group=_PPO,
        ge=0.0,
        le=10.0,
    )

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        check_parts(self.batch_size, "batch_size", self.minibatches, "Minibatches")
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "batch_size": 16, "learning_rate": 1e-4, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 4, "learning_rate": 1e-5},
}
