"""What one PPO update learns from. B answers, P prompt tokens, T response tokens."""

from __future__ import annotations

from typing import NamedTuple

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

    def select(self, index: Tensor) -> Rollout:
        """The answers at `index` (integers or bool), in its order."""
        return Rollout(*(field[index] for field in self))
