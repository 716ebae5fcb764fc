"""From hidden states to logits and log-probabilities, as the architecture has it.

B batch, R response tokens, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from workbench.objectives.logprobs import entropy, linear_logps, token_logps


class OutputHead:
    """The output head of a model and what its forward pass does around it.

    Attributes:
        module: The linear map to the vocabulary.
        is_plain: Whether logits are that map of the states and nothing else.
        state_scale: What a decoder's last hidden states are multiplied by before the map.
    """

    def __init__(self, model: Any) -> None:
        self.module: nn.Module = model.get_output_embeddings()
        self.is_plain = True
        self.state_scale = 1.0
        self._config = model.config.get_text_config()
        self._is_encoder_decoder = bool(model.config.is_encoder_decoder)

    def learn(
        self,
        states: Tensor,  # (B, R, H)
        wanted: Tensor,  # (B, R, V), the model's own logits of the same texts
    ) -> bool:
        """Find out which of the known ways gives these logits; False when none does."""
        tolerance = 1e-3 if states.dtype == torch.float32 else 5e-2

        def is_near(logits: Tensor) -> bool:
            return torch.allclose(logits.float(), wanted.float(), rtol=tolerance, atol=tolerance)

        shrunk = states.shape[-1] ** -0.5
        if is_near(self.module(states)):
            return True
        if is_near(self._changed(self.module(states))):
            self.is_plain = False
            return True
        # T5 with tied embeddings shrinks its states before the head (in its code, in no paper);
        # transformers tells it by another setting every few versions.
        if self._is_encoder_decoder and is_near(self.module(states * shrunk)):
            self.state_scale = shrunk
            return True
        return False

    def logits(self, states: Tensor) -> Tensor:  # (..., H) -> (..., V) float32
        """Logits with soft caps and scales, where there are some."""
        logits: Tensor = self.module(states)
        return (logits if self.is_plain else self._changed(logits)).float()

    def logps(
        self,
        states: Tensor,  # (B, R, H)
        ids: Tensor,  # (B, R)
        is_response: Tensor,  # (B, R) bool
        temperature: float,
        with_entropy_grad: bool,
    ) -> tuple[Tensor, Tensor]:  # (B, R) float32 each
        """Log-probabilities and entropies, of response tokens only; 0 elsewhere."""
        hidden, tokens = states[is_response], ids[is_response]
        if self.is_plain:
            weight, bias = self.module.weight, getattr(self.module, "bias", None)
            assert isinstance(weight, Tensor)
            flat, entropies = linear_logps(
                hidden,
                weight,
                tokens,
                temperature,
                bias=bias,
                with_entropy_grad=with_entropy_grad,
            )
        else:
            logits = self.logits(hidden)
            flat, entropies = token_logps(logits, tokens, temperature), entropy(logits, temperature)
        blank = flat.new_zeros(ids.shape)
        return (
            blank.masked_scatter(is_response, flat),
            blank.masked_scatter(is_response, entropies),
        )

    def _changed(self, logits: Tensor) -> Tensor:
        if scale := getattr(self._config, "logit_scale", None):
            logits = logits * scale
        if divisor := getattr(self._config, "logits_scaling", None):
            logits = logits / divisor
        if cap := getattr(self._config, "final_logit_softcapping", None):
            logits = cap * torch.tanh(logits / cap)
        return logits
