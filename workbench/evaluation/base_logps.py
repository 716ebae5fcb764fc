"""How likely a base finds whole answers: a baseline for rewards. B answers, R response tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel
from workbench.objectives.preference import sequence_logps


@torch.no_grad()
def mean_logps(
    model: LoadedModel, prompts: Sequence[Sequence[Message]], texts: Sequence[str]
) -> list[float]:
    """Log-probability per token of each answer, stop token included, under the bare base.

    The mean and not the sum, which would mostly say how short an answer is. What does not fit the
    context is cut: answers at their end, prompts at their beginning.
    """
    rows = [_encode(model, prompt, text) for prompt, text in zip(prompts, texts, strict=True)]
    prompt_ids, prompt_mask = pad_prompts(model, [prompt for prompt, _ in rows])
    answer_ids, is_answer = pad_answers(model, [answer for _, answer in rows])
    with adapters.active(model, None):
        states = model.response_states(prompt_ids, prompt_mask, answer_ids, is_answer)
        logps, _ = model.logps(states, answer_ids, is_answer, temperature=1.0)
    means: list[float] = sequence_logps(logps, is_answer, average=True).tolist()
    return means


def _encode(
    model: LoadedModel, prompt: Sequence[Message], text: str
) -> tuple[list[int], list[int]]:
    answer = encode_answer(model.tokenizer, text, model.stop_id)[: model.context_length // 2]
    return model.encode_prompt(prompt)[len(answer) - model.context_length :], answer
