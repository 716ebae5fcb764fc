"""What the environments ask of prompts."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.loading import LoadedModel


def encoded(
    model: LoadedModel, prompts: Sequence[Sequence[Message]], n_answer_tokens: int
) -> list[list[int]]:
    """Token ids of all prompts, each with room for an answer.

    Raises:
        UserError: There are none, or one is too long for the model.
    """
    if not prompts:
        raise UserError("There are no prompts.", "Give at least one.")
    ids = [model.encode_prompt(prompt) for prompt in prompts]
    longest = max(range(len(ids)), key=lambda i: len(ids[i]))
    if len(ids[longest]) + n_answer_tokens > model.context_length:
        raise UserError(
            f"Prompt {longest} has {len(ids[longest])} tokens: with {n_answer_tokens} more it does "
            f"not fit into the {model.context_length} of {model.info.name}.",
            "Leave it out, or ask for shorter answers.",
        )
    return ids
