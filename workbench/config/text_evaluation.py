"""Settings of the text metrics before and after training."""

from __future__ import annotations

from typing import Literal

from workbench.config.evaluation import EvaluationSettings
from workbench.config.spec import DATA, hyper

References = Literal["both", "written", "chosen", "none"]


class TextEvaluationSettings(EvaluationSettings):
    """Held-out prompts answered by base and policy, and what is counted in the answers."""

    references: References = hyper(
        "both",
        "References from",
        "What BLEU, chrF and ROUGE compare with: answers to the held-out prompts that people "
        "wrote, edited or imported, those chosen in a pair, or both. A file takes their place.",
        group=DATA,
    )
