"""What a model's tokenizer makes of texts, without the model in memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from workbench.data.chat_template import encode_answer, encode_prompt, encode_source
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models import folder as model_folder
from workbench.models.catalog import ModelInfo
from workbench.models.special_tokens import check_vocabulary

Text = tuple[Sequence[Message], str | None]
"""A prompt, and the answer to it if there is one."""


def lengths(info: ModelInfo, texts: Sequence[Text]) -> Iterator[int]:
    """Tokens of each text as training sees it: prompt, answer and its stop token.

    Raises:
        UserError: The tokenizer cannot be read.
    """
    tokenizer = _tokenizer(info.path, info.digest)
    encode = encode_source if info.is_encoder_decoder else encode_prompt
    for messages, answer in texts:
        n_answer = 0 if answer is None else len(encode_answer(tokenizer, answer, 0))
        yield len(encode(tokenizer, messages)) + n_answer


def problem(info: ModelInfo) -> str:
    """Why tokenizer and model do not fit together, as a sentence; empty when they do.

    Raises:
        UserError: The tokenizer cannot be read.
    """
    found = model_folder.read(info.path)
    n_rows = found.text_config.get("vocab_size")
    if not isinstance(n_rows, int):
        return ""
    tokenizer = _tokenizer(info.path, info.digest)
    generation = _json(info.path / "generation_config.json")
    sources = (generation.get("eos_token_id"), found.text_config.get("eos_token_id"))
    return check_vocabulary(tokenizer, sources, n_rows)


@functools.lru_cache(maxsize=4)
def _tokenizer(path: Path, _digest: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"The tokenizer of {path.name} cannot be read: {error}",
            "Check that its folder is complete.",
        ) from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
