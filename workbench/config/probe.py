"""Settings of probes: light reward models on what the frozen base makes of answers."""

from __future__ import annotations

from typing import Literal

from workbench.config.spec import Settings, hyper

ProbeKind = Literal["logistic", "ridge", "svm", "mlp"]
LearnFrom = Literal["pairs", "ratings"]
Pooling = Literal["last", "mean"]
POOLINGS: tuple[Pooling, ...] = ("last", "mean")
"""The state at the stop token, and the mean over the answer's tokens.

The last state is what a reward head reads; the mean tells more of a model whose last state was
never trained to sum up.
"""

_PLACE = "Where it reads"


class ProbeSettings(Settings):
    """A probe, and where it reads the base; what is left open is chosen on held-out labels."""

    kind: ProbeKind = hyper(
        "logistic",
        "Kind",
        "logistic: the model of Bradley and Terry, a good first choice. ridge: least squares. svm: "
        "a wide margin, needs scikit-learn. mlp: one hidden layer, for 200 labels and more.",
        group="Probe",
    )
    learn_from: LearnFrom = hyper(
        "pairs",
        "Learn from",
        "pairs: which answer was preferred. ratings: one to five stars; ridge and svm only.",
        group="Probe",
    )
    strength: float = hyper(
        0.0,
        "Regularisation",
        "Higher trusts the labels less; 0 chooses it.",
        symbol="λ",
        group="Probe",
        ge=0.0,
        le=1e6,
    )
    members: int = hyper(
        16,
        "Ensemble",
        "So many probes on other draws of the labels tell how sure a score is; 0 for none.",
        group="Probe",
        ge=0,
        le=256,
    )
    layer: int = hyper(
        0,
        "Layer",
        "The layer whose states are read, the lowest being 1; 0 chooses it.",
        group=_PLACE,
        ge=0,
        le=1000,
    )
    pooling: Literal["choose", "last", "mean"] = hyper(
        "choose",
        "Pooling",
        "last: the state at the end of the answer. mean: over all its tokens.",
        group=_PLACE,
    )
    seed: int = hyper(
        0, "Seed", "The same seed, the same probe.", group="Probe", ge=0, le=2**31 - 1
    )
