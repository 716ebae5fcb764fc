"""What one PPO update learns from. B answers, P prompt tokens, T response tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Rollout(NamedTuple):
    """A batch of sampled answers with everything that was measured when they were sampled.

    Computed once per update, detached, and indexed by whole answers: an epoch's permutation
    selects the same rows of every field.
    """

    prompt_ids: Tensor  # (B, P) left-padded
    prompt_mask: Tensor  # (B, P) bool, True for real tokens
    response_ids: Tensor  # (B, T) right-padded
    is_response: Tensor  # (B, T) bool, True up to and including the stop token
    old_logps: Tensor  # (B, T) of the policy that sampled
    ref_logps: Tensor  # (B, T) of the reference
    old_values: Tensor  # (B, T), V(s_t) before token t
    scores: Tensor  # (B,) of the whole answers
    ended: Tensor  # (B,) bool, True when a stop token ended the answer
    token_scores: Tensor | None = None  # (B, T), by how much each token raised the score
    trunk: Tensor | None = None  # (B, P + T + 1, H), input of the first adapted layer

    def widths(self) -> list[int]:
        """Tokens of each answer with its prompt, padding left out."""
        widths: list[int] = (self.prompt_mask.sum(1) + self.is_response.sum(1)).tolist()
        return widths

    def select(self, index: Tensor) -> Rollout:
        """The answers at `index` (integers or bool), in its order."""
        chosen = {name: f[index] for name, f in self._asdict().items() if f is not None}
        return Rollout(**chosen)

    def trimmed(self) -> Rollout:
        """The same without columns that are padding in every row."""
        n_prompt = self.prompt_mask.shape[1]
        left = n_prompt - int(self.prompt_mask.sum(1).max())
        right = int(self.is_response.sum(1).max())
        trunk = None if self.trunk is None else self.trunk[:, left : n_prompt + right]
        token_scores = None if self.token_scores is None else self.token_scores[:, :right]
        return self._replace(
            prompt_ids=self.prompt_ids[:, left:],
            prompt_mask=self.prompt_mask[:, left:],
            response_ids=self.response_ids[:, :right],
            is_response=self.is_response[:, :right],
            old_logps=self.old_logps[:, :right],
            ref_logps=self.ref_logps[:, :right],
            old_values=self.old_values[:, :right],
            token_scores=token_scores,
            trunk=trunk,
        )

    def to(self, device: torch.device | str) -> Rollout:
        """The same on another device."""
        return Rollout(**{n: f.to(device) for n, f in self._asdict().items() if f is not None})

    @staticmethod
    def joined(parts: Sequence[Rollout]) -> Rollout:
        """Several batches as one: prompts padded at the left, answers at the right."""
        n_prompt = max(part.prompt_ids.shape[1] for part in parts)
        n_response = max(part.response_ids.shape[1] for part in parts)
        padded = [part._padded(n_prompt, n_response) for part in parts]
        names = [name for name, field in padded[0]._asdict().items() if field is not None]
        return Rollout(**{n: torch.cat([getattr(p, n) for p in padded]) for n in names})

    def _padded(self, n_prompt: int, n_response: int) -> Rollout:
        left = n_prompt - self.prompt_ids.shape[1]
        right = n_response - self.response_ids.shape[1]

        def wide(field: Tensor, left: int, right: int) -> Tensor:
            shape = list(field.shape)
            parts = [field.new_zeros([shape[0], n, *shape[2:]]) for n in (left, right)]
            return torch.cat([parts[0], field, parts[1]], dim=1)

        return Rollout(
            prompt_ids=wide(self.prompt_ids, left, 0),
            prompt_mask=wide(self.prompt_mask, left, 0),
            response_ids=wide(self.response_ids, 0, right),
            is_response=wide(self.is_response, 0, right),
            old_logps=wide(self.old_logps, 0, right),
            ref_logps=wide(self.ref_logps, 0, right),
            old_values=wide(self.old_values, 0, right),
            scores=self.scores,
            ended=self.ended,
            token_scores=None if self.token_scores is None else wide(self.token_scores, 0, right),
            trunk=None if self.trunk is None else wide(self.trunk, left, right),
        )
