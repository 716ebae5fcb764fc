"""Settings that several policy gradients share: clipped steps, a critic, groups of answers."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import model_validator

from workbench.config.spec import GENERATION, OPTIMISATION, hyper
from workbench.config.training import PolicyGradientSettings, TokenRewardSettings, check_parts

CLIPPING, CRITIC = "Clipping", "Critic"


class ClippedSettings(PolicyGradientSettings):
    """Several careful steps on each batch."""

    minibatches: int = hyper(
        1,
        "Minibatches",
        "Parts of the batch; each gives one optimiser step per epoch.",
        group=OPTIMISATION,
        ge=1,
        le=1024,
    )
    epochs: int = hyper(
        1,
        "Epochs per update",
        "How often each batch is learned from. More is faster but less stable.",
        group=OPTIMISATION,
        ge=1,
        le=64,
    )
    clip_range: float = hyper(
        0.2,
        "Clip range",
        "How far one update may move a probability ratio.",
        symbol="ε",
        group=CLIPPING,
        gt=0.0,
        le=10.0,
    )
    clip_range_high: float = hyper(
        0.0,
        "Clip range upwards",
        "Another clip range for ratios above 1: larger keeps rare tokens alive (clip-higher of "
        "DAPO, 0.28); 0 means the same.",
        group=CLIPPING,
        ge=0.0,
        le=10.0,
    )
    target_step_kl: float = hyper(
        0.0,
        "Step KL limit",
        "An update ends early when its step KL passes 1.5 times this; 0 means off.",
        unit="nats",
        group=CLIPPING,
        ge=0.0,
        le=10.0,
    )

    @property
    def clip_ranges(self) -> tuple[float, float]:
        """How far a ratio may fall below 1, and how far it may rise above."""
        return self.clip_range, self.clip_range_high or self.clip_range

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        check_parts(self.batch_size, "batch_size", self.minibatches, "Minibatches")
        return self


class CriticSettings(TokenRewardSettings):
    """A critic that says what each token can expect."""

    value_network: Literal["shared", "own"] = hyper(
        "shared",
        "Value network",
        "shared reads values off the policy's hidden states; own gives the value head a LoRA "
        "adapter of its own, which is slower and does not pull at the policy.",
        group=CRITIC,
    )
    value_coef: float = hyper(
        0.1, "Value coefficient", "Weight of the value loss.", group=CRITIC, ge=0.0, le=10.0
    )
    entropy_coef: float = hyper(
        0.0,
        "Entropy bonus",
        "Above 0 keeps the policy from repeating itself.",
        group=OPTIMISATION,
        ge=0.0,
        le=1.0,
    )


class GAESettings(CriticSettings):
    """Advantages by generalised advantage estimation."""

    gae_lambda: float = hyper(
        0.95,
        "GAE λ",
        "0 trusts the value head, 1 trusts the returns.",
        symbol="λ",
        group=CRITIC,
        ge=0.0,
        le=1.0,
    )


class GroupSettings(ClippedSettings):
    """Several answers to each prompt, which are each other's measure: no critic."""

    group_size: int = hyper(
        4,
        "Group size",
        "Answers to each prompt, which are compared with one another. More are steadier and leave "
        "fewer prompts in a batch.",
        unit="answers",
        symbol="G",
        group=GENERATION,
        ge=2,
        le=1024,
    )

    @property
    def answers_per_prompt(self) -> int:
        """How often each prompt of an update is answered."""
        return self.group_size

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        parts = math.lcm(self.group_size, self.minibatches)
        what = "Group size" if parts == self.group_size else "Group size and Minibatches"
        check_parts(self.batch_size, "batch_size", parts, what)
        return self
