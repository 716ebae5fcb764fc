"""LLaMA-Factory's preference and KTO data, alpaca and sharegpt, with its dataset_info.json.

See data/README.md of hiyouga/LLaMA-Factory: `ranking: true` marks pairs, `kto_tag` single answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from workbench.data.formats.lines import LineError, check_text, prompt_messages
from workbench.data.formats.rows import PreferenceRow, RatedAnswer, Row, about, to_json
from workbench.data.formats.trl import prompt_and_answer, to_label
from workbench.data.records import Message

_DIALOGUES = ("conversations", "messages")
_NAMES = {"user": "human", "assistant": "gpt"}
_COLUMNS = {"messages": "conversations", "system": "system"}


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether a line is one of LLaMA-Factory's pairs or KTO answers."""
    if "kto_tag" in entry:
        return True
    is_prompted = "instruction" in entry or any(key in entry for key in _DIALOGUES)
    return is_prompted and entry.keys() >= {"chosen", "rejected"} and "prompt" not in entry


def to_rows(entry: Mapping[str, Any], name: str) -> list[Row]:
    """The pair of a line, or its single answer.

    Raises:
        LineError: There is neither.
    """
    if "kto_tag" in entry:
        messages, answer = _prompt_with_answer(entry)
        is_good = to_label(entry["kto_tag"])
        return [RatedAnswer(messages, answer, is_good, **about(entry, name, messages))]
    prompt = prompt_messages(_dialogue(entry))
    texts = [_text(entry.get(key), key) for key in ("chosen", "rejected")]
    return [PreferenceRow(prompt, texts[0], texts[1], **about(entry, name, prompt))]


def pair_line(row: PreferenceRow) -> dict[str, object]:
    """A decided pair in the sharegpt form; the system prompt has a column of its own."""
    return {
        **_conversation(row.messages),
        "chosen": {"from": "gpt", "value": row.first},
        "rejected": {"from": "gpt", "value": row.second},
    }


def rated_line(row: RatedAnswer) -> dict[str, object]:
    """An answer with its KTO tag."""
    said = _conversation((*row.messages, Message("assistant", row.answer)))
    return {**said, "kto_tag": row.is_good}


def dataset_info(pairs: Mapping[str, str], rated: Mapping[str, str]) -> dict[str, object]:
    """The entries of dataset_info.json: name of a dataset to name of its file."""
    columns = {**_COLUMNS, "chosen": "chosen", "rejected": "rejected"}
    entries: dict[str, object] = {
        name: {
            "file_name": file,
            "formatting": "sharegpt",
            "ranking": True,
            "columns": columns,
        }
        for name, file in pairs.items()
    }
    for name, file in rated.items():
        entries[name] = {
            "file_name": file,
            "formatting": "sharegpt",
            "columns": {**_COLUMNS, "kto_tag": "kto_tag"},
        }
    return entries


def _conversation(messages: tuple[Message, ...]) -> dict[str, object]:
    """Turns that alternate, as the program demands: neighbours of one role become one turn."""
    system = "\n\n".join(m.content for m in messages if m.role == "system")
    turns: list[dict[str, str]] = []
    for message in (m for m in messages if m.role != "system"):
        name = _NAMES[message.role]
        if turns and turns[-1]["from"] == name:
            turns[-1]["value"] += f"\n\n{message.content}"
        else:
            turns.append({"from": name, "value": message.content})
    return {"conversations": turns, "system": system}


def _dialogue(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    """The messages of a line, in either form."""
    key = next((k for k in _DIALOGUES if entry.get(k)), None)
    if key is None:
        return _system(entry) + _alpaca(entry)
    turns = entry[key]
    if not isinstance(turns, list):
        raise LineError(f"The {key} must be a list of messages.")
    return _system(entry) + turns


def _system(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    system = entry.get("system")
    is_there = isinstance(system, str) and system.strip()
    return [{"role": "system", "content": str(system)}] if is_there else []


def _alpaca(entry: Mapping[str, Any]) -> list[dict[str, str]]:
    instruction, more = entry.get("instruction"), entry.get("input")
    if not isinstance(instruction, str):
        raise LineError("There is no instruction.")
    text = f"{instruction}\n{more}" if isinstance(more, str) and more else instruction
    messages = []
    for turn in entry.get("history") or []:
        if not isinstance(turn, list) or len(turn) != 2:
            raise LineError("The history must be a list of pairs of instruction and answer.")
        messages += [
            {"role": role, "content": said}
            for role, said in zip(("user", "assistant"), turn, strict=True)
        ]
    return [*messages, {"role": "user", "content": text}]


def _prompt_with_answer(entry: Mapping[str, Any]) -> tuple[tuple[Message, ...], str]:
    dialogue = _dialogue(entry)
    if any(entry.get(key) for key in _DIALOGUES):
        return prompt_and_answer(None, dialogue)
    return prompt_and_answer(to_json(prompt_messages(dialogue)), entry.get("output"))


def _text(value: Any, key: str) -> str:
    if isinstance(value, Mapping):
        value = value.get("value", value.get("content"))
    if not isinstance(value, str):
        raise LineError(f"There is no text in {key}.")
    return check_text(value)
