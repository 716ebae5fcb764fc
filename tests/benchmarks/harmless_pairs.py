"""Judged pairs for the benchmark of reward models, and what a model's lower layers make of them.

LoRA on the upper layers and probes leave the lower ones as they are, so what these make of the
texts is computed once for all methods and seeds, and kept in files. It changes time only.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from workbench.app.features import depths
from workbench.cancel import CancelToken
from workbench.data.chat_template import decode_answer, encode_answer, encode_prompt
from workbench.data.formats.preferences import read_preferences
from workbench.data.records import Message, Preference, Prompt
from workbench.models import catalog, loading
from workbench.models.loading import LoadedModel, Trunk
from workbench.rewards import features

MAX_LENGTH = 256
_LONGEST_ANSWER = 192
TOKENS_AT_ONCE = 4096

Row = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]


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


class Packed(NamedTuple):
    """Pairs as one row each: prompt, chosen answer, rejected answer; T tokens."""

    ids: Tensor  # (B, T)
    positions: Tensor  # (B, T), those of both answers follow the prompt's
    is_seen: Tensor  # (B, 1, T, T) bool, whether a token (row) sees another
    ends: Tensor  # (B, 2), the last token of each answer
    lengths: Tensor  # (B, 2) of the answers


def pack(rows: Sequence[Row]) -> Packed:
    """No answer sees the other, so both are what they are alone, and the prompt is read once."""
    width = max(map(_size, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    positions = torch.zeros_like(ids)
    is_seen = torch.eye(width, dtype=torch.bool).repeat(len(rows), 1, 1)
    for k, (prompt, chosen, rejected) in enumerate(rows):
        n, c, r = map(len, (prompt, chosen, rejected))
        ids[k, : n + c + r] = torch.tensor([*prompt, *chosen, *rejected])
        positions[k, : n + c + r] = torch.tensor([*range(n + c), *range(n, n + r)])
        is_seen[k, : n + c + r, : n + c + r] = True
        is_seen[k, n + c : n + c + r, n : n + c] = False
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    ends = [[len(p) + len(c) - 1, len(p) + len(c) + len(r) - 1] for p, c, r in rows]
    lengths = torch.tensor([[len(c), len(r)] for _, c, r in rows])
    return Packed(ids, positions, (is_seen & causal)[:, None], torch.tensor(ends), lengths)


class Lower:
    """What the lower layers make of all pairs, and the features of all answers.

    Attributes:
        features: (N, 2, L, 2, H) float16, of chosen and rejected answers.
    """

    def __init__(self, model: LoadedModel, n_layers: int, pairs: Pairs, room: Path) -> None:
        self.model, self.n_layers = model, n_layers
        self._rows: list[Row] = []
        for p in pairs.preferences:
            prompt = tuple(model.encode_prompt(p.prompt.messages))
            chosen, rejected = (
                tuple(encode_answer(model.tokenizer, text, model.stop_id))
                for text in (p.chosen, p.rejected)
            )
            self._rows.append((prompt, chosen, rejected))
        self._place = {
            (row[0], answer): (k, side)
            for k, row in enumerate(self._rows)
            for side, answer in enumerate(row[1:])
        }
        ends = np.cumsum([0, *map(_size, self._rows)])
        self._slices = [slice(a, b) for a, b in pairwise(ends.tolist())]
        done = room / "features.npy"
        mode: Any = "r+" if done.is_file() else "w+"
        shape = (int(ends[-1]), model.hidden_size)
        self._file = np.memmap(room / "lower.bin", np.float32, mode, shape=shape)
        if not done.is_file():
            np.save(done, self._compute())
        self.features = np.load(done)

    @torch.no_grad()
    def _compute(self) -> np.ndarray[Any, Any]:
        """Read every pair once, those of one length together."""
        layers = depths(self.model.n_layers)
        order = sorted(range(len(self._rows)), key=lambda k: -_size(self._rows[k]))
        found = np.zeros(
            (len(self._rows), 2, len(layers), 2, self.model.hidden_size), dtype=np.float16
        )
        start = 0
        while start < len(order):
            n = max(1, TOKENS_AT_ONCE // _size(self._rows[order[start]]))
            lot = order[start : start + n]
            packed = pack([self._rows[k] for k in lot])
            wanted = {*(n - 1 for n in layers if n < self.model.n_layers), self.n_layers - 1}
            with self.model._blocks.kept(wanted) as kept:
                last = self._read(packed)
            for i, k in enumerate(lot):
                self._file[self._slices[k]] = kept[self.n_layers - 1][i, : _size(self._rows[k])]
            for j, n_layers in enumerate(layers):
                states = kept.get(n_layers - 1)
                states = last if states is None else features.normalised(states)
                for side in range(2):
                    of_answer, is_answer = _answers(packed, states, side)
                    found[lot, side, j] = features.pooled(of_answer, is_answer).numpy()
            start += n
            print("read", min(start, len(order)), "of", len(order), flush=True)  # noqa: T201
        self._file.flush()
        return found

    def _read(self, packed: Packed) -> Tensor:
        output = self.model.model.base_model(
            input_ids=packed.ids,
            attention_mask=packed.is_seen,
            position_ids=packed.positions,
            use_cache=False,
        )
        states: Tensor = output.last_hidden_state
        return states

    def answer_states(
        self,
        prompt_ids: Tensor,
        prompt_mask: Tensor,
        closed_ids: Tensor,
        is_closed: Tensor,
        trunk: Trunk | None = None,
    ) -> Tensor:
        """In place of the model's own: from the file, and with both answers in one row."""
        assert trunk is None
        places = [
            self._place[tuple(prompt[seen].tolist()), tuple(answer[closed].tolist())]
            for prompt, seen, answer, closed in zip(
                prompt_ids, prompt_mask, closed_ids, is_closed, strict=True
            )
        ]
        numbers = list(dict.fromkeys(k for k, _ in places))
        packed = pack([self._rows[k] for k in numbers])
        below = torch.zeros(*packed.ids.shape, self.model.hidden_size)
        for i, k in enumerate(numbers):
            below[i, : _size(self._rows[k])] = torch.from_numpy(
                np.array(self._file[self._slices[k]])
            )
        with self.model._blocks.replaced(dict.fromkeys(range(self.n_layers), lambda _: below)):
            states = self._read(packed)
        rows = torch.tensor([numbers.index(k) for k, _ in places])
        return states[rows, packed.ends[rows, torch.tensor([side for _, side in places])]]


def _answers(packed: Packed, states: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """States (B, R, H) of one side's answers, and which of them are tokens."""
    lengths, ends = packed.lengths[:, side], packed.ends[:, side]
    columns = torch.arange(int(lengths.max()))
    places = (ends - lengths + 1)[:, None] + columns
    is_answer = columns < lengths[:, None]
    rows = torch.arange(len(states))[:, None]
    return states[rows, places.clamp(max=states.shape[1] - 1)], is_answer


def _size(row: Row) -> int:
    return sum(map(len, row))
