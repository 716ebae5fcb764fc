"""What every training loop needs: seeds that a resumed run draws again, live settings, guards."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence

import torch

from workbench.errors import UserError
from workbench.models.decoding import seeds


def permutation(n: int, *key: int) -> list[int]:
    """A random order of `n` things that depends on nothing but `key`."""
    generator = torch.Generator().manual_seed(seeds(*key, n=1)[0])
    order: list[int] = torch.randperm(n, generator=generator).tolist()
    return order


def batch_indices(n: int, batch_size: int, update: int, seed: int) -> list[int]:
    """Indices of the prompts of one update: whole shuffled passes, one after the other."""
    first = update * batch_size
    passes = {
        p: permutation(n, seed, _ORDER, p)
        for p in range(first // n, (first + batch_size - 1) // n + 1)
    }
    return [passes[k // n][k % n] for k in range(first, first + batch_size)]


_ORDER = 1


def require_finite(values: Sequence[float], what: str) -> None:
    """Raise a sentence when a number is NaN or infinite.

    Raises:
        UserError: Naming `what`.
    """
    if not all(math.isfinite(v) for v in values):
        raise UserError(
            f"{what} is not a number any more.",
            "Lower the learning rate, or go on from the last checkpoint.",
        )


class LiveSettings:
    """Settings that may change while a run goes on, written by one thread and read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[str, float] = {}

    def set(self, name: str, value: float) -> None:
        """Takes effect at the next update."""
        with self._lock:
            self._values[name] = value

    def get(self, name: str, default: float) -> float:
        """The changed value, or `default` when nobody changed it."""
        with self._lock:
            return self._values.get(name, default)
