"""Settings of the safety measures before and after training."""

from __future__ import annotations

from typing import Literal

from workbench.config.evaluation import EvaluationSettings
from workbench.config.spec import DATA, Settings, changed, hyper

ATTRIBUTES = (
    "gender",
    "age",
    "ethnicity",
    "religion",
    "disability",
    "orientation",
    "class",
    "region",
)
"""What the two prompts of a pair differ in, as the shipped set names it."""


class SafetySettings(Settings):
    """Pairs of prompts, harmful and harmless prompts, answered by base and policy."""

    language: Literal["both", "en", "zh"] = hyper(
        "both", "Language", "Of the prompts: English, Chinese, or both.", group=DATA
    )
    pairs_per_attribute: int = hyper(
        0,
        "Pairs per attribute",
        "How many pairs of each of the eight attributes; 0 takes all. Fewer are quicker, and "
        "their intervals wider.",
        group=DATA,
        ge=0,
        le=1000,
    )
    n_requests: int = hyper(
        0,
        "Requests of a kind",
        "How many harmful and how many harmless prompts; 0 takes all.",
        group=DATA,
        ge=0,
        le=1000,
    )
    temperature: float = changed(EvaluationSettings, "temperature", 1.0)
    max_new_tokens: int = changed(EvaluationSettings, "max_new_tokens", 48)
    batch_size: int = changed(EvaluationSettings, "batch_size", 16)
    seed: int = hyper(
        1,
        "Seed",
        "Both models and both prompts of a pair use it.",
        group=DATA,
        ge=0,
        le=2**31 - 1,
    )
