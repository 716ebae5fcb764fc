"""Whole transcripts as in Anthropic's HH-RLHF: chosen and rejected differ in their last answer.

See the README of Anthropic/hh-rlhf; the cut is that of TRL's example script for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workbench.data.formats.lines import LineError, prompt_messages
from workbench.data.records import Message

_TURN = re.compile(r"\n\n(Human|Assistant):(?: |$)")
_ANSWER_MARK = "\n\nAssistant:"


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether both texts of a line are transcripts."""
    texts = (entry.get("chosen"), entry.get("rejected"))
    return not entry.get("prompt") and all(isinstance(t, str) and is_transcript(t) for t in texts)


def is_transcript(text: str) -> bool:
    """Whether a text begins as the transcript of a dialogue."""
    return text.startswith("\n\nHuman:")


def from_transcripts(first: str, second: str) -> tuple[tuple[Message, ...], str, str]:
    """Prompt and both answers: cut at the last assistant turn that both begin with.

    Raises:
        LineError: They part before their last answer.
    """
    cut = shared_beginning(first, second).rfind(_ANSWER_MARK)
    if cut < 0:
        raise LineError("The two transcripts share no “Assistant:” turn.")
    answers = [text[cut + len(_ANSWER_MARK) :].removeprefix(" ") for text in (first, second)]
    if any(_TURN.search(answer) for answer in answers):
        raise LineError("The two transcripts differ before their last answer.")
    parts = _TURN.split(first[:cut])[1:]
    messages = [
        {"role": "user" if who == "Human" else "assistant", "content": text}
        for who, text in zip(parts[::2], parts[1::2], strict=True)
    ]
    return prompt_messages(messages), answers[0], answers[1]


def shared_beginning(first: str, second: str) -> str:
    """What both texts begin with."""
    differing = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return first[: next(differing, min(len(first), len(second)))]
