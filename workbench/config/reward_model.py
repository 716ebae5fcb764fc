"""Settings of reward-model training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.spec import OPTIMISATION, RUN, changed, hyper
from workbench.config.training import OfflineSettings, TrainingSettings

Loss = Literal["bradley-terry", "rao-kupper", "plackett-luce", "regression"]
_LOSS, _ENSEMBLE = "Loss", "Ensemble"


class RewardModelSettings(OfflineSettings):
    """LoRA network with a scalar head, trained on what annotators said of answers."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 2e-4)
    lr_schedule: Literal["linear", "constant"] = changed(
        TrainingSettings, "lr_schedule", "constant"
    )
    batch_size: int = changed(TrainingSettings, "batch_size", 8)
    epochs: int = changed(OfflineSettings, "epochs", 2)
    heldout_share: float = changed(OfflineSettings, "heldout_share", 0.2)
    loss: Loss = hyper(
        "bradley-terry",
        "Loss",
        "bradley-terry learns from chosen over rejected; rao-kupper from ties too; plackett-luce "
        "from whole rankings, with each pair as a ranking of two; regression from ratings.",
        group=_LOSS,
    )
    strength_margin: float = hyper(
        0.0,
        "Margin of clearly",
        "How much further apart the scores must be where an answer is clearly better than where "
        "it is slightly better; for bradley-terry and rao-kupper. 1 is usual, 0 means off.",
        group=_LOSS,
        ge=0.0,
        le=10.0,
    )
    label_smoothing: float = hyper(
        0.0,
        "Wrong labels",
        "Share of the choices taken to be wrong; for bradley-terry and rao-kupper.",
        symbol="ε",
        group=_LOSS,
        ge=0.0,
        lt=0.5,
    )
    tie_parameter: float = hyper(
        0.5,
        "Tie parameter",
        "Answers whose scores differ by less mostly count as equally good; for rao-kupper.",
        symbol="η",
        group=_LOSS,
        gt=0.0,
        le=10.0,
    )
    learn_tie_parameter: bool = hyper(
        True, "Learn tie parameter", "Start at the value above and fit it to the ties.", group=_LOSS
    )
    centering: float = hyper(
        0.01,
        "Centring",
        "Pulls the mean score to 0 by this weight times the squared sum of both scores; regression "
        "has no need of it.",
        group=OPTIMISATION,
        ge=0.0,
        le=1.0,
    )
    ensemble: int = hyper(
        1,
        "Members",
        "Heads on the one adapter, each with a start and a sample of the pairs of its own. The "
        "score is their mean; how far they differ tells how sure it is. 5 to 10 is usual.",
        group=_ENSEMBLE,
        ge=1,
        le=64,
    )
    measure_every: int = hyper(
        0,
        "Measure every",
        "How often held-out data is measured; 0 means after each epoch.",
        unit="updates",
        group=RUN,
        ge=0,
        le=100_000,
    )
    patience: int = hyper(
        0,
        "Patience",
        "Stop after so many measurements in a row without a lower held-out loss, and keep the "
        "weights of the lowest; 0 trains to the end and keeps the last.",
        unit="measurements",
        group=RUN,
        ge=0,
        le=1000,
    )

    @model_validator(mode="after")
    def _check_loss(self) -> Self:
        if self.loss in ("bradley-terry", "rao-kupper"):
            return self
        for name in ("strength_margin", "label_smoothing"):
            if getattr(self, name):
                msg = f"{name}: Must be 0 with the {self.loss} loss, which has no such term."
                raise ValueError(msg)
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1},
    "careful": {"epochs": 3, "learning_rate": 1e-4},
    "stop in time": {"epochs": 6, "patience": 2},
    "ensemble": {"ensemble": 8},
}
