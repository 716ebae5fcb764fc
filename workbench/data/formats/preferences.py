"""Preference pairs in the forms that trainers use: TRL's, HH-RLHF transcripts, CSV.

Read: TRL standard (`prompt`, `chosen`, `rejected` as text), conversational (lists of messages),
both also implicit (no `prompt`: the beginning that chosen and rejected share), the mixed form of
ultrafeedback_binarized, whole HH-RLHF transcripts, CSV, and our side file of ties and skips.
Written: TRL conversational JSONL and CSV.
See https://huggingface.co/docs/trl/dataset_formats and the README of Anthropic/hh-rlhf.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from workbench.data.formats.lines import (
    LineError,
    LineProblem,
    check_text,
    guess_language,
    json_lines,
    prompt_messages,
    read_text,
    to_messages,
)
from workbench.data.formats.prompts import field, messages_or_text, to_split
from workbench.data.formats.tables import read_table, write_table
from workbench.data.records import AnnotatorKind, Message, Split, Verdict
from workbench.errors import UserError

CSV_HEADER = (
    "prompt",
    "chosen",
    "rejected",
    "annotator",
    "annotator_kind",
    "group",
    "language",
    "split",
)
_TURN = re.compile(r"\n\n(Human|Assistant):(?: |$)")
_ANSWER_MARK = "\n\nAssistant:"


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A judged pair as it stands in a file.

    With a decided verdict `first` is the chosen answer; a tie, both bad or a skip has its own
    `verdict`.
    """

    messages: tuple[Message, ...]
    first: str
    second: str
    verdict: Verdict = "first"
    annotator: str = ""
    annotator_kind: AnnotatorKind = "imported"
    group: str = ""
    language: str = ""
    split: Split = "train"


@dataclass(frozen=True, slots=True)
class PreferencePreview:
    """What an import would add, and what it would leave out."""

    rows: list[PreferenceRow]
    problems: list[LineProblem]


def read_preferences(path: Path) -> PreferencePreview:
    """Judged pairs of a JSONL or CSV file, which may be gzipped.

    Rows that name no annotator get the name of the file and the kind `imported`.

    Raises:
        UserError: There is no such file, it is not text, or of another kind.
    """
    suffix = next((s for s in reversed(path.suffixes) if s.lower() != ".gz"), "").lower()
    if suffix not in (".jsonl", ".json", ".ndjson", ".csv", ".tsv"):
        raise UserError(
            f"{path.name} is of an unknown kind ({suffix or 'no suffix'}).",
            "Preferences can be read from JSONL and CSV files.",
        )
    text = read_text(path)
    lines = _table(text, path.name) if suffix in (".csv", ".tsv") else json_lines(text)
    return _collect(lines, path.name.split(".")[0])


def write_jsonl(rows: Iterable[PreferenceRow]) -> str:
    """Decided pairs in TRL's conversational form, with who judged and how in further columns."""
    return "".join(
        _line(
            {
                "prompt": _to_json(row.messages),
                "chosen": _to_json([Message("assistant", row.first)]),
                "rejected": _to_json([Message("assistant", row.second)]),
                **_about(row),
            }
        )
        for row in rows
    )


def write_undecided(rows: Iterable[PreferenceRow]) -> str:
    """Ties, both bad and skips as JSONL: TRL has no form for them."""
    return "".join(
        _line(
            {
                "prompt": _to_json(row.messages),
                "first": row.first,
                "second": row.second,
                "verdict": row.verdict,
                **_about(row),
            }
        )
        for row in rows
    )


def write_csv(rows: Iterable[PreferenceRow]) -> str:
    """Decided pairs as CSV; a prompt of several messages stands as JSON text in its field."""
    return write_table(
        CSV_HEADER,
        [(_cell(row.messages), row.first, row.second, *_about(row).values()) for row in rows],
    )


def _about(row: PreferenceRow) -> dict[str, str]:
    return {
        "annotator": row.annotator,
        "annotator_kind": row.annotator_kind,
        "group": row.group,
        "language": row.language,
        "split": row.split,
    }


def _cell(messages: Sequence[Message]) -> str:
    text = messages[-1].content
    is_plain = len(messages) == 1 and messages_or_text(text) is text
    return text if is_plain else json.dumps(_to_json(messages), ensure_ascii=False)


def _to_json(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": m.role, "content": m.content} for m in messages]


def _line(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def _table(text: str, name: str) -> Iterator[tuple[int, object]]:
    header, rows = read_table(text, CSV_HEADER)
    if not {"chosen", "rejected"} <= set(header):
        raise UserError(
            f"{name} has no columns chosen and rejected; its columns are {', '.join(header)}.",
            "Name the columns prompt, chosen and rejected in the first line.",
        )
    for number, row in rows:
        if isinstance(row, dict) and row.get("prompt"):
            yield number, {**row, "prompt": messages_or_text(row["prompt"])}
        else:
            yield number, row


def _collect(lines: Iterator[tuple[int, object]], name: str) -> PreferencePreview:
    rows: list[PreferenceRow] = []
    problems: list[LineProblem] = []
    for number, value in lines:
        try:
            rows.append(_to_row(value, name))
        except LineError as error:
            problems.append(LineProblem(number, str(error)))
    return PreferencePreview(rows, problems)


def _to_row(value: Any, name: str) -> PreferenceRow:
    if isinstance(value, LineError):
        raise value
    if not isinstance(value, dict):
        raise LineError("A line must be an object with prompt, chosen and rejected.")
    verdict = value.get("verdict", "first")
    if verdict not in get_args(Verdict):
        raise LineError(f"The verdict is {verdict!r}: it must be one of {_named(Verdict)}.")
    keys = ("first", "second") if "verdict" in value else ("chosen", "rejected")
    if missing := [key for key in keys if value.get(key) is None]:
        raise LineError(f"There is no field {' and no field '.join(missing)}.")
    messages, first, second = _parts(value.get("prompt"), value[keys[0]], value[keys[1]])
    annotator = field(value, ("annotator",))
    kind: Any = value.get("annotator_kind") or "imported"
    if kind not in get_args(AnnotatorKind):
        raise LineError(
            f"The annotator_kind is {kind!r}: it must be one of {_named(AnnotatorKind)}."
        )
    return PreferenceRow(
        messages,
        first,
        second,
        verdict,
        annotator=annotator or name,
        annotator_kind=kind,
        group=field(value, ("group",)) or ("" if "group" in value else name),
        language=str(value["language"])
        if "language" in value
        else guess_language(messages[-1].content),
        split=to_split(value.get("split")),
    )


def _named(kind: object) -> str:
    return ", ".join(get_args(kind))


def _parts(prompt: Any, first: Any, second: Any) -> tuple[tuple[Message, ...], str, str]:
    """Prompt and both answers, whatever the form of the row."""
    if type(first) is not type(second):
        raise LineError("Both answers must have the same form: two texts or two lists of messages.")
    if isinstance(first, str):
        check_text(first + second)
        if prompt not in (None, "", []):
            return prompt_messages(prompt), first, second
        if first.startswith("\n\nHuman:"):
            return _from_transcripts(first, second)
        return _from_shared_beginning(first, second)
    return _from_dialogues(prompt, to_messages(first), to_messages(second))


def _from_dialogues(
    prompt: Any, first: tuple[Message, ...], second: tuple[Message, ...]
) -> tuple[tuple[Message, ...], str, str]:
    shared = 0
    # The last message is the answer also where both are equal.
    longest = min(len(first), len(second)) - 1
    while shared < longest and first[shared] == second[shared]:
        shared += 1
    if len(first) - shared != 1 or len(second) - shared != 1:
        raise LineError("Chosen and rejected must differ in their last message only.")
    if first[-1].role != "assistant" or second[-1].role != "assistant":
        raise LineError("The last message of chosen and rejected must be the assistant's.")
    if shared:
        # Mixed form: the prompt repeats what the lists begin with.
        messages = prompt_messages(_to_json(first[:shared]))
    elif prompt:
        messages = prompt_messages(prompt)
    else:
        raise LineError("There is no prompt, and chosen and rejected share no beginning.")
    return messages, first[-1].content, second[-1].content


def _from_transcripts(first: str, second: str) -> tuple[tuple[Message, ...], str, str]:
    """As in TRL's hh-rlhf script: cut at the last assistant turn that both begin with."""
    cut = _shared_beginning(first, second).rfind(_ANSWER_MARK)
    if cut < 0:
        raise LineError("The two transcripts share no “Assistant:” turn.")
    answers = [text[cut + len(_ANSWER_MARK) :].removeprefix(" ") for text in (first, second)]
    if any(_TURN.search(answer) for answer in answers):
        raise LineError("The two transcripts differ before their last answer.")
    parts = _TURN.split(first[:cut])[1:]
    messages = tuple(
        Message("user" if who == "Human" else "assistant", text)
        for who, text in zip(parts[::2], parts[1::2], strict=True)
    )
    return prompt_messages(_to_json(messages)), answers[0], answers[1]


def _shared_beginning(first: str, second: str) -> str:
    differing = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return first[: next(differing, min(len(first), len(second)))]


def _from_shared_beginning(first: str, second: str) -> tuple[tuple[Message, ...], str, str]:
    """As TRL's `extract_prompt`: the prompt ends before the space in front of the difference."""
    shared = _shared_beginning(first, second)
    if first == second:
        raise LineError("Chosen and rejected are the same, so where the prompt ends is unknown.")
    prompt = shared[:-1] if shared.endswith(" ") else shared
    if not prompt.strip():
        raise LineError("There is no prompt, and chosen and rejected share no beginning.")
    return (Message("user", prompt),), first[len(prompt) :], second[len(prompt) :]
