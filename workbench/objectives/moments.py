"""Mean and spread of numbers that come batch by batch."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor


class Moments(NamedTuple):
    """Of all numbers so far: how many, their mean, and the sum of squared distances from it."""

    n: float
    mean: float
    squares: float

    @classmethod
    def of(cls, values: Tensor) -> Moments:
        """Those of one batch."""
        wide = values.double()
        mean = float(wide.mean())
        return cls(float(wide.numel()), mean, float((wide - mean).square().sum()))

    def merged(self, other: Moments) -> Moments:
        """Those of both together (Chan, Golub & LeVeque 1979, eq. 2.1)."""
        n = self.n + other.n
        step = other.mean - self.mean
        return Moments(
            n,
            self.mean + step * other.n / n,
            self.squares + other.squares + step * step * self.n * other.n / n,
        )

    @property
    def std(self) -> float:
        """Standard deviation, with n below."""
        return math.sqrt(self.squares / self.n)
