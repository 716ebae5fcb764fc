"""Answers that grow by a token at a time; keys and values of what was read stay in a cache.

B answers, P prompt tokens, H hidden size.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from workbench.models import encoder_decoder
from workbench.models.encoder_decoder import Source
from workbench.objectives.masking import position_ids


class Growing(Protocol):
    """A batch of answers in the making; every state is the one that predicts the next token."""

    def start(self) -> Tensor:
        """States (B, H) before the first token."""

    def append(self, tokens: Tensor) -> Tensor:
        """States (B, H) after one more token (B,) each."""

    def select(self, index: Tensor) -> None:
        """Go on with the rows at `index`, which may come more than once."""


class GrowingTexts:
    """Prompt and answer are one text, as causal models have it."""

    def __init__(
        self, model: Any, prompt_ids: Tensor, prompt_mask: Tensor, takes_positions: bool
    ) -> None:
        self._model = model.base_model
        self._prompt_ids = prompt_ids
        self._attention_mask = prompt_mask.long()
        self._takes_positions = takes_positions
        self._cache: Any = None

    def start(self) -> Tensor:
        """Read the prompts."""
        return self._forward(self._prompt_ids, position_ids(self._attention_mask))

    def append(self, tokens: Tensor) -> Tensor:
        """Read one token each, at the position behind what is there."""
        positions = self._attention_mask.sum(1, keepdim=True)
        self._attention_mask = torch.nn.functional.pad(self._attention_mask, (0, 1), value=1)
        return self._forward(tokens[:, None], positions)

    def select(self, index: Tensor) -> None:
        """Rows of cache and mask."""
        self._cache.batch_select_indices(index)
        self._attention_mask = self._attention_mask[index]

    def _forward(self, ids: Tensor, positions: Tensor) -> Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=self._attention_mask,
            past_key_values=self._cache,
            use_cache=True,
            **({"position_ids": positions} if self._takes_positions else {}),
        )
        self._cache = output.past_key_values
        states: Tensor = output.last_hidden_state[:, -1]
        return states


class GrowingAnswers:
    """The prompt was read by an encoder; the answer begins with a start token of its own."""

    def __init__(self, model: Any, source: Source, state_scale: float) -> None:
        self._model = model
        self._source = source
        self._state_scale = state_scale
        self._cache: Any = None

    def start(self) -> Tensor:
        """Read the start token."""
        nothing = torch.empty(len(self._source.states), 0, dtype=torch.long)
        ids = encoder_decoder.started(self._model, nothing.to(self._source.states.device))
        return self._forward(ids)

    def append(self, tokens: Tensor) -> Tensor:
        """Read one token each."""
        return self._forward(tokens[:, None])

    def select(self, index: Tensor) -> None:
        """Rows of both caches and of the prompts that the answers look at."""
        self._cache.batch_select_indices(index)
        self._source = self._source.select(index)

    def _forward(self, ids: Tensor) -> Tensor:
        output = encoder_decoder.decode(self._model, self._source, ids, self._cache, use_cache=True)
        self._cache = output.past_key_values
        states: Tensor = output.last_hidden_state[:, -1] * self._state_scale
        return states
