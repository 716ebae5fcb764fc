"""Models that read a prompt with one stack and write the answer with another, as T5 does.

B batch, P prompt tokens, R tokens written, H hidden size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Source(NamedTuple):
    """Prompts as the encoder read them."""

    states: Tensor  # (B, P, H)
    is_prompt: Tensor  # (B, P) bool, right-padded

    def select(self, index: Tensor) -> Source:
        """The rows at `index`, in its order."""
        return Source(self.states[index], self.is_prompt[index])


def encode(
    model: Any,
    prompt_ids: Tensor,  # (B, P) left-padded
    prompt_mask: Tensor,  # (B, P) bool
) -> Source:
    """Read prompts. Encoders with absolute positions count from the first column, so pad right."""
    order = prompt_mask.long().argsort(dim=1, descending=True, stable=True)
    is_prompt = prompt_mask.gather(1, order)
    output = model.get_encoder()(
        input_ids=prompt_ids.gather(1, order), attention_mask=is_prompt.long()
    )
    return Source(output.last_hidden_state, is_prompt)


def decode(model: Any, source: Source, ids: Tensor, cache: Any = None, **kwargs: bool) -> Any:
    """Send ids (B, R) through the decoder; its output has `last_hidden_state` (B, R, H).

    No mask of the answer: what is padding lies at the right, and no token sees to its right.
    """
    return model.get_decoder()(
        input_ids=ids,
        encoder_hidden_states=source.states,
        encoder_attention_mask=source.is_prompt.long(),
        past_key_values=cache,
        **kwargs,
    )


def started(model: Any, ids: Tensor) -> Tensor:
    """(B, R) ids behind the token that a decoder starts with: (B, R + 1)."""
    start = model.config.decoder_start_token_id
    return torch.nn.functional.pad(ids, (1, 0), value=start)
