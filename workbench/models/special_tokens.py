"""Which tokens end an answer, which one may fill what is empty, and whether the model has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from workbench.errors import UserError


def find_stop_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Stop tokens of the model's generation settings and of its tokenizer.

    Raises:
        UserError: There is none, the model cannot produce any, or it does not know the tokens of
            its tokenizer.
    """
    sources = (
        getattr(model.generation_config, "eos_token_id", None),
        model.config.get_text_config().eos_token_id,
    )
    n_rows = model.get_output_embeddings().weight.shape[0]
    if wrong := check_vocabulary(tokenizer, sources, n_rows):
        raise UserError(wrong, "Choose the tokenizer files that belong to this model.")
    return frozenset(i for i in _stop_ids(tokenizer, sources) if i < n_rows)


def check_vocabulary(tokenizer: Any, eos: Iterable[object], n_rows: int) -> str:
    """Why a tokenizer does not fit a model of `n_rows` tokens, as a sentence; empty when it does.

    Args:
        tokenizer: The tokenizer.
        eos: What the model's own settings say ends an answer: ids, lists of ids, None.
        n_rows: Tokens that the model knows.
    """
    if tokenizer.vocab_size > n_rows:
        return (
            f"The tokenizer has {tokenizer.vocab_size} tokens, the model knows {n_rows}: they do "
            "not belong together."
        )
    ids = _stop_ids(tokenizer, eos)
    if not ids:
        return "This model has no token that ends an answer."
    if min(ids) >= n_rows:
        return (
            f"The token that ends an answer has the number {min(ids)}, and the model can write "
            f"only those below {n_rows}: no answer would ever end."
        )
    return ""


def _stop_ids(tokenizer: Any, eos: Iterable[object]) -> set[int]:
    ids: set[int] = set()
    for found in (*eos, tokenizer.eos_token_id):
        if isinstance(found, list | tuple):
            ids |= {int(i) for i in found}
        elif isinstance(found, int):
            ids.add(found)
    return ids


def find_pad_id(model: Any, tokenizer: Any, stop_ids: frozenset[int]) -> int:
    """A padding id that is no stop token.

    Masks are explicit everywhere here, so the id itself only matters to readers of an exported
    reward model, which pool at the last token that is not padding.
    """
    candidates = [model.config.get_text_config().pad_token_id, tokenizer.pad_token_id]
    candidates += [tokenizer.unk_token_id, tokenizer.bos_token_id, 0]
    return next(int(c) for c in candidates if c is not None and c not in stop_ids)
