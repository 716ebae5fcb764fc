"""Heads on a trunk's hidden states: the value of a state, the reward of an answer, Q of a token.

B batch, T tokens, N states, H hidden size, V vocabulary.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from workbench.objectives.logprobs import linear_logps


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


class MemberHeads(nn.Module):
    """Several scalar heads on one trunk, each with a start of its own: (..., H) -> (..., M).

    Lakshminarayanan et al. 2017 (arXiv:1612.01474) train whole networks; here the trunk is one,
    so the members differ less, and cost a number per hidden one each.
    """

    def __init__(self, hidden_size: int, n_members: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden_size, n_members, bias=False, dtype=torch.float32)

    def init_normal_(self, generators: Sequence[torch.Generator]) -> None:
        """Draw each member's weights as a reward head needs them, from its own generator."""
        std = 1.0 / math.sqrt(self.linear.in_features + 1)
        with torch.no_grad():
            for row, generator in zip(self.linear.weight, generators, strict=True):
                row.normal_(0.0, std, generator=generator)

    def forward(self, states: Tensor) -> Tensor:
        """One float32 number per position and member."""
        scalars: Tensor = self.linear(states.float())
        return scalars

    @torch.no_grad()
    def average_into_(self, head: ScalarHead) -> None:
        """Make `head` the mean head: heads are linear, so its score is the mean of the scores."""
        head.linear.weight.copy_(self.linear.weight.mean(dim=0, keepdim=True))


class TieParameter(nn.Module):
    """η > 0 of Rao and Kupper, learned as its logarithm so that it stays above 0.

    Attributes:
        lr_scale: Adam moves each number by about the learning rate, and one that is alone has to
            go a long way in the few steps of a run.
    """

    lr_scale = 50.0

    def __init__(self, value: float, *, is_learned: bool) -> None:
        super().__init__()
        start = torch.tensor(math.log(value), dtype=torch.float32)
        self.log_value = nn.Parameter(start, requires_grad=is_learned)

    def forward(self) -> Tensor:
        """η."""
        return self.log_value.exp()


class KeptWeights(nn.Module):
    """Copies of parameters as they were at their best; they lie in checkpoints and never learn."""

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        super().__init__()
        for i, parameter in enumerate(parameters):
            self.register_buffer(f"p{i}", parameter.detach().clone())

    @torch.no_grad()
    def keep_(self, parameters: Sequence[nn.Parameter]) -> None:
        """Copy the parameters as they are now."""
        for kept, parameter in zip(self.buffers(), parameters, strict=True):
            kept.copy_(parameter)

    @torch.no_grad()
    def restore_(self, parameters: Sequence[nn.Parameter]) -> None:
        """Set the parameters to what was kept."""
        for kept, parameter in zip(self.buffers(), parameters, strict=True):
            parameter.copy_(kept)


class QHead(nn.Module):
    """Q(s, a) = v·h + c + w_a·(B A h), with w_a the model's own output embedding of token a.

    Snell et al. 2022 (ILQL, arXiv:2206.11871) give Q a matrix over the vocabulary: with twins and
    target copies four times 28 million numbers beside SmolLM2's 106 million. Here A is (r, H) and
    B is (H, r), and which token is like which is what the model knows already. B, v and c start
    at 0, so Q = 0 before learning. The embedding is frozen and shared, never copied: not by
    `deepcopy` either, which makes the target copies.

    Everything is computed in the head's own float32, whatever the trunk's dtype.
    """

    def __init__(self, output_head: nn.Module, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        weight = output_head.weight
        assert isinstance(weight, Tensor)
        hidden_size = weight.shape[1]
        self._output_head = weakref.ref(output_head)
        self.state_value = nn.Linear(hidden_size, 1, dtype=torch.float32)
        self.down = nn.Linear(hidden_size, rank, bias=False, dtype=torch.float32)
        self.up = nn.Linear(rank, hidden_size, bias=False, dtype=torch.float32)
        with torch.no_grad():
            self.down.weight.normal_(0.0, hidden_size**-0.5, generator=generator)
        for parameter in (*self.state_value.parameters(), *self.up.parameters()):
            nn.init.zeros_(parameter)
        self.to(weight.device)

    def forward_taken(
        self,
        states: Tensor,  # (N, H)
        ids: Tensor,  # (N,)
    ) -> Tensor:  # (N,)
        """Q of the token that was taken in each state."""
        value, query = self._value_and_query(states)
        taken: Tensor = self._embedding()[ids].to(query.dtype)
        return value + (query * taken).sum(-1)

    def log_sum_exp(
        self,
        states: Tensor,  # (N, H)
        temperature: float = 1.0,
    ) -> Tensor:  # (N,)
        """Log Σ_a exp(Q(s, a) / T), over the whole vocabulary and without a (N, V) tensor."""
        value, query = self._value_and_query(states)
        weight = self._embedding().to(query.dtype)
        # log Σ exp z = z_0 − log p_0 for any token, and log p comes chunk by chunk.
        ids = torch.zeros(len(query), dtype=torch.long, device=query.device)
        logps, _ = linear_logps(query, weight, ids, temperature)
        return (value + query @ weight[0]) / temperature - logps

    def values_all(self, states: Tensor) -> Tensor:  # (N, H) -> (N, V)
        """Q of every token: for one step of decoding."""
        value, query = self._value_and_query(states)
        return value.unsqueeze(-1) + query @ self._embedding().to(query.dtype).t()

    def _value_and_query(self, states: Tensor) -> tuple[Tensor, Tensor]:  # (N,), (N, H)
        states = states.to(self.down.weight.dtype)
        return self.state_value(states).squeeze(-1), self.up(self.down(states))

    def _embedding(self) -> Tensor:  # (V, H)
        head = self._output_head()
        assert head is not None, "the model that this head belongs to is gone"
        weight = head.weight
        assert isinstance(weight, Tensor)
        return weight.detach()
