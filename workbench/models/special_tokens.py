"""Which tokens end an answer, and which one may fill what is empty."""

from __future__ import annotations

from typing import Any

from workbench.errors import UserError


def find_stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Stop tokens of the model's generation settings and of its tokenizer."""
    ids: set[int] = set()
    for eos in (
        getattr(model.generation_config, "eos_token_id", None),
        model.config.get_text_config().eos_token_id,
        tokenizer.eos_token_id,
    ):
        ids |= set(eos) if isinstance(eos, list | tuple) else {eos} if eos is not None else set()
    if not ids:
        raise UserError(
            "This model has no token that ends an answer.",
            "Choose a model whose tokenizer has an eos token.",
        )
    return frozenset(ids)


def find_pad_id(model: Any, tokenizer: Any, stop_ids: frozenset[int]) -> int:
    """A padding id that is no stop token.

    Masks are explicit everywhere here, so the id itself only matters to readers of an exported
    reward model, which pool at the last token that is not padding.
    """
    candidates = [model.config.get_text_config().pad_token_id, tokenizer.pad_token_id]
    candidates += [tokenizer.unk_token_id, tokenizer.bos_token_id, 0]
    return next(int(c) for c in candidates if c is not None and c not in stop_ids)
