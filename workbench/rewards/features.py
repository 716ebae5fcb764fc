"""What a frozen base makes of answers: features for small probes.

B answers, R response tokens, L layers, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workbench.config.probe import POOLINGS
from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel

_TOKENS_AT_ONCE = 4096

Floats32 = NDArray[np.float32]
Encoded = tuple[list[int], list[int]]


def answer_features(
    model: LoadedModel,
    prompts: Sequence[Sequence[Message]],
    texts: Sequence[str],
    layers: Sequence[int],
) -> Floats32:
    """Features (B, L, 2, H) of answers given as text, in the order of `layers` and `POOLINGS`.

    What does not fit the context is cut: answers at their end, prompts at their beginning.
    """
    rows = [
        (model.encode_prompt(prompt), encode_answer(model.tokenizer, text, model.stop_id))
        for prompt, text in zip(prompts, texts, strict=True)
    ]
    return features_of_ids(model, rows, layers)


@torch.no_grad()
def features_of_ids(model: LoadedModel, rows: Sequence[Encoded], layers: Sequence[int]) -> Floats32:
    """As `answer_features`, of prompts and answers given as token ids, stop token included."""
    rows = [_fitting(model, row) for row in rows]
    order = sorted(range(len(rows)), key=lambda i: -_length(rows[i]))
    shape = (len(rows), len(layers), len(POOLINGS), model.hidden_size)
    features = np.zeros(shape, dtype=np.float32)
    start = 0
    while start < len(order):
        chunk = order[start : start + max(1, _TOKENS_AT_ONCE // _length(rows[order[start]]))]
        features[chunk] = _of_batch(model, [rows[i] for i in chunk], layers)
        start += len(chunk)
    return features


def _of_batch(model: LoadedModel, rows: Sequence[Encoded], layers: Sequence[int]) -> Floats32:
    prompt_ids, prompt_mask = pad_prompts(model, [prompt for prompt, _ in rows])
    closed_ids, is_closed = pad_answers(model, [answer for _, answer in rows])
    # One column more: state t is the one before token t, so the last comes before the padding.
    ids = torch.nn.functional.pad(closed_ids, (0, 1), value=model.pad_id)
    is_response = torch.nn.functional.pad(is_closed, (0, 1), value=False)
    wanted = [n - 1 for n in layers]
    with adapters.active(model, None), model.keeping(wanted) as outputs:
        last = model.response_states(prompt_ids, prompt_mask, ids, is_response)[:, 1:]
    start = 1 if model.is_encoder_decoder else prompt_ids.shape[1]
    found = []
    for n in layers:
        states = last
        if n < model.n_layers:
            states = normalised(outputs[n - 1][:, start : start + closed_ids.shape[1]])
        found.append(pooled(states, is_closed))
    features: Floats32 = torch.stack(found, dim=1).cpu().numpy()
    return features


def normalised(states: Tensor) -> Tensor:
    """States (B, R, H) of root mean square 1 each, as the last norm makes those of the last layer.

    Without it a few tokens, whose states are a hundred times as long, would make the mean.
    """
    return torch.nn.functional.rms_norm(states.float(), states.shape[-1:], eps=1e-12)


def pooled(states: Tensor, is_closed: Tensor) -> Tensor:  # (B, R, H), (B, R) -> (B, 2, H)
    """The state at the last token of each answer, and the mean over its tokens."""
    states, n_tokens = states.float(), is_closed.sum(1)
    last = states[torch.arange(len(states), device=states.device), n_tokens - 1]
    mean = (states * is_closed.unsqueeze(-1)).sum(1) / n_tokens.unsqueeze(-1)
    return torch.stack([last, mean], dim=1)


def _fitting(model: LoadedModel, row: Encoded) -> Encoded:
    prompt, (*answer, stop) = row
    closed = [*answer[: model.context_length // 2], stop]
    return prompt[len(closed) - model.context_length + 1 :], closed


def _length(row: Encoded) -> int:
    return len(row[0]) + len(row[1])
