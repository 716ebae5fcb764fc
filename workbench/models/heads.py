"""Scalar heads on a trunk's hidden states: the value of a state, the reward of an answer.

B batch, T tokens, H hidden size.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class ScalarHead(nn.Module):
    """One number per position: w · h (+ b), computed in float32 whatever the trunk's dtype.

    A value head starts at 0 with a bias, so V = 0 before learning. A reward head starts at
    N(0, 1/√(H+1)) without one, as Hugging Face's sequence classifiers have it (Stiennon et al.
    2020, appendix C.1, minus the bias that the preference loss cannot see).
    """

    def __init__(self, hidden_size: int, *, bias: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, 1, bias=bias, dtype=torch.float32)
        nn.init.zeros_(self.linear.weight)
        if bias:
            nn.init.zeros_(self.linear.bias)

    def init_normal_(self, generator: torch.Generator) -> None:
        """Draw the weights as a reward head needs them."""
        std = 1.0 / math.sqrt(self.linear.in_features + 1)
        with torch.no_grad():
            self.linear.weight.normal_(0.0, std, generator=generator)

    def forward(self, states: Tensor) -> Tensor:  # (B, T, H) -> (B, T)
        """One float32 number per position."""
        scalars: Tensor = self.linear(states.float()).squeeze(-1)
        return scalars
