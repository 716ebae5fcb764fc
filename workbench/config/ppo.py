"""Settings of LoRA PPO (Schulman et al. 2017, arXiv:1707.06347; Ziegler et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.lora import LoraSettings
from workbench.config.spec import Settings, hyper

_OPTIM, _KL, _PPO, _GEN, _SAVE = (
    "Optimisation",
    "KL control",
    "PPO",
    "Generation",
    "Checkpoints",
)


class PPOSettings(Settings):
    """Everything a PPO run needs besides its model, prompts and reward."""

    updates: int = hyper(
        50,
        "Updates",
        "One update generates a batch of answers and learns from it.",
        unit="updates",
        group=_OPTIM,
        ge=1,
        le=100_000,
    )
    learning_rate: float = hyper(
        1e-5,
        "Learning rate",
        "Typical for LoRA PPO: 1e-5 on large models, up to 3e-4 on small ones.",
        group=_OPTIM,
        ge=0.0,
        le=1e-2,
        is_live=True,
    )
    lr_schedule: Literal["linear", "constant"] = hyper(
        "linear",
        "Schedule",
        "linear falls to 0 over the run, constant stays.",
        group=_OPTIM,
    )
    batch_size: int = hyper(16, "Batch size", "Answers per update.", group=_OPTIM, ge=1, le=65_536)
    minibatches: int = hyper(
        1,
        "Minibatches",
        "Parts of the batch; each gives one optimiser step per epoch.",
        group=_OPTIM,
        ge=1,
        le=1024,
    )
    micro_batch_size: int = hyper(
        8,
        "Micro-batch",
        "Answers in memory at once; changes memory, not the result.",
        group=_OPTIM,
        ge=1,
        le=1024,
    )
    epochs: int = hyper(
        2,
        "Epochs per update",
        "How often each batch is learned from. More is faster but less stable.",
        group=_OPTIM,
        ge=1,
        le=64,
    )
    max_grad_norm: float = hyper(
        1.0,
        "Gradient clip",
        "Largest norm of the gradient before a step.",
        group=_OPTIM,
        gt=0.0,
        le=1000.0,
    )
    adam_eps: float = hyper(
        1e-5,
        "Adam ε",
        "Added to Adam's denominator. 1e-5 is usual for PPO.",
        group=_OPTIM,
        gt=0.0,
        le=1.0,
    )
    kl_coef: float = hyper(
        0.05,
        "KL coefficient",
        "Higher keeps the policy nearer to the reference.",
        symbol="β",
        group=_KL,
        ge=0.0,
        le=10.0,
        is_live=True,
    )
    is_kl_adaptive: bool = hyper(
        False,
        "Adaptive KL",
        "Change β during the run so that KL stays near the target.",
        group=_KL,
    )
    kl_target: float = hyper(
        6.0,
        "KL target",
        "The adaptive β aims at this KL per answer.",
        unit="nats",
        group=_KL,
        gt=0.0,
        le=1000.0,
    )
    kl_horizon: int = hyper(
        10_000,
        "KL horizon",
        "Answers over which the adaptive β reacts.",
        group=_KL,
        ge=1,
        le=10_000_000,
    )
    kl_estimator: Literal["k1", "k2", "k3"] = hyper(
        "k1",
        "KL estimator",
        "k1 is unbiased and signed; k2 and k3 are never negative (Schulman 2020).",
        group=_KL,
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
    gamma: float = hyper(
        1.0, "Discount", "1 is usual for text.", symbol="γ", group=_PPO, gt=0.0, le=1.0
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
    whiten_advantages: bool = hyper(
        True, "Whiten advantages", "Mean 0, variance 1 over the batch.", group=_PPO
    )
    whiten_rewards: bool = hyper(
        False, "Scale rewards", "Variance 1 over the batch, mean kept.", group=_PPO
    )
    normalise_scores: bool = hyper(
        True,
        "Normalise scores",
        "Shift and scale the reward so that the reference model's answers score 0 on average, "
        "with a spread of 1.",
        group=_PPO,
    )
    score_clip: float = hyper(
        0.0,
        "Score clip",
        "Scores are cut to plus and minus this; 0 means off.",
        group=_PPO,
        ge=0.0,
        le=1000.0,
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
    temperature: float = hyper(
        1.0,
        "Temperature",
        "Used for sampling and for scoring alike.",
        symbol="T",
        group=_GEN,
        gt=0.0,
        le=5.0,
    )
    max_new_tokens: int = hyper(
        64,
        "Answer length",
        "An answer is cut after this many tokens.",
        unit="tokens",
        group=_GEN,
        ge=1,
        le=32_768,
    )
    missing_eos_penalty: float = hyper(
        1.0,
        "Penalty for no end",
        "Taken from the score of an answer that was cut.",
        group=_GEN,
        ge=0.0,
        le=100.0,
    )
    checkpoint_every: int = hyper(
        20,
        "Checkpoint every",
        "The run can go on from here after a crash; 0 means only at the end.",
        unit="updates",
        group=_SAVE,
        ge=0,
        le=100_000,
    )
    n_samples: int = hyper(
        4,
        "Sample answers",
        "Answers of each update that are kept to read.",
        group=_SAVE,
        ge=0,
        le=1024,
    )
    seed: int = hyper(0, "Seed", "Same seed, same run (on CPU).", group=_SAVE, ge=0, le=2**31 - 1)
    lora: LoraSettings = LoraSettings()

    @model_validator(mode="after")
    def _check_batches(self) -> Self:
        if self.batch_size % self.minibatches:
            below = self.batch_size // self.minibatches * self.minibatches
            nearest = [str(n) for n in (below, below + self.minibatches) if n]
            msg = (
                f"batch_size: Must be a multiple of Minibatches ({self.minibatches}). "
                f"Nearest: {' or '.join(nearest)}."
            )
            raise ValueError(msg)
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"updates": 10, "batch_size": 16, "learning_rate": 1e-4, "max_new_tokens": 32},
    "careful": {"updates": 200, "batch_size": 64, "minibatches": 4, "learning_rate": 1e-5},
}
