"""Settings that ILQL and SARSA share: values of tokens, learned from answers that are there."""

from __future__ import annotations

from typing import Literal

from workbench.config.spec import REWARD, RUN, changed, hyper
from workbench.config.training import OfflineSettings, TokenRewardSettings, TrainingSettings

VALUES = "Values"
_POLICY = "Policy"


class QLearningSettings(OfflineSettings):
    """Q and V heads on the policy's trunk, an imitating policy, and sampling by both."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 5e-4)
    epochs: int = hyper(
        8,
        "Epochs",
        "Passes over the answers. Values need more of them than imitation does.",
        group=RUN,
        ge=1,
        le=1000,
    )
    reward_at: Literal["end", "token", "both"] = changed(TokenRewardSettings, "reward_at", "end")
    normalise_scores: bool = hyper(
        True,
        "Normalise scores",
        "Shift and scale the reward so that the answers score 0 on average, with a spread of 1.",
        group=REWARD,
    )
    gamma: float = changed(TokenRewardSettings, "gamma", 1.0)
    q_rank: int = hyper(
        32,
        "Rank of Q",
        "Rank of the map from states to the values of all tokens.",
        group=VALUES,
        ge=1,
        le=4096,
    )
    conservative_coef: float = hyper(
        0.1,
        "Conservatism",
        "Weight of the term that pushes down the values of tokens that the answers do not have.",
        group=VALUES,
        ge=0.0,
        le=100.0,
    )
    imitation_coef: float = hyper(
        1.0,
        "Imitation",
        "Weight of the policy's imitation of the answers; at 0 only the values' gradients move it.",
        group=_POLICY,
        ge=0.0,
        le=100.0,
    )
    imitation_beta: float = hyper(
        1.0,
        "Choosiness",
        "A token is imitated with the weight exp(this times its advantage); 0 imitates all alike.",
        group=_POLICY,
        ge=0.0,
        le=100.0,
    )
    max_weight: float = hyper(
        20.0,
        "Largest weight",
        "Bounds the weight of one token in the imitation.",
        group=_POLICY,
        gt=0.0,
        le=1e6,
    )
    guidance: float = hyper(
        4.0,
        "Guidance",
        "Answers are sampled from the policy's logits plus this times the advantage; 0 leaves the "
        "policy alone.",
        symbol="β",
        group=_POLICY,
        ge=0.0,
        le=1000.0,
    )
