"""Label Studio: exported annotations (JSON and JSON-MIN) of pairs and rankings, and its tasks.

A pairwise result selects `left` or `right`, the first or second name of the tag's `toName`; its
`to_name` is the tag itself, and in some exports the two texts. A ranker result is a list of item
ids, best first, or buckets of them; `_` is the bucket of items that were not placed. See the
templates for human preference and for LLM ranking in its documentation, and its SDK's Pairwise tag.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.data.formats.lines import LineError, check_text, prompt_messages
from workbench.data.formats.rows import PreferenceRow, about, from_ranks, to_json
from workbench.data.records import Message

PROMPT_KEYS = ("prompt", "instruction", "question", "context", "input")
_PAIRS = (
    ("answer1", "answer2"),
    ("response1", "response2"),
    ("answer_a", "answer_b"),
    ("response_a", "response_b"),
    ("completion1", "completion2"),
    ("text1", "text2"),
    ("left", "right"),
)
_ITEM_TEXTS = ("body", "text", "html", "title")
_SIDES = ("left", "right")
_FACTS = ("annotator", "annotator_kind", "group", "language", "split", "strength")
# The template for human preference collection: a prompt above two answers of which one is chosen.
CONFIG = """<View>
  <Text name="prompt" value="$prompt" />
  <Pairwise name="comparison" toName="answer1,answer2" />
  <Text name="answer1" value="$answer1" />
  <Text name="answer2" value="$answer2" />
</View>
"""


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether a line is a task with annotations, or one of JSON-MIN with a selected side."""
    if isinstance(entry.get("data"), Mapping):
        return any(isinstance(entry.get(key), list) for key in ("annotations", "completions"))
    return _pair_of(entry) is not None and _flat_side(entry) is not None


def to_rows(entry: Mapping[str, Any], name: str) -> list[PreferenceRow]:
    """Every pair that the annotations of a task decide.

    Raises:
        LineError: They decide none.
    """
    data = entry.get("data")
    if not isinstance(data, Mapping):
        side = _flat_side(entry)
        if side is None:
            raise LineError("No answer is selected: the side must be left or right.")
        who = _annotator(entry.get("annotator"), name)
        return [_pair(entry, side, "", {**entry, "annotator": who}, name)]
    rows = []
    for completed_by, result in _results(entry):
        facts = {**_facts_of(data), "annotator": _annotator(completed_by, name)}
        value = result.get("value")
        value = value if isinstance(value, Mapping) else {}
        if result.get("type") == "pairwise":
            names = str(result.get("to_name", ""))
            rows.append(_pair(data, value.get("selected"), names, facts, name))
        elif result.get("type") == "ranker":
            rows += _ranking(data, value.get("ranker"), facts, name)
    if not rows:
        raise LineError("No annotation of this task chooses or ranks answers.")
    return rows


def task(row: PreferenceRow, is_decided: bool = True) -> dict[str, object]:
    """A judged pair as an annotated task; an undecided one as a task that is still to be done."""
    result = {
        "from_name": "comparison",
        "to_name": "comparison",
        "type": "pairwise",
        "value": {"selected": "left"},
    }
    texts = [f"{m.role}: {m.content}" for m in row.messages]
    return {
        "data": {
            "prompt": row.messages[0].content if len(texts) == 1 else "\n\n".join(texts),
            "answer1": row.first,
            "answer2": row.second,
            "messages": to_json(row.messages),
            "annotator": row.annotator,
            "annotator_kind": row.annotator_kind,
            "group": row.group,
            "language": row.language,
            "split": row.split,
        },
        "annotations": [{"result": [result]}] if is_decided else [],
    }


def _results(entry: Mapping[str, Any]) -> Iterator[tuple[object, Mapping[str, Any]]]:
    """Who annotated, with each of the results."""
    for annotation in entry.get("annotations") or entry.get("completions") or []:
        if not isinstance(annotation, Mapping) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            if isinstance(result, Mapping):
                yield annotation.get("completed_by"), result


def _annotator(who: object, name: str) -> str:
    if isinstance(who, Mapping):
        who = who.get("email") or who.get("id")
    return who if isinstance(who, str) and who else f"{name} {who}" if who else ""


def _facts_of(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: data[key] for key in _FACTS if key in data and key != "annotator"}


def _prompt(data: Mapping[str, Any]) -> tuple[Message, ...]:
    if isinstance(data.get("messages"), list):
        return prompt_messages(data["messages"])
    key = next((k for k in PROMPT_KEYS if data.get(k)), None)
    if key is None:
        raise LineError(f"There is no prompt among its data: {', '.join(map(str, data))}.")
    return prompt_messages(data[key])


def _pair_of(data: Mapping[str, Any]) -> tuple[str, str] | None:
    """The names of two answers: known ones, or the only two texts beside the prompt."""
    known = next((pair for pair in _PAIRS if data.keys() >= set(pair)), None)
    texts = [k for k, v in data.items() if isinstance(v, str) and k not in (*PROMPT_KEYS, *_FACTS)]
    return known or ((texts[0], texts[1]) if len(texts) == 2 else None)


def _flat_side(entry: Mapping[str, Any]) -> str | None:
    """The side that a line of JSON-MIN names; the tag's name, its key, is free."""
    for key, value in entry.items():
        selected = value.get("selected") if isinstance(value, Mapping) else value
        if selected in _SIDES and key not in _SIDES:
            return str(selected)
    return None


def _pair(
    data: Mapping[str, Any], side: object, to_name: str, facts: Mapping[str, Any], name: str
) -> PreferenceRow:
    """The row of a pairwise result; `to_name` names the two texts, if they are there."""
    shown = tuple(part.strip() for part in to_name.split(","))
    keys = shown if len(shown) == 2 and data.keys() >= set(shown) else _pair_of(data)
    if keys is None:
        raise LineError(f"There are no two answers among its data: {', '.join(map(str, data))}.")
    if side not in _SIDES:
        raise LineError(f"The selected side is {side!r}: it must be left or right.")
    texts = [_text(data[key]) for key in keys]
    if side == "right":
        texts.reverse()
    messages = _prompt(data)
    return PreferenceRow(messages, texts[0], texts[1], **about(facts, name, messages))


def _ranking(
    data: Mapping[str, Any], ranker: object, facts: Mapping[str, Any], name: str
) -> list[PreferenceRow]:
    """All pairs of a ranking: within a list the order counts, between buckets their order."""
    items = {str(i["id"]): _item_text(i) for i in _items(data)}
    if isinstance(ranker, Mapping):
        ranker = [i for bucket, ids in ranker.items() if bucket != "_" for i in ids or []]
    if not isinstance(ranker, list):
        raise LineError("The ranking must be a list of the items' ids.")
    if unknown := [i for i in ranker if str(i) not in items]:
        raise LineError(f"The ranking names {unknown[0]!r}, which is none of the items.")
    ranked = [(items[str(i)], rank) for rank, i in enumerate(ranker)]
    messages = _prompt(data)
    return from_ranks(messages, ranked, about(facts, name, messages))


def _items(data: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    for value in data.values():
        if isinstance(value, list) and value and all(isinstance(i, dict) for i in value):
            found = [i for i in value if "id" in i]
            if len(found) == len(value):
                return found
    raise LineError("There are no items with ids among its data.")


def _item_text(item: Mapping[str, Any]) -> str:
    return _text(next((item[k] for k in _ITEM_TEXTS if item.get(k)), None))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise LineError("An answer must be text.")
    return check_text(value)
