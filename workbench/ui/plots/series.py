"""A growing series and the few points of it that a chart draws. No Qt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MAX_POINTS = 2000
_RANGES = (10, 20, 50, 100, 200, 500)


class Series:
    """Points (x, y) with an exponential mean, in buffers that double; NaN is kept as a gap.

    Above `MAX_POINTS` the drawn points are the lowest and highest of each bucket, so a spike is
    never lost; one refresh costs the same however long the run is.
    """

    def __init__(self, smoothing: float = 0.9) -> None:
        self._smoothing = smoothing
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._n = 0
        self._x, self._y, self._smooth = (np.empty(256) for _ in range(3))
        self._mean = self._weight = 0.0

    def __len__(self) -> int:
        """Number of points."""
        return self._n

    def append(self, x: float, y: float) -> None:
        """Add a point to the right of all others."""
        if self._n == len(self._x):
            self._x, self._y, self._smooth = (
                np.concatenate([a, np.empty_like(a)]) for a in (self._x, self._y, self._smooth)
            )
        if np.isfinite(y):
            # The mean of an exponential window, unbiased at the start (Kingma & Ba 2015).
            self._mean = self._smoothing * self._mean + (1 - self._smoothing) * y
            self._weight = self._smoothing * self._weight + (1 - self._smoothing)
        self._x[self._n], self._y[self._n] = x, y
        self._smooth[self._n] = self._mean / self._weight if self._weight else np.nan
        self._n += 1

    def last(self) -> tuple[float, float] | None:
        """The newest point."""
        return (float(self._x[self._n - 1]), float(self._y[self._n - 1])) if self._n else None

    @property
    def x(self) -> Floats:
        """All x."""
        return self._x[: self._n]

    @property
    def y(self) -> Floats:
        """All y."""
        return self._y[: self._n]

    def drawn(self, smooth: bool) -> tuple[Floats, Floats]:
        """At most about MAX_POINTS points to draw, raw or smoothed."""
        x, y = self.x, (self._smooth if smooth else self._y)[: self._n]
        if self._n <= MAX_POINTS:
            return x, y
        size = -(-self._n // (MAX_POINTS // 2))
        n_full = self._n // size
        blocks = y[: n_full * size].reshape(n_full, size)
        filled = np.where(np.isfinite(blocks), blocks, 0.0)
        rows = np.arange(n_full)
        order = np.sort(np.stack([filled.argmin(1), filled.argmax(1)], axis=1), axis=1)
        index = (order + rows[:, None] * size).ravel()
        index = np.concatenate([index, np.arange(n_full * size, self._n)])
        return x[index], y[index]


def x_limit(last: float) -> float:
    """The right end of the x axis: it grows in steps (50, 100, 200, ...), not by points."""
    scale = 1.0
    while True:
        for step in _RANGES:
            if last <= step * scale:
                return step * scale
        scale *= 100.0


def y_limits(y: Floats, healthy: tuple[float, float] | None) -> tuple[float, float]:
    """Round limits that hold all finite values and, where it is near, the healthy band."""
    finite = y[np.isfinite(y)]
    if not len(finite):
        return healthy or (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if healthy is not None:
        reach = max(high - low, 0.25 * (healthy[1] - healthy[0]))
        low = min(low, healthy[0]) if low - healthy[0] < reach else low
        high = max(high, healthy[1]) if healthy[1] - high < reach else high
    if -0.02 * (high - low) < low < 0.0:
        low = 0.0  # rounding below zero is no reason for a negative axis
    if high - low < 1e-9:
        low, high = low - 0.5 * max(abs(low), 1e-3), high + 0.5 * max(abs(high), 1e-3)
    step = 10.0 ** np.floor(np.log10(high - low))
    step = step / 2 if (high - low) / step < 4 else step
    return float(np.floor(low / step) * step), float(np.ceil(high / step) * step)
