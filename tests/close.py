"""The only place where tests say how near is near enough.

A tolerance typed by hand hides mistakes (torchtune's PPO loss tests have rtol=1e6), so a test
names why two numbers may differ, and the level says how much.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch


class Level(NamedTuple):
    """Largest |actual − expected| ≤ absolute + relative·|expected|."""

    absolute: float
    relative: float


EXACT = Level(0.0, 0.0)  # same operations in the same order: bit for bit
FLOAT64 = Level(1e-10, 1e-10)  # other operations, all of them in float64
FLOAT32 = Level(1e-6, 1e-5)  # other operations in float32
SLOPE = Level(1e-7, 1e-6)  # a gradient and central differences, both in float64
FORWARD = Level(5e-5, 1e-5)  # a float32 network run with another batch, padding or cache
BFLOAT16 = Level(5e-2, 2e-2)  # the same in bfloat16


def assert_close(actual: Any, expected: Any, level: Level) -> None:
    """Fail unless shapes agree and every entry is within `level`. NaN is never close."""
    actual, expected = _array(actual), _array(expected)
    assert actual.shape == expected.shape, f"shape {actual.shape}, expected {expected.shape}"
    if actual.size == 0:
        return
    assert np.isfinite(expected).all(), f"expected values must be finite: {expected}"
    excess = np.abs(actual - expected) - level.relative * np.abs(expected)
    worst = np.unravel_index(np.argmax(np.nan_to_num(excess, nan=np.inf)), excess.shape)
    assert (excess <= level.absolute).all(), (
        f"at {tuple(map(int, worst))}: {actual[worst]!r}, expected {expected[worst]!r} ({level})"
    )


def _array(x: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    if isinstance(x, torch.Tensor):
        x = x.detach().cpu().double().numpy()
    return np.asarray(x, dtype=np.float64)
