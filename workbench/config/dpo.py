"""Settings of DPO (Rafailov et al. 2023, arXiv:2305.18290) and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import model_validator

from workbench.config.spec import changed, hyper
from workbench.config.training import OfflineSettings, TrainingSettings

_DPO = "DPO"


class DPOSettings(OfflineSettings):
    """Everything a DPO run needs besides its model and preferences."""

    learning_rate: float = changed(TrainingSettings, "learning_rate", 5e-5)
    epochs: int = changed(OfflineSettings, "epochs", 2)
    kind: Literal["sigmoid", "ipo", "hinge"] = hyper(
        "sigmoid",
        "Loss",
        "sigmoid is DPO itself; ipo pulls each pair to a fixed margin and overfits less; hinge "
        "leaves pairs alone that are clear enough.",
        group=_DPO,
    )
    beta: float = hyper(
        0.1,
        "Strength of the reference",
        "Higher keeps the policy nearer to the reference. 0.01 to 0.5 is usual.",
        symbol="β",
        group=_DPO,
        gt=0.0,
        le=10.0,
    )
    label_smoothing: float = hyper(
        0.0,
        "Wrong labels",
        "Share of the labels taken to be wrong (conservative DPO); for the sigmoid loss only.",
        symbol="ε",
        group=_DPO,
        ge=0.0,
        lt=0.5,
    )

    @model_validator(mode="after")
    def _check_smoothing(self) -> Self:
        if self.label_smoothing and self.kind != "sigmoid":
            msg = f"label_smoothing: Must be 0 with the {self.kind} loss, which has no such term."
            raise ValueError(msg)
        return self


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "quick look": {"epochs": 1, "learning_rate": 1e-4},
    "careful": {"epochs": 3, "batch_size": 32},
    "noisy labels": {"label_smoothing": 0.1},
}
