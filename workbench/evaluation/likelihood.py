"""How likely a model finds given texts: of answers to prompts, and of texts that stand alone.

B batch, P prompt tokens, R response tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import NamedTuple

import torch

from workbench.data.chat_template import encode_answer
from workbench.data.records import Message
from workbench.events import Progress
from workbench.models import adapters
from workbench.models.decoding import pad_answers, pad_prompts
from workbench.models.loading import LoadedModel


class Given(NamedTuple):
    """Token ids that are read, and those whose likelihood is asked for."""

    context: Sequence[int]
    ids: Sequence[int]


def answer(model: LoadedModel, messages: Sequence[Message], text: str) -> Given:
    """An answer to a prompt, its end token included."""
    return Given(model.encode_prompt(messages), encode_answer(model.tokenizer, text, model.stop_id))


def windows(model: LoadedModel, text: str) -> list[Given]:
    """A text that stands alone, in windows as long as the context, each after a start token.

    The start token is the tokenizer's own, else the end token, as EleutherAI's
    lm-evaluation-harness has it; so every token of the text is scored, once.
    """
    ids = model.tokenizer.encode(text, add_special_tokens=False)
    start = model.tokenizer.bos_token_id
    start = model.stop_id if start is None else start
    room = model.context_length - 1
    return [Given([start], ids[i : i + room]) for i in range(0, len(ids), room)]


def fits(model: LoadedModel, given: Given) -> bool:
    """Whether context and ids go into the model's context together."""
    return len(given.context) + len(given.ids) <= model.context_length


def logps(
    model: LoadedModel,
    adapter: str | None,
    items: Sequence[Given],
    batch_size: int,
    check: Callable[[], None],
    note: str,
) -> Generator[Progress, None, list[float]]:
    """Σ log p of each item's ids under the base, or under an adapter, at temperature 1.

    Items of like length share a batch. Value heads that guide a policy's sampling have no say.
    """
    order = sorted(range(len(items)), key=lambda i: -sum(map(len, items[i])))
    found = [0.0] * len(items)
    for start in range(0, len(order), batch_size):
        yield Progress(start, len(order), note)
        rows = order[start : start + batch_size]
        prompts = pad_prompts(model, [items[i].context for i in rows])
        answers = pad_answers(model, [items[i].ids for i in rows])
        with torch.no_grad(), adapters.active(model, adapter), model.checking(check):
            states = model.response_states(*prompts, *answers)
            of_tokens, _ = model.logps(states, *answers, 1.0)
        for i, total in zip(rows, of_tokens.double().sum(1).tolist(), strict=True):
            found[i] = total
    return found
