"""The forms that judgements can be written in, each with its files and its rule for ties.

Decided pairs go into every form. A tie, both bad or a skip goes into the side file; of both bad the
forms for single answers take both as bad, and Label Studio gets all undecided pairs as tasks that
are still to be done. No other form knows them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from workbench.data.formats import label_studio, llama_factory, parquet, trl
from workbench.data.formats.parquet import ParquetWriter
from workbench.data.formats.preferences import CSV_HEADER, cell
from workbench.data.formats.rows import PreferenceRow, RatedAnswer, digest_of, to_json
from workbench.data.formats.writers import (
    Line,
    LinesWriter,
    ListWriter,
    TableWriter,
    Writer,
)
from workbench.errors import UserError

PREFERENCES = "preferences.jsonl"
TABLE = "preferences.csv"
UNDECIDED = "ties_and_skips.jsonl"
_PARQUET = {
    "prompt": "messages",
    "chosen": "messages",
    "rejected": "messages",
    **dict.fromkeys(("annotator", "annotator_kind", "group", "language", "split"), "text"),
    "strength": "number",
}
_DECIDED = ("first", "second")


@dataclass(frozen=True, slots=True)
class ExportForm:
    """A form to write.

    Attributes:
        name: Its name on the command line.
        title: Its name for people.
        file: Where it goes; a split's name is put before the suffix.
        what: What stands in the file, as the card says it.
        lines: The lines that a judged pair becomes.
        make: Opens the file.
    """

    name: str
    title: str
    file: str
    what: str
    lines: Callable[[PreferenceRow, set[bytes]], Iterable[Line]]
    make: Callable[[Path], Writer] = LinesWriter


def _pairs(to_line: Callable[[PreferenceRow], Line]) -> Callable[..., Iterable[Line]]:
    return lambda row, _seen: [to_line(row)] if row.verdict in _DECIDED else []


def rated(row: PreferenceRow) -> Iterator[RatedAnswer]:
    """What a judged pair says of each answer by itself: chosen is good, the others are bad."""
    if row.verdict not in (*_DECIDED, "both_bad"):
        return
    for text, is_good in ((row.first, row.verdict != "both_bad"), (row.second, False)):
        yield RatedAnswer(
            row.messages,
            text,
            is_good,
            annotator=row.annotator,
            annotator_kind=row.annotator_kind,
            group=row.group,
            language=row.language,
            split=row.split,
        )


def _rated(to_line: Callable[[RatedAnswer], Line]) -> Callable[..., Iterable[Line]]:
    """Each answer once, however many pairs it was in."""

    def lines(row: PreferenceRow, seen: set[bytes]) -> Iterator[Line]:
        for answer in rated(row):
            if (digest := digest_of(answer)) not in seen:
                seen.add(digest)
                yield to_line(answer)

    return lines


def _prompts(row: PreferenceRow, seen: set[bytes]) -> Iterator[Line]:
    digest = digest_of(RatedAnswer(row.messages, "", True))
    if digest not in seen:
        seen.add(digest)
        facts = {"group": row.group, "language": row.language, "split": row.split}
        yield {"prompt": to_json(row.messages), **facts}


def _dialogues(row: PreferenceRow) -> Line:
    """Whole dialogues in both columns, to which a chat template is applied."""
    prompt = to_json(row.messages)
    return {
        "chosen": prompt + trl.answer(row.first),
        "rejected": prompt + trl.answer(row.second),
        **trl.facts(row),
    }


def _table_line(row: PreferenceRow) -> Line:
    return {"prompt": cell(row), "chosen": row.first, "rejected": row.second, **trl.facts(row)}


def _tasks(row: PreferenceRow, _seen: set[bytes]) -> Iterable[Line]:
    return [label_studio.task(row, is_decided=row.verdict in _DECIDED)]


def _undecided(row: PreferenceRow, _seen: set[bytes]) -> Iterable[Line]:
    return [] if row.verdict in _DECIDED else [trl.undecided_line(row)]


EXPORTS = {
    form.name: form
    for form in (
        ExportForm(
            "trl",
            "TRL preference",
            PREFERENCES,
            "pairs in TRL's conversational form (`prompt`, `chosen`, `rejected` as lists of "
            "messages), with `annotator`, `annotator_kind`, `group`, `language`, `split` and "
            "`strength` (1 slightly, 2 clearly better, 0 not said) in each row",
            _pairs(trl.pair_line),
        ),
        ExportForm(
            "csv",
            "CSV",
            TABLE,
            "the same pairs as a table",
            _pairs(_table_line),
            lambda path: TableWriter(path, CSV_HEADER),
        ),
        ExportForm(
            "trl-unpaired",
            "TRL unpaired (KTO)",
            "unpaired.jsonl",
            "answers in TRL's unpaired form (`prompt`, `completion`, `label`): chosen ones are "
            "good, rejected ones and those of both bad are bad",
            _rated(trl.rated_line),
        ),
        ExportForm(
            "trl-prompts",
            "TRL prompt-only",
            "prompts.jsonl",
            "the prompts of all judged pairs in TRL's prompt-only form (`prompt`)",
            _prompts,
        ),
        ExportForm(
            "llama-factory",
            "LLaMA-Factory",
            "llama_factory/preferences.json",
            "pairs in LLaMA-Factory's sharegpt form; `dataset_info.json` beside it has the entry",
            _pairs(llama_factory.pair_line),
            ListWriter,
        ),
        ExportForm(
            "llama-factory-kto",
            "LLaMA-Factory KTO",
            "llama_factory/feedback.json",
            "answers with LLaMA-Factory's `kto_tag`; `dataset_info.json` beside it has the entry",
            _rated(llama_factory.rated_line),
            ListWriter,
        ),
        ExportForm(
            "openrlhf",
            "OpenRLHF",
            "openrlhf.jsonl",
            "pairs as whole dialogues for OpenRLHF, with `--chosen_key chosen --rejected_key "
            "rejected --apply_chat_template`",
            _pairs(_dialogues),
        ),
        ExportForm(
            "label-studio",
            "Label Studio",
            "label_studio/tasks.json",
            "tasks for Label Studio, decided pairs with their annotation and undecided ones "
            "without; `config.xml` beside it is the labelling interface",
            _tasks,
            ListWriter,
        ),
        ExportForm(
            "hf",
            "Hugging Face dataset (Parquet)",
            "data/preferences.parquet",
            "the same pairs as Parquet, which this folder's `README.md` names as its data set",
            _pairs(trl.pair_line),
            lambda path: ParquetWriter(path, _PARQUET),
        ),
    )
}
_SIDE = ExportForm("ties", "Ties and skips", UNDECIDED, "", _undecided)


@dataclass(slots=True)
class Exporter:
    """Writes judged pairs into all files of an export, one pair at a time.

    Attributes:
        folder: An empty folder.
        forms: What to write.
        is_split: Whether each split gets files of its own.
        n_lines: Lines written, by file relative to the folder.
    """

    folder: Path
    forms: tuple[ExportForm, ...]
    is_split: bool = False
    n_lines: dict[str, int] = field(default_factory=dict)
    _writers: dict[str, Writer] = field(default_factory=dict)
    _seen: dict[str, set[bytes]] = field(default_factory=dict)

    def write(self, row: PreferenceRow) -> None:
        """Add a judged pair; its split says into which files."""
        for form in (*self.forms, _SIDE):
            split = row.split if self.is_split and form is not _SIDE else ""
            name = file_name(form.file, split)
            for line in form.lines(row, self._seen.setdefault(form.name, set())):
                self._writer(form, name).write(line)
                self.n_lines[name] += 1

    def __enter__(self) -> Exporter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all files; after an error they are only closed."""
        if kind is None:
            self._finish()
            return
        for writer in self._writers.values():
            with suppress(OSError, ValueError):
                writer.close()

    def _finish(self) -> None:
        """A form that got no line has an empty file, so that its reader finds one."""
        for form in (*self.forms, _SIDE):
            if not any(name in self.n_lines for name in _names(form)):
                self._writer(form, file_name(form.file, ""))
        for writer in self._writers.values():
            writer.close()
        self._write_companions()

    def _writer(self, form: ExportForm, name: str) -> Writer:
        writer = self._writers.get(name)
        if writer is None:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            writer = self._writers[name] = form.make(path)
            self.n_lines[name] = 0
        return writer

    def _write_companions(self) -> None:
        """The files that other programs need beside the data."""
        names = {form.name: [n for n in _names(form) if n in self.n_lines] for form in self.forms}
        if names.keys() & {"llama-factory", "llama-factory-kto"}:
            pairs, answers = (
                {Path(n).stem: Path(n).name for n in names.get(form, [])}
                for form in ("llama-factory", "llama-factory-kto")
            )
            info = json.dumps(llama_factory.dataset_info(pairs, answers), indent=2)
            path = self.folder / "llama_factory" / "dataset_info.json"
            path.write_text(f"{info}\n", encoding="utf-8", newline="\n")
        if "label-studio" in names:
            path = self.folder / "label_studio" / "config.xml"
            path.write_text(label_studio.CONFIG, encoding="utf-8", newline="\n")


def find(names: Iterable[str]) -> tuple[ExportForm, ...]:
    """The forms of these names.

    Raises:
        UserError: There is none of a name.
        EnvironmentProblem: It needs a library that is not installed.
    """
    forms = []
    for name in dict.fromkeys(names):
        if name not in EXPORTS:
            raise UserError(f"There is no form {name}.", f"There are: {', '.join(EXPORTS)}.")
        if name == "hf":
            parquet.require()
        forms.append(EXPORTS[name])
    return tuple(forms)


def file_name(name: str, split: str) -> str:
    """The file of a split: its name stands before the suffix."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}_{split}{dot}{suffix}" if split else name


def _names(form: ExportForm) -> list[str]:
    return [file_name(form.file, split) for split in ("", "train", "heldout")]
