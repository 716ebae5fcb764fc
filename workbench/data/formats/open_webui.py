"""Feedback that an administrator exported from Open WebUI: thumbs with a snapshot of the chat.

Rating 1 means that the answer is good, or that it won against the other models' answers to the same
message; -1 the opposite. See the page on evaluation in Open WebUI's documentation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.data.formats.lines import LineError, check_text, prompt_messages
from workbench.data.formats.rows import PreferenceRow, RatedAnswer, Row, about
from workbench.data.records import Message


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether a line is a rating."""
    data = entry.get("data")
    return isinstance(data, Mapping) and "rating" in data and "model_id" in data


def to_rows(entry: Mapping[str, Any], name: str) -> list[Row]:
    """A pair for each answer of another model to the same message; else the rated answer alone.

    Raises:
        LineError: The chat is not there, or it is not rated.
    """
    data = entry.get("data")
    if not isinstance(data, Mapping):
        raise LineError("There is no rating.")
    rating = str(data.get("rating"))
    if rating not in ("1", "-1"):
        raise LineError(f"The rating is {data.get('rating')!r}: it must be 1 or -1.")
    turns = _turns(entry)
    meta = entry.get("meta")
    rated = turns.get(str(meta.get("message_id"))) if isinstance(meta, Mapping) else None
    if rated is None:
        raise LineError("The rated message is not in the snapshot of the chat.")
    messages = _prompt(turns, rated)
    facts = about({"annotator": _annotator(entry)}, name, messages)
    answer = _content(rated)
    rows: list[Row] = []
    for other in _siblings(turns, rated, data.get("sibling_model_ids")):
        better, worse = (answer, other) if rating == "1" else (other, answer)
        rows.append(PreferenceRow(messages, better, worse, **facts))
    return rows or [RatedAnswer(messages, answer, rating == "1", **facts)]


def _turns(entry: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    """The messages of the snapshot by id."""
    found: Any = entry.get("snapshot")
    for key in ("chat", "chat", "history", "messages"):
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise LineError("There is no snapshot of the chat with this feedback.")
    return {str(key): turn for key, turn in found.items() if isinstance(turn, Mapping)}


def _prompt(
    turns: Mapping[str, Mapping[str, Any]], rated: Mapping[str, Any]
) -> tuple[Message, ...]:
    """What stands before the rated message, from parent to parent."""
    before: list[dict[str, str]] = []
    seen: set[str] = set()
    parent = str(rated.get("parentId"))
    while parent in turns and parent not in seen:
        seen.add(parent)
        turn = turns[parent]
        before.insert(0, {"role": str(turn.get("role")), "content": _content(turn)})
        parent = str(turn.get("parentId"))
    if not before:
        raise LineError("There is no message before the rated one.")
    return prompt_messages(before)


def _siblings(
    turns: Mapping[str, Mapping[str, Any]], rated: Mapping[str, Any], models: object
) -> list[str]:
    """The answers of the models that the rating names, to the same message."""
    names = {str(m) for m in models} if isinstance(models, list) else set()
    return [
        _content(turn)
        for turn in turns.values()
        if turn is not rated
        and turn.get("parentId") == rated.get("parentId")
        and turn.get("role") == "assistant"
        and str(turn.get("model")) in names
    ]


def _annotator(entry: Mapping[str, Any]) -> str:
    user = entry.get("user")
    named = user.get("name") if isinstance(user, Mapping) else None
    return str(named or entry.get("user_id") or "")


def _content(turn: Mapping[str, Any]) -> str:
    content = turn.get("content")
    if not isinstance(content, str):
        raise LineError("The content of a message must be text.")
    return check_text(content)
