"""What a model makes of an answer that somebody else writes. H hidden size, V vocabulary."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from workbench.models import adapters
from workbench.models.decoding import pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.logprobs import token_logps


class Reader:
    """One answer under one adapter, read token by token: what was read stays in a cache.

    Attributes:
        state: (H,), last hidden state, from which the next token is predicted.

    Args:
        model: The loaded model.
        adapter: The adapter that reads, None for the base.
        prompt: Token ids.
    """

    @torch.no_grad()
    def __init__(self, model: LoadedModel, adapter: str | None, prompt: Sequence[int]) -> None:
        self._model = model
        self._adapter = adapter
        with adapters.active(model, adapter):
            self._answer = model.read(*pad_prompts(model, [prompt]))
            self.state = self._answer.start()[0]

    @torch.no_grad()
    def append(self, token: int) -> None:
        """Read one more token of the answer."""
        tokens = torch.tensor([token], device=self._model.device)
        with adapters.active(self._model, self._adapter):
            self.state = self._answer.append(tokens)[0]

    @torch.no_grad()
    def likeliest(self, k: int) -> list[int]:
        """The `k` likeliest next tokens, the likeliest first."""
        tokens: list[int] = self._model.logits(self.state).topk(k).indices.tolist()
        return tokens

    @torch.no_grad()
    def logp(self, token: int, temperature: float) -> Tensor:  # scalar, float32
        """Log-probability of a next token."""
        ids = torch.tensor(token, device=self._model.device)
        return token_logps(self._model.logits(self.state), ids, temperature)
