"""The probability of a verdict, against the definition."""

from __future__ import annotations

import math

import torch

from tests.close import FLOAT64, assert_close
from workbench.objectives.verdicts import first_probability


def test_only_the_two_verdicts_compete() -> None:
    first = [[0.2, 0.05], [1e-9, 1e-12], [0.3, 0.0]]
    second = [[0.1], [3e-9], [0.3]]
    expected = [0.25 / 0.35, (1e-9 + 1e-12) / (4e-9 + 1e-12), 0.5]
    logs = [torch.tensor(rows, dtype=torch.float64).log() for rows in (first, second)]
    assert_close(first_probability(*logs), expected, FLOAT64)


def test_verdicts_that_the_model_finds_absurd_still_compete() -> None:
    first, second = (torch.tensor([[x]], dtype=torch.float64) for x in (-900.0, -901.0))
    assert_close(first_probability(first, second), [1 / (1 + math.exp(-1))], FLOAT64)
