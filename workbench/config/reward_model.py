"""Settings of reward-model training (Bradley-Terry on preferences)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.config.lora import LoraSettings
from workbench.config.spec import Settings, hyper

_OPTIM = "Optimisation"


class RewardModelSettings(Settings):
    """LoRA network with a scalar head, trained on chosen against rejected answers."""

    epochs: int = hyper(
        2,
        "Epochs",
        "Passes over the training pairs. More than 3 overfits.",
        group=_OPTIM,
        ge=1,
        le=100,
    )
    batch_size: int = hyper(8, "Batch size", "Pairs per step.", group=_OPTIM, ge=1, le=1024)
    micro_batch_size: int = hyper(
        4,
        "Micro-batch",
        "Pairs in memory at once; changes memory, not the result.",
        group=_OPTIM,
        ge=1,
        le=1024,
    )
    learning_rate: float = hyper(
        2e-4,
        "Learning rate",
        "Typical for a LoRA reward model: 1e-4 to 5e-4.",
        group=_OPTIM,
        ge=1e-7,
        le=1e-2,
    )
    max_grad_norm: float = hyper(
        1.0,
        "Gradient clip",
        "Largest norm of the gradient before a step.",
        group=_OPTIM,
        gt=0.0,
        le=1000.0,
    )
    centering: float = hyper(
        0.01,
        "Centring",
        "Pulls the mean score to 0 by this weight times the squared sum of both scores.",
        group=_OPTIM,
        ge=0.0,
        le=1.0,
    )
    heldout_share: float = hyper(
        0.2,
        "Held-out share",
        "Share of prompts whose pairs are kept for measuring.",
        group="Data",
        gt=0.0,
        le=0.5,
    )
    max_length: int = hyper(
        1024,
        "Longest text",
        "Pairs with more tokens are left out and counted.",
        unit="tokens",
        group="Data",
        ge=8,
        le=131_072,
    )
    seed: int = hyper(
        0, "Seed", "Split, order and start of the head.", group="Data", ge=0, le=2**31 - 1
    )
    lora: LoraSettings = LoraSettings()


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1},
    "careful": {"epochs": 3, "learning_rate": 1e-4},
}
