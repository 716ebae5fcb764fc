"""A trained policy: an adapter and, for the value-based ones, heads that guide its sampling.

Whoever answers with a run's policy gets it from `load`, so that the guidance is never forgotten.
B answers, H hidden size, V vocabulary.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from workbench.data.folders import GUIDANCE
from workbench.errors import UserError
from workbench.models import adapters
from workbench.models.heads import QHead, ScalarHead
from workbench.models.loading import LoadedModel


class Guidance(nn.Module):
    """Sampling by policy plus advantage: logits + β·(Q̂ − V), with Q̂ = min_i Q_i.

    What is sampled is π(a|s)·exp(β·(Q̂(s, a) − V(s))), normalised: the KL-bounded improvement of
    the policy. V is the same for all tokens of a state, so it changes no probability.

    Source: Snell et al. 2022 (arXiv:2206.11871), section 4.
    """

    def __init__(self, q_heads: Sequence[QHead], value_head: ScalarHead, beta: float) -> None:
        super().__init__()
        self.q = nn.ModuleList(q_heads)
        self._q_heads = list(q_heads)
        self.value = value_head
        self.beta = beta

    def forward(self, states: Tensor, logits: Tensor) -> Tensor:  # (B, H), (B, V) -> (B, V)
        """The logits to sample from."""
        q = functools.reduce(torch.minimum, [h.values_all(states) for h in self._q_heads])
        steered: Tensor = logits + self.beta * (q - self.value(states)[:, None])
        return steered


class Policy(NamedTuple):
    """What to sample from: the adapter of this name and, where there is one, its guidance."""

    adapter: str
    guidance: Guidance | None


def load(base: LoadedModel, name: str, folder: Path) -> Policy:
    """Put a run's policy on the base, frozen, under the name given.

    Raises:
        UserError: The folder holds no policy for this model.
    """
    adapters.load(base, name, folder)
    path = folder / GUIDANCE
    return Policy(name, _read(base, path) if path.exists() else None)


def save_guidance(guidance: Guidance, folder: Path) -> None:
    """Write the heads beside an adapter."""
    weights = {k: v.detach().cpu().contiguous() for k, v in guidance.state_dict().items()}
    # One entry and no more: safetensors writes several in an order that changes from run to run,
    # and equal heads must be equal files.
    save_file(weights, str(folder / GUIDANCE), metadata={"beta": str(guidance.beta)})


def _read(base: LoadedModel, path: Path) -> Guidance:
    with safe_open(str(path), "pt") as file:
        weights = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    try:
        guidance = _blank(base, weights, float(metadata["beta"]))
        guidance.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(
            f"The heads of {path.parent.name} were not made for {base.info.name}.",
            "Load the model that the policy was trained on.",
        ) from error
    return guidance.to(base.device).requires_grad_(False)


def _blank(base: LoadedModel, weights: dict[str, Tensor], beta: float) -> Guidance:
    """Heads of the shapes that were saved, to be filled."""
    n_heads = len({key.split(".")[1] for key in weights if key.startswith("q.")})
    rank = len(weights["q.0.down.weight"])
    output_head = base.model.get_output_embeddings()
    heads = [QHead(output_head, rank, torch.Generator()) for _ in range(n_heads)]
    return Guidance(heads, ScalarHead(base.hidden_size, bias=True), beta)
