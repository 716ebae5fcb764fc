"""Settings of the Gymnasium environments."""

from __future__ import annotations

from typing import Literal

from workbench.config.spec import GENERATION, KL, REWARD, Settings, changed, hyper
from workbench.config.training import OnPolicySettings, PolicyGradientSettings

_STATE = "State"
_DIALOGUE = "Dialogue"


class TokenEnvSettings(Settings):
    """One token per step."""

    max_new_tokens: int = changed(OnPolicySettings, "max_new_tokens", 64)
    top_k: int = hyper(
        0,
        "Top-k",
        "The action is chosen among the k likeliest tokens of the policy; 0 offers the whole "
        "vocabulary, which is much for libraries made for games.",
        group=GENERATION,
        ge=0,
        le=1_000_000,
    )
    observation: Literal["ids", "states"] = hyper(
        "ids",
        "Observation",
        "ids shows tokens; states shows the policy's last hidden states, from which a small "
        "network can learn.",
        group=_STATE,
    )
    window: int = hyper(
        0,
        "Window",
        "How many of the last tokens (or states) are seen; 0 sees the whole prompt and answer as "
        "ids, or the last state, which has read all of it.",
        unit="tokens",
        group=_STATE,
        ge=0,
        le=131_072,
    )
    reward_at: Literal["end", "token"] = hyper(
        "end",
        "Reward at",
        "end pays the score at the last token; token pays at each token by how much it raised the "
        "score of the answer so far. The sum is the same.",
        group=REWARD,
    )
    kl_coef: float = hyper(
        0.0,
        "KL coefficient",
        "This times the policy's KL to the reference is taken from the reward of each token; 0 "
        "leaves the reference out.",
        symbol="β",
        group=KL,
        ge=0.0,
        le=10.0,
    )
    kl_estimator: Literal["k1", "k2", "k3"] = changed(PolicyGradientSettings, "kl_estimator", "k1")
    temperature: float = hyper(
        1.0,
        "Temperature",
        "The one that the policy samples with; the KL is measured under it.",
        symbol="T",
        group=KL,
        gt=0.0,
        le=5.0,
    )


class ChatEnvSettings(Settings):
    """One answer per step."""

    max_turns: int = hyper(
        4,
        "Turns",
        "A dialogue is cut after this many answers; it ends earlier when the user has nothing more "
        "to say.",
        group=_DIALOGUE,
        ge=1,
        le=1000,
    )
    max_answer_chars: int = hyper(
        4096,
        "Answer length",
        "Longer texts are no action.",
        unit="characters",
        group=_DIALOGUE,
        ge=1,
        le=1_000_000,
    )
    max_dialogue_chars: int = hyper(
        32_768,
        "Dialogue length",
        "Of longer dialogues the end is seen.",
        unit="characters",
        group=_DIALOGUE,
        ge=1,
        le=10_000_000,
    )
