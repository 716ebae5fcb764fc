"""Counters of one update: means over its minibatches, seconds of its phases."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Totals:
    """Means over the minibatches of one update."""

    sums: dict[str, float] = field(default_factory=dict)
    norms: list[tuple[float, float]] = field(default_factory=list)  # policy, value head
    n_minibatches: int = 0
    n_steps: int = 0
    n_skipped: int = 0
    last_kl: float = 0.0
    first_ratio_error: float = 0.0

    @property
    def is_first(self) -> bool:
        """Whether the minibatch under way is the first, before any step of this update."""
        return self.n_minibatches == 0

    def add(self, minibatch: Mapping[str, float]) -> None:
        """Count the figures of one minibatch."""
        self.n_minibatches += 1
        self.last_kl = minibatch["policy/approx_kl"]
        for name, value in minibatch.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    def metrics(self) -> dict[str, float]:
        """The update's figures under their names in the glossary."""
        n_norms = max(len(self.norms), 1)
        return {
            **{name: value / self.n_minibatches for name, value in self.sums.items()},
            "policy/first_ratio_error": self.first_ratio_error,
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
