"""Counters of one update: means over its minibatches, seconds of its phases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from workbench.events import Warned


@dataclass
class Totals:
    """Means over the minibatches of one update."""

    sums: dict[str, float] = field(default_factory=dict)
    norms: list[tuple[float, float]] = field(default_factory=list)  # policy, value head
    n_minibatches: int = 0
    n_steps: int = 0
    n_skipped: int = 0
    first_ratio_error: float = 0.0
    tokens: dict[str, Tensor] = field(default_factory=dict)

    def keep(self, **figures: Tensor) -> None:  # (B, T), or (B,) for all tokens of an answer
        """Keep what each token of the batch got, by names of `TOKEN_FIGURES`, for its samples."""
        self.tokens |= figures

    def add(self, minibatch: Mapping[str, float]) -> None:
        """Count the figures of one minibatch."""
        self.n_minibatches += 1
        for name, value in minibatch.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def watch_ratio(self, log_ratio_abs_max: Tensor) -> None:
        """Keep the largest |log ratio| of the first minibatch, before any step of this update."""
        if self.n_minibatches == 0:
            self.first_ratio_error = max(self.first_ratio_error, float(log_ratio_abs_max))

    def count_step(self, norms: tuple[float, float], *, is_finite: bool) -> None:
        """Count one optimiser step, or one that was left out."""
        self.norms.append(norms)
        self.n_steps += is_finite
        self.n_skipped += not is_finite

    def warnings(self, update: int) -> Iterator[Warned]:
        """What the user must know of this update."""
        if self.n_skipped:
            yield Warned(
                f"{self.n_skipped} optimiser steps of update {update} were left out: "
                "their gradient is not a number.",
                "Lower the learning rate if this comes again.",
            )

    def metrics(self) -> dict[str, float]:
        """The update's figures under their names in the glossary."""
        n_norms = max(len(self.norms), 1)
        n = max(self.n_minibatches, 1)
        return {
            **{name: value / n for name, value in self.sums.items()},
            "policy/grad_norm": sum(p for p, _ in self.norms) / n_norms,
            "value/grad_norm": sum(v for _, v in self.norms) / n_norms,
            "optim/steps": float(self.n_steps),
        }


class Clock:
    """Seconds per phase of one update."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Count the time of the body as `phase`, also when it ends with an exception."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[phase] = time.perf_counter() - began

    def metrics(self) -> dict[str, float]:
        """Seconds under their names in the glossary."""
        return {f"time/{phase}": seconds for phase, seconds in self._seconds.items()}
