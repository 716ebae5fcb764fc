"""Splits by prompt: no prompt on both sides, however it is written.

Two prompts are the same here when they differ in case and white space only. A model that has seen
one of them in training has seen the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from workbench.data.records import Message, Split


class SplitPlan:
    """Which split each prompt goes into.

    A prompt that stands in both splits goes with the held-out ones: leaving a few out of training
    costs less than measuring on what was learned.

    Args:
        heldout_share: Share of the prompts to hold out, drawn by their texts; None keeps the split
            that each prompt has.
    """

    def __init__(self, heldout_share: float | None = None) -> None:
        self._share = heldout_share
        self._keys: dict[Split, set[bytes]] = {"train": set(), "heldout": set()}

    def add(self, messages: Sequence[Message], split: Split) -> bytes:
        """Note the split that a prompt has; all have to be known before the first is asked for.

        Returns:
            What `split_of` takes for this prompt, in few bytes.
        """
        key = _key(messages)
        self._keys[split].add(key)
        return key

    @property
    def n_leaking(self) -> int:
        """How many prompts stand in both splits as they are."""
        return len(self._keys["train"] & self._keys["heldout"])

    @property
    def n_prompts(self) -> int:
        """How many prompts there are."""
        return len(self._keys["train"] | self._keys["heldout"])

    def split_of(self, prompt: Sequence[Message] | bytes) -> Split:
        """Where a prompt goes."""
        key = prompt if isinstance(prompt, bytes) else _key(prompt)
        if self._share is None:
            return "heldout" if key in self._keys["heldout"] else "train"
        drawn = int.from_bytes(key[:8], "big") / 2**64
        return "heldout" if drawn < self._share else "train"


def _key(messages: Sequence[Message]) -> bytes:
    said = "\0".join(f"{m.role}\0{' '.join(m.content.casefold().split())}" for m in messages)
    return hashlib.blake2b(said.encode("utf-8", "surrogatepass"), digest_size=12).digest()
