"""What a frozen base makes of answers: features for small linear probes.

B answers, R response tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel

_TOKENS_AT_ONCE = 4096

Floats32 = NDArray[np.float32]


@torch.no_grad()
def answer_features(
    model: LoadedModel, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
) -> Floats32:
    """Features (B, 2H) of answers: the state at the stop token, and the mean over the answer.

    The last state is what a reward head reads; the mean tells more of a model whose last state
    was never trained to sum up. What does not fit the context is cut: answers at their end,
    prompts at their beginning.
    """
    rows = [_encode(model, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    order = sorted(range(len(rows)), key=lambda i: -_length(rows[i]))
    features = np.zeros((len(rows), 2 * model.hidden_size), dtype=np.float32)
    start = 0
    while start < len(order):
        chunk = order[start : start + max(1, _TOKENS_AT_ONCE // _length(rows[order[start]]))]
        features[chunk] = _of_batch(model, [rows[i] for i in chunk])
        start += len(chunk)
    return features


def _of_batch(model: LoadedModel, rows: Sequence[tuple[list[int], list[int]]]) -> Floats32:
    prompt_ids, prompt_mask = pad_prompts(model, [prompt for prompt, _ in rows])
    closed_ids, is_closed = pad_answers(model, [answer for _, answer in rows])
    # One column more: state t is the one before token t, so the last comes before the padding.
    ids = torch.nn.functional.pad(closed_ids, (0, 1), value=model.pad_id)
    is_response = torch.nn.functional.pad(is_closed, (0, 1), value=False)
    with adapters.active(model, None):
        before = model.response_states(prompt_ids, prompt_mask, ids, is_response)
    states = before[:, 1:].float()  # (B, R, H) at each token
    n_tokens = is_closed.sum(1)
    last = states[torch.arange(len(rows), device=states.device), n_tokens - 1]
    mean = (states * is_closed.unsqueeze(-1)).sum(1) / n_tokens.unsqueeze(-1)
    found: Floats32 = torch.cat([last, mean], dim=1).cpu().numpy()
    return found


def _encode(
    model: LoadedModel, prompt: Sequence[Message], text: str
) -> tuple[list[int], list[int]]:
    *answer, stop = encode_answer(model.tokenizer, text, model.stop_id)
    closed = [*answer[: model.context_length // 2], stop]
    return model.encode_prompt(prompt)[len(closed) - model.context_length + 1 :], closed


def _length(row: tuple[list[int], list[int]]) -> int:
    return len(row[0]) + len(row[1])
