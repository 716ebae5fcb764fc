"""Settings of supervised fine-tuning: learning to imitate answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from workbench.config.spec import DATA, changed, hyper
from workbench.config.training import OfflineSettings, TrainingSettings


class SFTSettings(OfflineSettings):
    """Everything a run of supervised fine-tuning needs besides its model and answers."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 2e-4)
    epochs: int = changed(OfflineSettings, "epochs", 2)
    answers_from: Literal["both", "written", "chosen", "best"] = hyper(
        "both",
        "Answers from",
        "written takes answers that people wrote, edited or imported; chosen takes those preferred "
        "in a pair; both takes both kinds; best takes those that best-of-n kept (rejection "
        "sampling).",
        group=DATA,
    )


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1},
    "careful": {"epochs": 3, "learning_rate": 1e-4},
}
