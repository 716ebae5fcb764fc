"""Our side of a benchmark: the model as the program loads it, with prompts given as token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from workbench.cancel import CancelToken
from workbench.data.records import Message, Prompt
from workbench.models import catalog, loading
from workbench.models.loading import LoadedModel


def load_for_ids(folder: str, device: str, dtype: str) -> LoadedModel:
    """The model, reading a prompt's text as a list of ids, and never ending an answer by itself.

    Both only so that every side works on the same tokens and on equally many: nothing of what is
    computed changes.
    """
    model = loading.load(
        catalog.describe(Path(folder)),
        device=device,
        dtype=dtype,
        cancel=CancelToken(),
        on_progress=lambda *_: None,
    )

    def ids_of(messages: Sequence[Message]) -> list[int]:
        ids: list[int] = json.loads(messages[-1].content)
        return ids

    model.encode_prompt = ids_of  # type: ignore[method-assign]
    model.stop_ids = frozenset({model.model.config.vocab_size})
    return model


def prompts_of_ids(prompts: Sequence[Sequence[int]]) -> list[Prompt]:
    """Prompts whose text is their ids."""
    return [
        Prompt(
            i + 1,
            (Message("user", json.dumps(ids)),),
            "test",
            "en",
            "train",
            "2026-01-01T00:00:00Z",
        )
        for i, ids in enumerate(prompts)
    ]
