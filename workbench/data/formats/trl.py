"""TRL's preference and unpaired forms, and this program's side file of ties and skips.

Read: standard (`prompt`, `chosen`, `rejected` as text), conversational (lists of messages), both
also implicit (no `prompt`: the beginning that chosen and rejected share), the mixed form of
ultrafeedback_binarized, and unpaired (`prompt`, `completion`, `label`). Written: conversational.
See https://huggingface.co/docs/trl/dataset_formats.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from workbench.data.formats import hh
from workbench.data.formats.lines import LineError, check_text, prompt_messages, to_messages
from workbench.data.formats.rows import (
    PreferenceRow,
    RatedAnswer,
    about,
    named,
    to_json,
    to_strength,
)
from workbench.data.records import Message, Verdict

PAIR = ("chosen", "rejected")
JUDGED = ("first", "second", "verdict")
UNPAIRED = ("completion", "label")
_VERDICTS: dict[str, Verdict] = {
    **dict.fromkeys(("a", "left", "model_a", "answer1", "response1"), "first"),
    **dict.fromkeys(("b", "right", "model_b", "answer2", "response2"), "second"),
    "tie (bothbad)": "both_bad",
    "both bad": "both_bad",
}
_LABELS = {"true": True, "1": True, "good": True, "false": False, "0": False, "bad": False}


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether a line holds a judged pair."""
    return entry.keys() >= set(PAIR) or entry.keys() >= set(JUDGED)


def fits_unpaired(entry: Mapping[str, Any]) -> bool:
    """Whether a line holds one answer with a label."""
    return entry.keys() >= set(UNPAIRED)


def to_rows(entry: Mapping[str, Any], name: str) -> list[PreferenceRow]:
    """The judged pair of a line.

    Raises:
        LineError: There is none.
    """
    verdict = _verdict(entry.get("verdict", "first"))
    keys = JUDGED[:2] if "verdict" in entry else PAIR
    if missing := [key for key in keys if entry.get(key) is None]:
        raise LineError(f"There is no field {' and no field '.join(missing)}.")
    first, second = entry[keys[0]], entry[keys[1]]
    if verdict == "second":
        first, second, verdict = second, first, "first"
    messages, better, worse = _parts(entry.get("prompt"), first, second)
    facts = about(entry, name, messages)
    strength = to_strength(entry.get("strength"))
    return [PreferenceRow(messages, better, worse, verdict, **facts, strength=strength)]


def to_rated(entry: Mapping[str, Any], name: str) -> list[RatedAnswer]:
    """The labelled answer of a line.

    Raises:
        LineError: There is none.
    """
    messages, answer = prompt_and_answer(entry.get("prompt"), entry.get("completion"))
    is_good = to_label(entry.get("label"))
    return [RatedAnswer(messages, answer, is_good, **about(entry, name, messages))]


def to_label(value: object) -> bool:
    """True for good; the words that files write for it.

    Raises:
        LineError: It is none of them.
    """
    found = _LABELS.get(str(value).strip().lower())
    if found is None:
        raise LineError(f"The label is {value!r}: it must be true or false.")
    return found


def prompt_and_answer(prompt: object, answer: object) -> tuple[tuple[Message, ...], str]:
    """A prompt with one answer, each as a text or as messages.

    Without a prompt it is what stands before the answer's last message.

    Raises:
        LineError: One is missing.
    """
    if answer is None:
        raise LineError("There is no answer.")
    if isinstance(answer, str):
        return prompt_messages(prompt), check_text(answer)
    *before, last = to_messages(answer)
    if last.role != "assistant":
        raise LineError("The last message of an answer must be the assistant's.")
    return prompt_messages(to_json(before) if before else prompt), last.content


def pair_line(row: PreferenceRow) -> dict[str, object]:
    """A decided pair in the conversational form, with who judged in further columns."""
    return {
        "prompt": to_json(row.messages),
        "chosen": answer(row.first),
        "rejected": answer(row.second),
        **facts(row),
    }


def undecided_line(row: PreferenceRow) -> dict[str, object]:
    """A tie, both bad or a skip: TRL has no form for them."""
    return {
        "prompt": to_json(row.messages),
        "first": row.first,
        "second": row.second,
        "verdict": row.verdict,
        **facts(row),
    }


def rated_line(row: RatedAnswer) -> dict[str, object]:
    """An answer with its label."""
    return {
        "prompt": to_json(row.messages),
        "completion": answer(row.answer),
        "label": row.is_good,
        **facts(row),
    }


def answer(text: str) -> list[dict[str, str]]:
    """An answer as a list of one message."""
    return [{"role": "assistant", "content": text}]


def facts(row: PreferenceRow | RatedAnswer) -> dict[str, object]:
    """Who judged, how decidedly, and where the prompt belongs."""
    strength = {"strength": row.strength} if isinstance(row, PreferenceRow) else {}
    return {
        "annotator": row.annotator,
        "annotator_kind": row.annotator_kind,
        "group": row.group,
        "language": row.language,
        "split": row.split,
        **strength,
    }


def _verdict(value: object) -> Verdict:
    word = value.strip().lower() if isinstance(value, str) else value
    verdict: Any = _VERDICTS.get(word, word) if isinstance(word, str) else word
    if verdict not in get_args(Verdict):
        raise LineError(f"The verdict is {value!r}: it must be one of {named(Verdict)}.")
    checked: Verdict = verdict
    return checked


def _parts(prompt: Any, first: Any, second: Any) -> tuple[tuple[Message, ...], str, str]:
    """Prompt and both answers, whatever the form of the row."""
    if type(first) is not type(second):
        raise LineError("Both answers must have the same form: two texts or two lists of messages.")
    if isinstance(first, str):
        check_text(first + second)
        if prompt not in (None, "", []):
            return prompt_messages(prompt), first, second
        if hh.is_transcript(first):
            return hh.from_transcripts(first, second)
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
        messages = prompt_messages(to_json(first[:shared]))
    elif prompt:
        messages = prompt_messages(prompt)
    else:
        raise LineError("There is no prompt, and chosen and rejected share no beginning.")
    return messages, first[-1].content, second[-1].content


def _from_shared_beginning(first: str, second: str) -> tuple[tuple[Message, ...], str, str]:
    """As TRL's `extract_prompt`: the prompt ends before the space in front of the difference."""
    if first == second:
        raise LineError("Chosen and rejected are the same, so where the prompt ends is unknown.")
    shared = hh.shared_beginning(first, second)
    prompt = shared[:-1] if shared.endswith(" ") else shared
    if not prompt.strip():
        raise LineError("There is no prompt, and chosen and rejected share no beginning.")
    return (Message("user", prompt),), first[len(prompt) :], second[len(prompt) :]
