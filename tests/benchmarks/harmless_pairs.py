"""Judged pairs for the benchmark of reward models, and what a model's lower layers make of them.

LoRA on the upper layers and probes leave the lower ones as they are, so what these make of the
texts is computed once for all methods and seeds, and kept in files. It changes time only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.cancel import CancelToken
from workbench.data.chat_template import decode_answer, encode_answer, encode_prompt
from workbench.data.formats.preferences import read_preferences
from workbench.data.records import Message, Preference, Prompt
from workbench.models import catalog, loading
from workbench.models.loading import LoadedModel, Trunk
from workbench.rewards import features

MAX_LENGTH = 256
_LONGEST_ANSWER = 192
_LOT = 64


class Pairs(NamedTuple):
    """Preferences whose prompts are token ids as text, and lengths of the whole answers."""

    preferences: list[Preference]
    lengths: np.ndarray[Any, Any]  # (N, 2) characters of chosen and rejected, uncut
    n_cut: int


def load_model(folder: str) -> LoadedModel:
    """The model on one core, reading a prompt's text as a list of ids."""
    model = loading.load(
        catalog.describe(Path(folder)),
        device="cpu",
        dtype="float32",
        cancel=CancelToken(),
        on_progress=lambda *_: None,
    )

    def ids_of(messages: Sequence[Message]) -> list[int]:
        ids: list[int] = json.loads(messages[-1].content)
        return ids

    model.encode_prompt = ids_of  # type: ignore[method-assign]
    return model


def read_pairs(path: Path, model: LoadedModel) -> Pairs:
    """Pairs cut to `MAX_LENGTH` tokens: prompts at the left, so that the last turns stay."""
    rows = read_preferences(path).rows
    numbers: dict[tuple[Message, ...], int] = {}
    preferences, n_cut = [], 0
    for row in rows:
        prompt_id = numbers.setdefault(row.messages, len(numbers) + 1)
        answers = [_cut(model, text) for text in (row.first, row.second)]
        room = MAX_LENGTH - max(_length(model, text) for text in answers)
        ids = encode_prompt(model.tokenizer, row.messages)
        n_cut += len(ids) > room or answers != [row.first, row.second]
        messages = (Message("user", json.dumps(ids[-room:])),)
        prompt = Prompt(prompt_id, messages, "hh", "en", "train", "2026-01-01T00:00:00Z")
        n = len(preferences) + 1
        preferences.append(Preference(n, prompt, *answers, row.annotator, row.annotator_kind))
    lengths = np.array([[len(row.first), len(row.second)] for row in rows])
    return Pairs(preferences, lengths, n_cut)


def _cut(model: LoadedModel, text: str) -> str:
    ids = encode_answer(model.tokenizer, text, model.stop_id)
    if len(ids) <= _LONGEST_ANSWER:
        return text
    return decode_answer(model.tokenizer, ids[: _LONGEST_ANSWER - 1])


def _length(model: LoadedModel, text: str) -> int:
    return len(encode_answer(model.tokenizer, text, model.stop_id))


class Lower:
    """States of all texts after the lower layers, and the features of all answers.

    Attributes:
        features: (N, 2, L, 2, H) float16, of chosen and rejected answers.
    """

    def __init__(self, model: LoadedModel, n_layers: int, pairs: Pairs, room: Path) -> None:
        self.model, self.n_layers = model, n_layers
        self._states = model.states
        rows = [
            (
                model.encode_prompt(p.prompt.messages),
                encode_answer(model.tokenizer, text, model.stop_id),
            )
            for p in pairs.preferences
            for text in (p.chosen, p.rejected)
        ]
        self._places: dict[tuple[int, ...], slice] = {}
        n_tokens = 0
        for prompt, answer in rows:
            key = (*prompt, *answer)
            if key not in self._places:
                self._places[key] = slice(n_tokens, n_tokens + len(key))
                n_tokens += len(key)
        shape = (n_tokens, model.hidden_size)
        done = room / "features.npy"
        mode: Any = "r+" if done.is_file() else "w+"
        self._file = np.memmap(room / "lower.bin", np.float32, mode, shape=shape)
        if not done.is_file():
            np.save(done, self._compute(rows))
        self.features = np.load(done).reshape(len(pairs.preferences), 2, *np.load(done).shape[1:])

    def _compute(self, rows: Sequence[features.Encoded]) -> np.ndarray[Any, Any]:
        layers = features.depths(self.model.n_layers)
        self.model.states = self._keep  # type: ignore[method-assign]
        found = []
        for start in range(0, len(rows), _LOT):
            lot = features.features_of_ids(self.model, rows[start : start + _LOT], layers)
            found.append(lot.astype(np.float16))
            print("read", start + len(lot), "of", len(rows), flush=True)  # noqa: T201
        self._file.flush()
        self.model.states = self._states  # type: ignore[method-assign]
        return np.concatenate(found)

    def _keep(self, ids: Tensor, mask: Tensor, trunk: Trunk | None = None) -> Tensor:
        with self.model._blocks.kept([self.n_layers - 1]) as kept:
            states = self._states(ids, mask, trunk)
        for row, is_text, its in zip(ids, mask, kept[self.n_layers - 1], strict=True):
            self._file[self._places[tuple(row[is_text].tolist())]] = its[is_text].numpy()
        return states

    def give(self) -> None:
        """Let the model take the lower states from the file from now on."""
        self.model.states = self._from_file  # type: ignore[method-assign]

    def _from_file(self, ids: Tensor, mask: Tensor, trunk: Trunk | None = None) -> Tensor:
        if trunk is not None:
            return self._states(ids, mask, trunk)
        states = torch.zeros(*ids.shape, self.model.hidden_size)
        for row, is_text, its in zip(ids, mask, states, strict=True):
            place = self._places[tuple(row[is_text].tolist())]
            its[is_text] = torch.from_numpy(np.asarray(self._file[place]))
        return self._states(ids, mask, Trunk(states, self.n_layers))
