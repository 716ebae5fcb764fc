"""Our side of a benchmark: the model as the program loads it, with prompts given as token ids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

from tests.benchmarks.meter import Meter
from workbench.cancel import CancelToken
from workbench.config.lora import LoraSettings
from workbench.data.records import Message, Prompt
from workbench.models import adapters, catalog, loading
from workbench.models.loading import LoadedModel
from workbench.rewards.neural import ADAPTER, RewardModel
from workbench.training import tally


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
    texts = [(Message("user", json.dumps(ids)),) for ids in prompts]
    return [
        Prompt(i + 1, text, "test", "en", "train", "2026-01-01T00:00:00Z")
        for i, text in enumerate(texts)
    ]


def reward_model(model: LoadedModel, lora: LoraSettings) -> RewardModel:
    """A reward model that learns no more; what its scores are changes no time and no memory."""
    reward = RewardModel.fresh(model, lora, seed=1)
    reward.head.requires_grad_(False)
    adapters.freeze(model, ADAPTER)
    return reward


def with_clock(watch: Meter) -> None:
    """Let the program's `time/*` figures be read from the clock of the benchmark.

    They are wall time, which on a shared machine says how long other programs computed.
    """
    tally.time = SimpleNamespace(perf_counter=watch.seconds)  # type: ignore[assignment]
