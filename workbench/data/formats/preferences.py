"""Judgements out of files of any form that is known: which form it is, and what its lines say.

The forms have a module each. A file of none of them can still be read when its columns are named:
`columns` maps our names (prompt, chosen, rejected; or prompt, completion, label) to the file's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from workbench.data.formats import argilla, hh, label_studio, llama_factory, open_webui, trl
from workbench.data.formats.containers import EntryFile
from workbench.data.formats.lines import LineError, LineProblem
from workbench.data.formats.prompts import messages_or_text
from workbench.data.formats.rows import PreferenceRow, RatedAnswer, Row, digest_of, pair_up
from workbench.errors import UserError

MAX_PROBLEMS = 200
ABOUT = ("annotator", "annotator_kind", "group", "language", "split", "strength")
CSV_HEADER = ("prompt", "chosen", "rejected", *ABOUT)
TARGETS = ("prompt", *trl.PAIR, *trl.UNPAIRED, *trl.JUDGED, *ABOUT)
# Names that say by themselves what a column holds; the first one that is there is taken.
_ALIASES = {
    "prompt": ("prompt", "question", "instruction", "query", "input"),
    "chosen": ("chosen", "preferred", "accepted", "better", "chosen_response", "response_chosen"),
    "rejected": ("rejected", "dispreferred", "worse", "rejected_response", "response_rejected"),
    "completion": ("completion", "response", "answer", "output"),
    "label": ("label", "is_good", "is_desirable", "thumbs_up"),
    "first": ("first", "response_a", "answer_a", "answer1", "response1"),
    "second": ("second", "response_b", "answer_b", "answer2", "response2"),
    "verdict": ("verdict", "winner", "preference", "choice"),
}
_WANTED = (trl.PAIR, trl.UNPAIRED, trl.JUDGED)
_OURS = (*trl.PAIR, *trl.JUDGED)  # one of them says which form was meant
_PEEK = 50
_SEPARABLE = tuple({*TARGETS, *(name for names in _ALIASES.values() for name in names)})


@dataclass(frozen=True, slots=True)
class Form:
    """A form that judgements are stored in, with its reader."""

    name: str
    title: str
    fits: Callable[[Mapping[str, Any]], bool]
    to_rows: Callable[[Mapping[str, Any], str], Sequence[Row]]


FORMS = {
    form.name: form
    for form in (
        Form("label-studio", "Label Studio", label_studio.fits, label_studio.to_rows),
        Form("argilla", "Argilla", argilla.fits, argilla.to_rows),
        Form("open-webui", "Open WebUI feedback", open_webui.fits, open_webui.to_rows),
        Form("llama-factory", "LLaMA-Factory", llama_factory.fits, llama_factory.to_rows),
        Form("hh", "HH-RLHF transcripts", hh.fits, trl.to_rows),
        Form("trl", "TRL preference", trl.fits, trl.to_rows),
        Form("trl-unpaired", "TRL unpaired", trl.fits_unpaired, trl.to_rated),
    )
}


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What a file of judgements is before its rows are read.

    Attributes:
        form: Its form; None when its columns have to be named first.
        columns: The names of its fields.
        mapping: Our name of each column that was taken by another name.
    """

    form: Form | None
    columns: tuple[str, ...]
    mapping: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PreferencePreview:
    """What an import would add, and what it would leave out.

    Attributes:
        rows: The judged pairs.
        problems: Sentences on lines that are left out, the first `MAX_PROBLEMS`.
        form: Title of the form.
        columns: The names of the file's fields.
        mapping: Our name of each column that was taken by another name.
        n_problems: How many lines are left out in all.
        n_duplicates: How many lines say again what an earlier one says.
        notes: Sentences on what else is left out.
        is_complete: False when only the first lines were read.
    """

    rows: list[PreferenceRow]
    problems: list[LineProblem]
    form: str = ""
    columns: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(default_factory=dict)
    n_problems: int = 0
    n_duplicates: int = 0
    notes: tuple[str, ...] = ()
    is_complete: bool = True


def detect(path: Path) -> str:
    """The name in `FORMS` of the form of a file; empty when its columns have to be named.

    Raises:
        UserError: There is no such file, or it is of no kind that can be read.
    """
    form = inspect(path).form
    return form.name if form else ""


def inspect(
    path: Path, columns: Mapping[str, str] | None = None, form: str | None = None
) -> FileFacts:
    """Look at the first lines of a file.

    Args:
        path: JSONL, JSON, CSV or Parquet; text may be gzipped.
        columns: Our names to the file's; None guesses where no form fits.
        form: A name of `FORMS`; None detects it.

    Raises:
        UserError: There is no such file, it is of no kind that can be read, or the form or a column
            is not there.
    """
    file = EntryFile(path, _SEPARABLE)
    names = file.columns()
    if form is not None and form not in FORMS:
        raise UserError(f"There is no form {form}.", f"There are: {', '.join(FORMS)}.")
    if columns:
        mapping = _checked(columns, names, path.name)
    elif form is None:
        entries = islice((e for _, e in file.entries() if isinstance(e, dict)), _PEEK)
        found = next((f for e in entries for f in FORMS.values() if f.fits(e)), None)
        if found is not None:
            return FileFacts(found, names, {})
        mapping = _guessed(names)
        if not mapping and file.kind == "json" and (not names or set(names) & set(_OURS)):
            return FileFacts(FORMS["trl"], names, {})
    else:
        return FileFacts(FORMS[form], names, {})
    if form is not None:
        return FileFacts(FORMS[form], names, mapping)
    renamed = dict.fromkeys((*names, *mapping))
    return FileFacts(next((f for f in FORMS.values() if f.fits(renamed)), None), names, mapping)


class PreferenceReader:
    """The judgements of one file, read as they are drawn.

    Attributes:
        facts: What the file is.
        n_duplicates: Lines so far that say again what an earlier one says.
        n_unpaired: Single answers without a counterpart; known at the end.
        is_complete: False when lines were left over because of a limit.
    """

    def __init__(
        self, path: Path, columns: Mapping[str, str] | None = None, form: str | None = None
    ) -> None:
        self.facts = inspect(path, columns, form)
        if self.facts.form is None:
            raise _no_columns(path.name, self.facts.columns)
        self._form = self.facts.form
        self._file = EntryFile(path, _SEPARABLE)
        self._name = path.name.split(".")[0]
        self._seen: set[bytes] = set()
        self._rated: list[RatedAnswer] = []
        self.n_duplicates = 0
        self.n_unpaired = 0
        self.is_complete = True

    @property
    def share(self) -> float:
        """How much of the file has been read, from 0 to 1."""
        return self._file.share

    def notes(self) -> tuple[str, ...]:
        """Sentences on what is left out beside bad lines."""
        if not self.n_unpaired:
            return ()
        return (
            f"{self.n_unpaired} answers called good or bad are left out: their prompts have no "
            "answer that was called the opposite.",
        )

    def rows(self, limit: int | None = None) -> Iterator[PreferenceRow | LineProblem]:
        """Judged pairs, and a sentence for each line that is left out.

        Single answers are made into pairs at the end.

        Args:
            limit: Longest way into the file, in lines.
        """
        for n_read, (number, entry) in enumerate(self._file.entries()):
            if limit is not None and n_read >= limit:
                self.is_complete = False
                break
            try:
                yield from self._new(self._parse(entry))
            except LineError as error:
                yield LineProblem(number, str(error))
        rows, self.n_unpaired = pair_up(self._rated)
        self._rated = []
        yield from rows

    def _parse(self, entry: Any) -> Sequence[Row]:
        if isinstance(entry, LineError):
            raise entry
        if not isinstance(entry, dict):
            raise LineError("A line must be an object with prompt, chosen and rejected.")
        for ours, theirs in self.facts.mapping.items():
            entry = {**entry, ours: entry.get(theirs)}
        if self._file.kind == "table" and entry.get("prompt"):
            entry = {**entry, "prompt": messages_or_text(entry["prompt"])}
        return self._form.to_rows(entry, self._name)

    def _new(self, rows: Sequence[Row]) -> Iterator[PreferenceRow]:
        for row in rows:
            if (digest := digest_of(row)) in self._seen:
                self.n_duplicates += 1
            elif isinstance(row, RatedAnswer):
                self._seen.add(digest)
                self._rated.append(row)
            else:
                self._seen.add(digest)
                yield row


def read_preferences(
    path: Path,
    columns: Mapping[str, str] | None = None,
    form: str | None = None,
    limit: int | None = None,
) -> PreferencePreview:
    """Judged pairs of a file, which may be gzipped.

    Rows that name no annotator get the name of the file and the kind `imported`.

    Args:
        path: JSONL, JSON, CSV or Parquet.
        columns: Our names to the file's; None guesses where no form fits.
        form: A name of `FORMS`; None detects it.
        limit: Read no more than so many lines.

    Raises:
        UserError: There is no such file, it is not text, or of another kind.
    """
    reader = PreferenceReader(path, columns, form)
    rows: list[PreferenceRow] = []
    problems: list[LineProblem] = []
    n_problems = 0
    for found in reader.rows(limit):
        if isinstance(found, PreferenceRow):
            rows.append(found)
            continue
        n_problems += 1
        if len(problems) < MAX_PROBLEMS:
            problems.append(found)
    assert reader.facts.form is not None
    return PreferencePreview(
        rows,
        problems,
        form=reader.facts.form.title,
        columns=reader.facts.columns,
        mapping=reader.facts.mapping,
        n_problems=n_problems,
        n_duplicates=reader.n_duplicates,
        notes=reader.notes(),
        is_complete=reader.is_complete,
    )


def joined(previews: Sequence[PreferencePreview]) -> PreferencePreview:
    """Several files as one: the first says what they are."""
    return replace(
        previews[0],
        rows=[row for preview in previews for row in preview.rows],
        problems=[problem for preview in previews for problem in preview.problems],
        n_problems=sum(p.n_problems for p in previews),
        n_duplicates=sum(p.n_duplicates for p in previews),
        notes=tuple(note for preview in previews for note in preview.notes),
        is_complete=all(p.is_complete for p in previews),
    )


def cell(row: PreferenceRow) -> str:
    """A prompt as a field of a table: its text, or several messages as JSON text."""
    text = row.messages[-1].content
    is_plain = len(row.messages) == 1 and messages_or_text(text) is text
    messages = [{"role": m.role, "content": m.content} for m in row.messages]
    return text if is_plain else json.dumps(messages, ensure_ascii=False)


def _checked(columns: Mapping[str, str], names: Sequence[str], file: str) -> dict[str, str]:
    """The mapping with the names as the file has them."""
    lowered = {name.lower(): name for name in names}
    mapping = {}
    for ours, theirs in columns.items():
        if ours not in TARGETS:
            raise UserError(
                f"There is nothing to put into {ours}.", f"There are: {', '.join(TARGETS)}."
            )
        actual = theirs if theirs in names else lowered.get(theirs.strip().lower())
        if actual is None:
            raise UserError(
                f"{file} has no column {theirs}.", f"Its columns are {', '.join(names)}."
            )
        mapping[ours] = actual
    return mapping


def _guessed(names: Sequence[str]) -> dict[str, str]:
    """A mapping by names that say what they hold; empty when the answers are not among them."""
    found = {
        ours: name
        for ours, aliases in _ALIASES.items()
        if (name := next((n for alias in aliases for n in names if n.lower() == alias), None))
    }
    wanted = next((w for w in _WANTED if found.keys() >= set(w)), None)
    if wanted is None:
        return {}
    return {ours: found[ours] for ours in ("prompt", *wanted) if found.get(ours, ours) != ours}


def _no_columns(file: str, names: Sequence[str]) -> UserError:
    listed = ", ".join(names) or "none"
    return UserError(
        f"{file} has no columns chosen and rejected; its columns are {listed}.",
        "Name the columns prompt, chosen and rejected, or say which of these they are.",
    )
