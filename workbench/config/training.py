"""Settings that training algorithms share; each algorithm adds its own in a file of its name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, model_validator

from workbench.config.lora import LoraSettings
from workbench.config.spec import (
    CHECKPOINTS,
    DATA,
    GENERATION,
    KL,
    OPTIMISATION,
    REWARD,
    RUN,
    Settings,
    hyper,
)

WATCHED = "During the run"


def _normalising(value: object) -> object:
    """What was once yes or no: runs and files of earlier versions still say so."""
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value)
    return {True: "reference", False: "off"}[value] if isinstance(value, bool) else value


class TrainingSettings(Settings):
    """What every algorithm that trains an adapter needs."""

    learning_rate: float = hyper(
        1e-4,
        "Learning rate",
        "For LoRA: 1e-5 on large models, up to 5e-4 on small ones.",
        group=OPTIMISATION,
        ge=0.0,
        le=1e-2,
        is_live=True,
    )
    lr_schedule: Literal["linear", "constant"] = hyper(
        "linear",
        "Schedule",
        "linear falls to 0 over the run, constant stays.",
        group=OPTIMISATION,
    )
    batch_size: int = hyper(
        16, "Batch size", "Answers (or pairs) per update.", group=OPTIMISATION, ge=1, le=65_536
    )
    micro_batch_tokens: int = hyper(
        1024,
        "Micro-batch",
        "Tokens in memory at once while gradients are computed; changes memory, not the result.",
        unit="tokens",
        group=OPTIMISATION,
        ge=16,
        le=10_000_000,
    )
    checkpoint_activations: bool = hyper(
        False,
        "Recompute activations",
        "Keep only the input of each layer and compute the rest again for the gradients: less "
        "memory, about a third slower, the same result.",
        group=OPTIMISATION,
    )
    max_grad_norm: float = hyper(
        1.0,
        "Gradient clip",
        "Largest norm of the gradient before a step.",
        group=OPTIMISATION,
        gt=0.0,
        le=1000.0,
    )
    adam_eps: float = hyper(
        1e-8,
        "Adam ε",
        "Added to Adam's denominator. 1e-5 is usual for PPO.",
        group=OPTIMISATION,
        gt=0.0,
        le=1.0,
    )
    checkpoint_every: int = hyper(
        20,
        "Checkpoint every",
        "The run can go on from here after a crash; 0 means only at the end.",
        unit="updates",
        group=CHECKPOINTS,
        ge=0,
        le=100_000,
    )
    seed: int = hyper(
        0, "Seed", "Same seed, same run (on CPU).", group=CHECKPOINTS, ge=0, le=2**31 - 1
    )
    lora: LoraSettings = LoraSettings()


class OnPolicySettings(TrainingSettings):
    """Algorithms that learn from answers of the policy as it is now."""

    updates: int = hyper(
        50,
        "Updates",
        "One update generates a batch of answers and learns from it.",
        unit="updates",
        group=RUN,
        ge=1,
        le=100_000,
    )
    temperature: float = hyper(
        1.0,
        "Temperature",
        "Used for sampling and for scoring alike.",
        symbol="T",
        group=GENERATION,
        gt=0.0,
        le=5.0,
    )
    max_new_tokens: int = hyper(
        64,
        "Answer length",
        "An answer is cut after this many tokens.",
        unit="tokens",
        group=GENERATION,
        ge=1,
        le=32_768,
    )
    missing_eos_penalty: float = hyper(
        1.0,
        "Penalty for no end",
        "What an answer that was cut loses, or what it gets below 0.",
        group=REWARD,
        ge=0.0,
        le=100.0,
    )
    missing_eos_rule: Literal["subtract", "replace"] = hyper(
        "subtract",
        "No end",
        "subtract takes the penalty from the score of a cut answer; replace gives it minus the "
        "penalty in place of any score, whatever it says.",
        group=REWARD,
    )
    normalise_scores: Annotated[
        Literal["reference", "running", "off"], BeforeValidator(_normalising)
    ] = hyper(
        "reference",
        "Normalise scores",
        "reference shifts and scales the reward so that the reference model's answers score 0 on "
        "average, with a spread of 1; running does the same by all answers of the run so far; off "
        "takes it as it is.",
        group=REWARD,
    )
    score_clip: float = hyper(
        0.0,
        "Score clip",
        "Scores are cut to plus and minus this; 0 means off.",
        group=REWARD,
        ge=0.0,
        le=1000.0,
    )
    judge_every: int = hyper(
        5,
        "Judge every",
        "How often the held-back judge, when one is chosen, gives its opinion of the answers.",
        unit="updates",
        group=WATCHED,
        ge=1,
        le=100_000,
    )
    judge_answers: int = hyper(
        16,
        "Answers judged",
        "How many answers of the batch it reads each time.",
        unit="answers",
        group=WATCHED,
        ge=1,
        le=4096,
    )
    labels_every: int = hyper(
        0,
        "Ask for labels every",
        "The run stops after so many updates, asks you for labels on its own answers, trains the "
        "reward model with them and goes on; 0 means never.",
        unit="updates",
        group=WATCHED,
        ge=0,
        le=100_000,
    )
    labels_wanted: int = hyper(
        16,
        "Labels each time",
        "So many pairs of its answers are put first in the ranking queue.",
        unit="pairs",
        group=WATCHED,
        ge=2,
        le=4096,
    )
    kl_budget: float = hyper(
        0.0,
        "KL budget",
        "When a batch is further than this from the reference the run pauses itself and asks; 0 "
        "means off. Going on gives it the same budget once more.",
        unit="nats",
        group=KL,
        ge=0.0,
        le=10_000.0,
        is_live=True,
    )
    n_samples: int = hyper(
        4,
        "Sample answers",
        "Answers of each update that are kept to read, and how many prompts are asked again and "
        "again.",
        group=CHECKPOINTS,
        ge=0,
        le=1024,
    )
    sample_every: int = hyper(
        10,
        "Ask again every",
        "The same prompts are answered with the same luck before the first update and every so "
        "many, to read how the answers change; 0 means never.",
        unit="updates",
        group=CHECKPOINTS,
        ge=0,
        le=100_000,
    )

    @property
    def answers_per_prompt(self) -> int:
        """How often each prompt of an update is answered."""
        return 1


class PolicyGradientSettings(OnPolicySettings):
    """Policy gradients: expected reward, held near the reference by a KL penalty."""

    kl_coef: float = hyper(
        0.05,
        "KL coefficient",
        "Higher keeps the policy nearer to the reference.",
        symbol="β",
        group=KL,
        ge=0.0,
        le=10.0,
        is_live=True,
    )
    kl_in: Literal["reward", "loss"] = hyper(
        "reward",
        "KL goes into",
        "reward takes β·KL from the reward of each token, as PPO does; loss adds it to the loss, "
        "as GRPO does.",
        group=KL,
    )
    kl_estimator: Literal["k1", "k2", "k3"] = hyper(
        "k1",
        "KL estimator",
        "k1 is unbiased and signed; k2 and k3 are never negative (Schulman 2020). In the loss k1 "
        "has no gradient on average and is not allowed.",
        group=KL,
    )
    is_kl_adaptive: bool = hyper(
        False,
        "Adaptive KL",
        "Change β during the run so that KL stays near the target.",
        group=KL,
    )
    kl_target: float = hyper(
        6.0,
        "KL target",
        "The adaptive β aims at this KL per answer.",
        unit="nats",
        group=KL,
        gt=0.0,
        le=1000.0,
    )
    kl_horizon: int = hyper(
        10_000,
        "KL horizon",
        "Answers over which the adaptive β reacts.",
        group=KL,
        ge=1,
        le=10_000_000,
    )

    @model_validator(mode="after")
    def _check_kl(self) -> Self:
        if self.kl_in == "loss" and self.kl_estimator == "k1":
            msg = "kl_estimator: Must be k2 or k3 when KL goes into the loss."
            raise ValueError(msg)
        return self


class TokenRewardSettings(PolicyGradientSettings):
    """Policy gradients with an advantage of its own for each token."""

    reward_at: Literal["end", "token", "both"] = hyper(
        "end",
        "Reward at",
        "end pays the score at the last token; token pays at each token by how much it raised the "
        "score of the answer so far (the sum is the same); both pays both.",
        group=REWARD,
    )
    whiten_rewards: bool = hyper(
        False, "Scale rewards", "Variance 1 over the batch, mean kept.", group=REWARD
    )
    gamma: float = hyper(
        1.0, "Discount", "1 is usual for text.", symbol="γ", group=REWARD, gt=0.0, le=1.0
    )
    whiten_advantages: bool = hyper(
        True, "Whiten advantages", "Mean 0, variance 1 over the batch.", group=OPTIMISATION
    )


class OfflineSettings(TrainingSettings):
    """Algorithms that learn from a fixed set of answers or pairs."""

    epochs: int = hyper(
        1,
        "Epochs",
        "Passes over the data. More than 3 overfits.",
        group=RUN,
        ge=1,
        le=1000,
    )
    heldout_share: float = hyper(
        0.1,
        "Held-out share",
        "Share of prompts whose data is kept for measuring.",
        group=DATA,
        gt=0.0,
        le=0.5,
    )
    max_length: int = hyper(
        1024,
        "Longest text",
        "Texts with more tokens are left out and counted.",
        unit="tokens",
        group=DATA,
        ge=8,
        le=131_072,
    )


def check_parts(batch_size: int, name: str, parts: int, what: str) -> None:
    """Check that a batch can be cut into equal parts.

    Raises:
        ValueError: It cannot; the message names the field and the nearest sizes that can.
    """
    if batch_size % parts:
        below = batch_size // parts * parts
        nearest = [str(n) for n in (below, below + parts) if n]
        msg = f"{name}: Must be a multiple of {what} ({parts}). Nearest: {' or '.join(nearest)}."
        raise ValueError(msg)
