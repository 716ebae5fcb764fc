"""What files of judgements hold, whatever their form: judged pairs, and single answers rated."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from workbench.data.formats.lines import LineError, check_text, guess_language
from workbench.data.formats.prompts import field, to_split
from workbench.data.records import AnnotatorKind, Message, Split, Strength, Verdict


@dataclass(frozen=True, slots=True)
class PreferenceRow:
    """A judged pair as it stands in a file.

    With a decided verdict `first` is the chosen answer; a tie, both bad or a skip has its own
    `verdict`. `strength` says how much better it is, and 0 that nobody said so.
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
    strength: Strength = 0


@dataclass(frozen=True, slots=True)
class RatedAnswer:
    """An answer that a file calls good or bad by itself, without a partner."""

    messages: tuple[Message, ...]
    answer: str
    is_good: bool
    annotator: str = ""
    annotator_kind: AnnotatorKind = "imported"
    group: str = ""
    language: str = ""
    split: Split = "train"


Row = PreferenceRow | RatedAnswer


def about(entry: Mapping[str, Any], name: str, messages: Sequence[Message]) -> dict[str, Any]:
    """Who judged and where the prompt belongs, from the columns that say so.

    Args:
        entry: The line.
        name: Of the file: the annotator and the group of lines that name none.
        messages: The prompt, for its language.

    Raises:
        LineError: A column holds something else.
    """
    kind: Any = entry.get("annotator_kind") or "imported"
    if kind not in get_args(AnnotatorKind):
        raise LineError(
            f"The annotator_kind is {kind!r}: it must be one of {named(AnnotatorKind)}."
        )
    language = entry.get("language")
    return {
        "annotator": field(entry, ("annotator",)) or name,
        "annotator_kind": kind,
        "group": field(entry, ("group",)) or ("" if "group" in entry else name),
        "language": check_text(language)
        if isinstance(language, str)
        else guess_language(messages[-1].content),
        "split": to_split(entry.get("split")),
    }


def to_strength(value: object) -> Strength:
    """How much better the chosen answer is; nothing where a file says nothing.

    Raises:
        LineError: It is none of 0, 1, 2.
    """
    if value in (None, ""):
        return 0
    known: dict[str, Strength] = {"0": 0, "1": 1, "2": 2}
    if (strength := known.get(str(value).strip())) is None:
        raise LineError(f"The strength is {value!r}: it must be 0, 1 (slightly) or 2 (clearly).")
    return strength


def named(kind: object) -> str:
    """The values of a literal type, for a sentence."""
    return ", ".join(get_args(kind))


def to_json(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Messages as lists of objects with role and content."""
    return [{"role": m.role, "content": m.content} for m in messages]


def from_ranks(
    messages: tuple[Message, ...], ranked: Sequence[tuple[str, int]], facts: Mapping[str, Any]
) -> list[PreferenceRow]:
    """Every pair of a ranking; the lower rank is the better one, equal ranks are a tie."""
    rows = []
    for (first, a), (second, b) in itertools.combinations(ranked, 2):
        texts = (first, second) if a <= b else (second, first)
        rows.append(PreferenceRow(messages, *texts, "tie" if a == b else "first", **facts))
    return rows


def pair_up(rated: Iterable[RatedAnswer]) -> tuple[list[PreferenceRow], int]:
    """Comparisons out of answers that were called good or bad one by one.

    Of each prompt and annotator every good answer meets a bad one; where one side is longer, the
    other is gone through again. Where all are bad, neighbours become "both bad".

    Returns:
        The pairs, and how many answers had no counterpart.
    """
    groups: dict[tuple[object, str], list[RatedAnswer]] = {}
    for answer in rated:
        groups.setdefault((answer.messages, answer.annotator), []).append(answer)
    rows: list[PreferenceRow] = []
    n_left = 0
    for answers in groups.values():
        found, n = _pairs(answers)
        rows += found
        n_left += n
    return rows, n_left


def _pairs(answers: Sequence[RatedAnswer]) -> tuple[list[PreferenceRow], int]:
    good = [a for a in answers if a.is_good]
    bad = [a for a in answers if not a.is_good]
    if good and bad:
        n = max(len(good), len(bad))
        pairs = [(good[i % len(good)], bad[i % len(bad)]) for i in range(n)]
        return [_to_pair(a, b, "first") for a, b in pairs], 0
    if good:
        return [], len(good)
    twos = list(zip(bad[::2], bad[1::2], strict=False))
    return [_to_pair(a, b, "both_bad") for a, b in twos], len(bad) - 2 * len(twos)


def _to_pair(first: RatedAnswer, second: RatedAnswer, verdict: Verdict) -> PreferenceRow:
    return PreferenceRow(
        first.messages,
        first.answer,
        second.answer,
        verdict,
        annotator=first.annotator,
        annotator_kind=first.annotator_kind,
        group=first.group,
        language=first.language,
        split=first.split,
    )


def digest_of(row: Row) -> bytes:
    """Equal for rows that say the same of the same texts by the same annotator."""
    said: list[object] = [to_json(row.messages), row.annotator]
    if isinstance(row, PreferenceRow):
        said += [row.first, row.second, row.verdict, row.strength]
    else:
        said += [row.answer, row.is_good]
    text = json.dumps(said, ensure_ascii=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).digest()
