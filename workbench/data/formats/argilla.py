"""Argilla: exported records whose answers were ranked, of versions 2 and 1.

Version 1 exports a ranking as objects with value and rank, of which equal ranks are a tie; version
2 as a list of values, best first. The values are those of the question, which by custom are the
names of the fields with the answers.
See the guides on records and on import and export in Argilla's documentation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from workbench.data.formats.label_studio import PROMPT_KEYS
from workbench.data.formats.lines import LineError, check_text, prompt_messages
from workbench.data.formats.rows import PreferenceRow, about, from_ranks
from workbench.data.records import Message

_NUMBER = re.compile(r"(\d+)\D*$")
_RESPONSES, _SUGGESTION = ".responses", ".suggestion"


def fits(entry: Mapping[str, Any]) -> bool:
    """Whether a line is a record with fields, or a flattened one."""
    if isinstance(entry.get("fields"), Mapping):
        return "responses" in entry or "suggestions" in entry
    return any(key.endswith((_RESPONSES, _SUGGESTION)) for key in entry)


def to_rows(entry: Mapping[str, Any], name: str) -> list[PreferenceRow]:
    """All pairs of the rankings that annotators submitted; without any, of the suggested one.

    Raises:
        LineError: Nobody ranked fields of the record.
    """
    fields = entry.get("fields")
    fields = fields if isinstance(fields, Mapping) else entry
    found = [r for r in map(_ranking, _responses(entry)) if r and _is_of(r[1], fields)]
    is_suggested = not found
    if is_suggested:
        found = [r for r in map(_ranking, _suggestions(entry)) if r and _is_of(r[1], fields)]
    rows = []
    for who, ranking in found:
        ranked = [(check_text(str(_answer(fields, option))), rank) for option, rank in ranking]
        messages = _prompt(fields, {option for option, _ in ranking})
        facts = {**_metadata(entry), "annotator": who}
        facts["annotator_kind"] = "ai" if is_suggested else "imported"
        rows += from_ranks(messages, ranked, about(facts, name, messages))
    if not rows:
        raise LineError("Nobody has ranked the answers of this record.")
    return rows


def _responses(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Each response with value, user_id and status, out of any of three layouts."""
    responses = entry.get("responses")
    if isinstance(responses, Mapping):
        for given in responses.values():
            yield from (r for r in _listed(given) if isinstance(r, Mapping))
    elif isinstance(responses, list):  # version 1: one response holds all questions
        for response in (r for r in responses if isinstance(r, Mapping)):
            values = response.get("values")
            for value in values.values() if isinstance(values, Mapping) else ():
                if isinstance(value, Mapping):
                    yield {**response, "value": value.get("value")}
    else:
        for key in (k for k in entry if k.endswith(_RESPONSES)):
            users, statuses = (_listed(entry.get(f"{key}.{k}")) for k in ("users", "status"))
            for value, user, status in itertools.zip_longest(_listed(entry[key]), users, statuses):
                yield {"value": value, "user_id": user, "status": status}


def _suggestions(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Each suggestion as if its agent were a user."""
    suggestions = entry.get("suggestions")
    if isinstance(suggestions, Mapping):
        suggestions = list(suggestions.values())
    for suggestion in _listed(suggestions):
        if isinstance(suggestion, Mapping):
            yield {**suggestion, "user_id": suggestion.get("agent") or "suggestion"}
    for key in (k for k in entry if k.endswith(_SUGGESTION)):
        yield {"value": entry[key], "user_id": entry.get(f"{key}.agent") or "suggestion"}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _ranking(response: Mapping[str, Any]) -> tuple[str, list[tuple[str, int]]] | None:
    """The annotator with options and ranks; None of other questions, and of drafts."""
    if response.get("status") in ("draft", "discarded"):
        return None
    value = _listed(response.get("value"))
    ranking = [
        (e.get("value"), e.get("rank")) if isinstance(e, Mapping) else (e, rank)
        for rank, e in enumerate(value, 1)
    ]
    known = [(o, r) for o, r in ranking if isinstance(o, str) and isinstance(r, int)]
    if len(ranking) < 2 or len(known) < len(ranking):
        return None
    return str(response.get("user_id") or ""), known


def _is_of(ranking: list[tuple[str, int]], fields: Mapping[str, Any]) -> bool:
    """Whether it ranks fields: a question for several labels has a list of texts as well."""
    return all(_answer(fields, option) is not None for option, _ in ranking)


def _answer(fields: Mapping[str, Any], option: str) -> str | None:
    """The text of an option: the field of its name, or the one that ends with the same number."""
    text = fields.get(option)
    if text is None and (number := _NUMBER.search(option)):
        same = [v for k, v in fields.items() if (n := _NUMBER.search(k)) and n[1] == number[1]]
        text = same[0] if len(same) == 1 else None
    return text if isinstance(text, str) else None


def _prompt(fields: Mapping[str, Any], options: set[str]) -> tuple[Message, ...]:
    key = next((k for k in PROMPT_KEYS if fields.get(k) and k not in options), None)
    if key is None:
        raise LineError(f"There is no prompt among its fields: {', '.join(map(str, fields))}.")
    return prompt_messages(fields[key])


def _metadata(entry: Mapping[str, Any]) -> dict[str, Any]:
    metadata = entry.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    return {k: metadata[k] for k in ("group", "language", "split") if k in metadata}
