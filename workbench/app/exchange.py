"""In and out: prompts from files and from the demo set, preferences to and from the usual forms."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__, places
from workbench.data.folders import atomic_folder
from workbench.data.formats import preferences as preference_files
from workbench.data.formats.demonstrations import Demonstration, read_demonstrations
from workbench.data.formats.lines import LineProblem
from workbench.data.formats.preferences import PreferencePreview, PreferenceRow
from workbench.data.formats.prompts import PromptPreview, parse_prompts, read_prompts
from workbench.data.formats.training import to_row
from workbench.data.records import NewCompletion, NewPrompt, Verdict
from workbench.errors import EnvironmentProblem, UserError
from workbench.store.experiment import Experiment
from workbench.store.judgements import JudgedPair

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace

PREFERENCES = "preferences.jsonl"
TABLE = "preferences.csv"
UNDECIDED = "ties_and_skips.jsonl"
CARD = "README.md"


@dataclass(frozen=True, slots=True)
class DemoGroup:
    """A task with ready prompts; `name` is the group that its prompts get."""

    name: str
    title: str
    n: int
    languages: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What an export wrote; paths in `files` are relative to `folder`."""

    folder: Path
    n_pairs: int
    n_ties: int
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImportResult:
    """`n` judgements or answers are new, `n_known` were there, `problems` were left out."""

    n: int
    n_known: int
    problems: list[LineProblem]


def preview_prompts(path: Path) -> PromptPreview:
    """What importing a JSONL, CSV or TXT file would add, and a sentence per bad line."""
    return read_prompts(path)


def preview_text(text: str) -> PromptPreview:
    """What adding typed or pasted text would add: one prompt per line, or JSON lines."""
    return parse_prompts(text)


def import_prompts(ws: Workspace, preview: PromptPreview) -> int:
    """Add the good lines of a preview in one undoable step; how many were new."""
    return _add(ws, preview.rows, "imported")


def demo_groups() -> list[DemoGroup]:
    """The tasks of the demo set, by name."""
    return [_to_group(path) for path in sorted((places.resource_dir() / "prompts").glob("*.jsonl"))]


def add_demo_prompts(ws: Workspace, names: Sequence[str]) -> int:
    """Add the demo prompts of these groups in one undoable step; how many were new.

    Raises:
        UserError: There is no such group.
    """
    known = {group.name for group in demo_groups()}
    if unknown := [name for name in names if name not in known]:
        raise UserError(
            f"There is no demo group {unknown[0]}.", f"There are: {', '.join(sorted(known))}."
        )
    return _add(ws, [prompt for name in names for prompt in _demo_prompts(name)], "added")


def export_preferences(ws: Workspace, folder: Path) -> ExportResult:
    """Write the decided pairs, the undecided ones beside them, and a card; complete or not at all.

    Raises:
        UserError: The folder is already there, or nothing was judged yet.
        EnvironmentProblem: The disk is full or the folder cannot be written.
    """
    pairs = [to_row(p) for p in ws.experiment.judgements.preferences()]
    undecided = [_from_pair(p) for p in ws.experiment.judgements.ties()]
    if not pairs and not undecided:
        raise UserError(
            "Nothing was judged yet, so there is nothing to export.", "Rank some pairs."
        )
    files = {
        PREFERENCES: preference_files.write_jsonl(pairs),
        TABLE: preference_files.write_csv(pairs),
        UNDECIDED: preference_files.write_undecided(undecided),
    }
    files[CARD] = _card(ws.experiment, pairs, undecided, files[PREFERENCES])
    with atomic_folder(folder) as partial:
        for name, text in files.items():
            (partial / name).write_bytes(text.encode())
    return ExportResult(folder, len(pairs), len(undecided), tuple(files))


def preview_preferences(path: Path) -> PreferencePreview:
    """What importing a JSONL or CSV file, or the folder of an export, would add.

    Of a folder the ties and skips are read too.
    """
    if not path.is_dir():
        return preference_files.read_preferences(path)
    if not (path / PREFERENCES).is_file():
        raise UserError(f"There is no {PREFERENCES} in {path}.", "Choose a JSONL or CSV file.")
    found = [
        preference_files.read_preferences(path / name)
        for name in (PREFERENCES, UNDECIDED)
        if (path / name).is_file()
    ]
    return PreferencePreview(
        [row for preview in found for row in preview.rows],
        [problem for preview in found for problem in preview.problems],
    )


def import_preferences(ws: Workspace, path: Path) -> ImportResult:
    """Add prompts, answers, comparisons and judgements of a file in one undoable step.

    Which answer is shown first is drawn anew, so that the chosen one is not always A. Rows that
    are here already, by the same annotator, are counted and not repeated.

    Raises:
        UserError: The file is missing, of another kind, or holds no usable row.
    """
    preview = preview_preferences(path)
    if not preview.rows:
        why = f" Line {p.line}: {p.message}" if (p := next(iter(preview.problems), None)) else ""
        raise UserError(f"{path.name} holds no preference that can be used.{why}")
    n = _add_rows(ws.experiment, preview.rows)
    return ImportResult(n, len(preview.rows) - n, preview.problems)


def import_answers(ws: Workspace, path: Path) -> ImportResult:
    """Add prompts and answers to learn from, out of a file, in one undoable step.

    Answers that are here already as written or imported ones are counted and not repeated.

    Raises:
        UserError: The file is missing, of another kind, or holds no usable line.
    """
    preview = read_demonstrations(path)
    if not preview.rows:
        why = f" Line {p.line}: {p.message}" if (p := next(iter(preview.problems), None)) else ""
        raise UserError(f"{path.name} holds no answer that can be used.{why}")
    n = _add_answers(ws.experiment, preview.rows)
    return ImportResult(n, len(preview.rows) - n, preview.problems)


def _add_answers(experiment: Experiment, rows: Sequence[Demonstration]) -> int:
    with experiment.undo.operation("imported answers") as operation:
        prompt_ids = experiment.prompts.add_many([row.prompt for row in rows])
        # Answers that a model generated are no demonstrations, even if they say the same.
        known = {
            (prompt_id, completion.text)
            for prompt_id in set(prompt_ids)
            for completion in experiment.completions.for_prompt(prompt_id)
            if completion.source != "generated"
        }
        new = {
            (prompt_id, row.answer): NewCompletion(prompt_id, row.answer, source="imported")
            for prompt_id, row in zip(prompt_ids, rows, strict=True)
            if (prompt_id, row.answer) not in known
        }
        if new:
            experiment.completions.add_many(list(new.values()), is_undoable=True)
        operation.name = f"imported {len(new)} answer{'' if len(new) == 1 else 's'}"
    return len(new)


def _add(ws: Workspace, prompts: Sequence[NewPrompt], verb: str) -> int:
    before = ws.experiment.prompts.count()
    with ws.experiment.undo.operation(f"{verb} prompts") as operation:
        ws.experiment.prompts.add_many(prompts)
        n = ws.experiment.prompts.count() - before
        operation.name = f"{verb} {n} prompt{'' if n == 1 else 's'}"
    return n


def _to_group(path: Path) -> DemoGroup:
    prompts = _demo_prompts(path.stem)
    return DemoGroup(
        name=path.stem,
        title=path.stem.replace("_", " ").capitalize(),
        n=len(prompts),
        languages=tuple(sorted({p.language for p in prompts})),
    )


def _demo_prompts(name: str) -> list[NewPrompt]:
    preview = read_prompts(places.resource_dir() / "prompts" / f"{name}.jsonl")
    if preview.problems:
        raise EnvironmentProblem(
            f"The demo prompts {name} are damaged: {preview.problems[0].message}",
            "Install the program again.",
        )
    return preview.rows


def _from_pair(pair: JudgedPair) -> PreferenceRow:
    return PreferenceRow(
        messages=pair.prompt.messages,
        first=pair.first_text,
        second=pair.second_text,
        verdict=pair.judgement.verdict,
        annotator=pair.judgement.annotator,
        annotator_kind=pair.judgement.annotator_kind,
        group=pair.prompt.group,
        language=pair.prompt.language,
        split=pair.prompt.split,
    )


def _add_rows(experiment: Experiment, rows: Sequence[PreferenceRow]) -> int:
    n = 0
    with experiment.undo.operation("imported preferences") as operation:
        for row in rows:
            n += _add_row(experiment, row)
        operation.name = f"imported {n} judgement{'' if n == 1 else 's'}"
    return n


def _add_row(experiment: Experiment, row: PreferenceRow) -> bool:
    prompt = NewPrompt(row.messages, row.group, row.language, row.split)
    [prompt_id] = experiment.prompts.add_many([prompt])
    first, second = _answers(experiment, prompt_id, row)
    key = hashlib.sha256(f"{row.first}\0{row.second}".encode()).digest()
    shown = (first, second) if key[0] % 2 else (second, first)
    [(comparison, _)] = experiment.comparisons.ensure([(prompt_id, *shown)], is_undoable=True)
    verdict = row.verdict
    if comparison.first_id != first:
        verdict = _TURNED.get(verdict, verdict)
    known = experiment.judgements.latest(comparison.id, row.annotator)
    if known is not None and known.verdict == verdict:
        return False
    experiment.judgements.add(comparison.id, verdict, row.annotator, row.annotator_kind, 0.0)
    return True


_TURNED: dict[Verdict, Verdict] = {"first": "second", "second": "first"}


def _answers(experiment: Experiment, prompt_id: int, row: PreferenceRow) -> list[int]:
    """Ids of the two answers; texts that the prompt has already are not added again."""
    there = experiment.completions.for_prompt(prompt_id)
    ids: list[int] = []
    for text in (row.first, row.second):
        found = next((c.id for c in there if c.text == text and c.id not in ids), None)
        if found is None:
            new = NewCompletion(prompt_id, text, source="imported")
            [found] = experiment.completions.add_many([new], is_undoable=True)
        ids.append(found)
    return ids


def _card(
    experiment: Experiment,
    pairs: Sequence[PreferenceRow],
    undecided: Sequence[PreferenceRow],
    jsonl: str,
) -> str:
    everybody = Counter((row.annotator, row.annotator_kind) for row in (*pairs, *undecided))
    n_simulated = sum(row.annotator_kind == "simulated" for row in (*pairs, *undecided))
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    models = [f"- {name}: {n} answers" for name, n in experiment.completions.models().items()]
    verdicts = Counter(row.verdict for row in undecided)
    lines = [
        # The Hub's loader takes only the pairs: the side file has other columns.
        "---",
        "configs:",
        "- config_name: default",
        f"  data_files: {PREFERENCES}",
        "tags: [preference, rlhf]",
        "---",
        "",
        f"# Preferences of the experiment {experiment.path.name}",
        "",
        f"Exported on {made} by RLHF Workbench {__version__}.",
        "",
        *([_simulated_note(n_simulated, len(pairs) + len(undecided))] if n_simulated else []),
        "## Files",
        "",
        f"- `{PREFERENCES}`: {len(pairs)} pairs in TRL's conversational form (`prompt`, `chosen`, "
        "`rejected` as lists of messages), with `annotator`, `annotator_kind`, `group`, "
        "`language` and `split` in each row.",
        f"- `{TABLE}`: the same pairs as a table.",
        f"- `{UNDECIDED}`: {len(undecided)} comparisons without a winner (ties: {verdicts['tie']}, "
        f"both bad: {verdicts['both_bad']}, skipped: {verdicts['skip']}).",
        "",
        "`split` is that of the prompt: `heldout` prompts were kept out of training.",
        "",
        "## Who judged",
        "",
        "| annotator | kind | judgements |",
        "|---|---|---|",
        *(f"| {who} | {kind} | {n} |" for (who, kind), n in sorted(everybody.items())),
        "",
        "## Where the answers come from",
        "",
        *models,
        "",
        "## Digest",
        "",
        f"SHA-256 of `{PREFERENCES}`: `{hashlib.sha256(jsonl.encode()).hexdigest()}`",
        "",
    ]
    return "\n".join(lines)


def _simulated_note(n: int, n_all: int) -> str:
    return (
        f"**{n} of {n_all} judgements are simulated**: a stated rule gave them, not a person. "
        "They are the rows whose `annotator_kind` is `simulated`.\n"
    )
