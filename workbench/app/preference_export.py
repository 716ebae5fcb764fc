"""Preferences for other programs: which, in what forms, split how; counted before it is written."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import __version__
from workbench.data.folders import atomic_folder, refuse_existing
from workbench.data.formats.exports import (
    EXPORTS,
    UNDECIDED,
    Exporter,
    ExportForm,
    file_name,
    find,
    rated,
)
from workbench.data.formats.rows import PreferenceRow, digest_of
from workbench.data.records import AnnotatorKind, Split, Verdict
from workbench.data.splitting import SplitPlan
from workbench.errors import UserError
from workbench.events import Progress, Saved
from workbench.store.exchange import PairFilter
from workbench.store.experiment import Experiment
from workbench.store.judgements import JudgedPair

if TYPE_CHECKING:
    from workbench.app.workspace import Workspace
    from workbench.cancel import CancelToken
    from workbench.jobs.runner import Job, Working

CARD = "README.md"
DEFAULT_FORMS = ("trl", "csv")
_PAGE = 500
_LARGEST_SHARE = 0.9
# What the Hub's loader takes for the data set, where several forms of the same pairs are there.
_LOADED = ("hf", "trl", "csv", "openrlhf", "trl-unpaired", "trl-prompts")
_HUB_SPLITS = {"train": "train", "heldout": "test"}


@dataclass(frozen=True, slots=True)
class ExportChoice:
    """What to write, and how.

    Attributes:
        forms: Names of `EXPORTS`.
        which: Whose judgements, of which prompts.
        is_split: Whether training and held-out prompts get files of their own.
        heldout_share: Hold out this share of the prompts, drawn by their texts; None keeps the
            split that each prompt has.
    """

    forms: tuple[str, ...] = DEFAULT_FORMS
    which: PairFilter = field(default_factory=PairFilter)
    is_split: bool = False
    heldout_share: float | None = None


@dataclass(frozen=True, slots=True)
class ExportCounts:
    """What an export would hold.

    Attributes:
        n_pairs: Decided pairs.
        verdicts: Comparisons by verdict; all but first and second go into the side file.
        n_good: Different answers that were chosen.
        n_bad: Different answers that were rejected, or one of both bad.
        n_prompts: Different prompts; those that differ in case and spaces only count once.
        splits: Decided pairs by the split that they go into.
        annotators: Judgements by annotator and kind.
        n_leaking: Prompts in both splits; they go with the held-out ones.
    """

    n_pairs: int
    verdicts: Mapping[Verdict, int]
    n_good: int
    n_bad: int
    n_prompts: int
    splits: Mapping[Split, int]
    annotators: Mapping[tuple[str, AnnotatorKind], int]
    n_leaking: int

    @property
    def n_all(self) -> int:
        """Comparisons in all."""
        return sum(self.verdicts.values())

    @property
    def n_simulated(self) -> int:
        """Judgements that a stated rule gave, not a person."""
        return sum(n for (_, kind), n in self.annotators.items() if kind == "simulated")


def counts(ws: Workspace, choice: ExportChoice) -> ExportCounts:
    """What an export would hold, before it is written.

    Raises:
        UserError: The share is no share.
    """
    ids = ws.experiment.exchange.deciding_ids(choice.which)
    return _count(ws.experiment, ids, _plan(choice))


def export_preferences(ws: Workspace, folder: Path, choice: ExportChoice | None = None) -> Job:
    """Write judged pairs, the undecided ones beside them, and a card; complete or not at all.

    Args:
        ws: The experiment.
        folder: A new folder.
        choice: What to write; None writes everything as JSONL and CSV.

    Raises:
        UserError: Nothing was judged yet, there is no such form, or the folder is there already.
        EnvironmentProblem: A form needs a library that is not installed.
    """
    choice = choice or ExportChoice()
    forms, plan = find(choice.forms), _plan(choice)
    if not ws.experiment.judgements.count():
        raise UserError(
            "Nothing was judged yet, so there is nothing to export.", "Rank some pairs."
        )
    refuse_existing(folder)

    def work(cancel: CancelToken) -> Working:
        yield Progress(0, 0, "Counting")
        ids = ws.experiment.exchange.deciding_ids(choice.which)
        counted = _count(ws.experiment, ids, plan, cancel)
        if not counted.n_all:
            raise UserError("No judgement is among those chosen.", "Choose more of them.")
        n_done = 0
        with atomic_folder(folder) as partial:
            with Exporter(partial, forms, choice.is_split) as exporter:
                for row in _rows(ws.experiment, ids, plan):
                    exporter.write(row)
                    n_done += 1
                    if n_done % _PAGE == 0:
                        cancel.raise_if_stopping()
                        yield Progress(n_done, len(ids), f"Writing {folder.name}")
            card = _card(ws.experiment, counted, forms, partial, exporter.n_lines)
            (partial / CARD).write_text(card, encoding="utf-8", newline="\n")
        yield Saved(0, "export", str(folder))
        return {
            "folder": str(folder),
            "n_pairs": counted.n_pairs,
            "n_ties": counted.n_all - counted.n_pairs,
            "files": dict(exporter.n_lines),
        }

    return ws.submit("Export preferences", "export", work, unit="pairs")


def _plan(choice: ExportChoice) -> SplitPlan:
    share = choice.heldout_share
    if share is not None and not 0 < share <= _LARGEST_SHARE:
        raise UserError(
            f"A share of {share:g} cannot be held out.", f"Take up to {_LARGEST_SHARE:g}."
        )
    return SplitPlan(share)


def _count(
    experiment: Experiment,
    ids: Sequence[int],
    plan: SplitPlan,
    cancel: CancelToken | None = None,
) -> ExportCounts:
    """Go through the pairs once, which also tells the plan what it has to know."""
    verdicts: Counter[Verdict] = Counter()
    annotators: Counter[tuple[str, AnnotatorKind]] = Counter()
    decided: list[bytes] = []
    good: set[bytes] = set()
    bad: set[bytes] = set()
    for row in _stored_rows(experiment, ids):
        if cancel is not None:
            cancel.raise_if_stopping()
        key = plan.add(row.messages, row.split)
        if row.verdict == "first":
            decided.append(key)
        verdicts[row.verdict] += 1
        annotators[row.annotator, row.annotator_kind] += 1
        for answer in rated(row):
            (good if answer.is_good else bad).add(digest_of(answer))
    return ExportCounts(
        n_pairs=verdicts["first"],
        verdicts=verdicts,
        n_good=len(good),
        n_bad=len(bad),
        n_prompts=plan.n_prompts,
        splits=Counter(map(plan.split_of, decided)),
        annotators=annotators,
        n_leaking=plan.n_leaking,
    )


def _rows(experiment: Experiment, ids: Sequence[int], plan: SplitPlan) -> Iterator[PreferenceRow]:
    """The pairs as they go into files, in the split that they are planned for."""
    for row in _stored_rows(experiment, ids):
        split = plan.split_of(row.messages)
        yield row if split == row.split else replace(row, split=split)


def _stored_rows(experiment: Experiment, ids: Sequence[int]) -> Iterator[PreferenceRow]:
    for start in range(0, len(ids), _PAGE):
        yield from map(_to_row, experiment.exchange.pairs(ids[start : start + _PAGE]))


def _to_row(pair: JudgedPair) -> PreferenceRow:
    """A judged pair as it stands in a file: the chosen answer first."""
    judgement, texts = pair.judgement, (pair.first_text, pair.second_text)
    is_turned = judgement.verdict == "second"
    return PreferenceRow(
        messages=pair.prompt.messages,
        first=texts[is_turned],
        second=texts[not is_turned],
        verdict="first" if is_turned else judgement.verdict,
        annotator=judgement.annotator,
        annotator_kind=judgement.annotator_kind,
        group=pair.prompt.group,
        language=pair.prompt.language,
        split=pair.prompt.split,
        strength=judgement.strength,
    )


def _card(
    experiment: Experiment,
    counted: ExportCounts,
    forms: Sequence[ExportForm],
    folder: Path,
    n_lines: Mapping[str, int],
) -> str:
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    verdicts = counted.verdicts
    models = [f"- {name}: {n} answers" for name, n in experiment.completions.models().items()]
    lines = [
        *_header(forms, n_lines),
        f"# Preferences of the experiment {experiment.path.name}",
        "",
        f"Exported on {made} by RLHF Workbench {__version__}.",
        "",
        *([_simulated_note(counted)] if counted.n_simulated else []),
        "## Files",
        "",
        *_file_lines(forms, n_lines),
        f"- `{UNDECIDED}`: {n_lines[UNDECIDED]} comparisons without a winner (ties: "
        f"{verdicts.get('tie', 0)}, both bad: {verdicts.get('both_bad', 0)}, skipped: "
        f"{verdicts.get('skip', 0)}). Forms for pairs have no place for them.",
        "",
        "`split` is that of the prompt: `heldout` prompts were kept out of training. No prompt is "
        "in both splits"
        + (
            f"; {counted.n_leaking} that were, apart from case and spaces, went with `heldout`."
            if counted.n_leaking
            else "."
        ),
        "",
        "## Who judged",
        "",
        "| annotator | kind | judgements |",
        "|---|---|---|",
        *(f"| {who} | {kind} | {n} |" for (who, kind), n in sorted(counted.annotators.items())),
        "",
        "## Where the answers come from",
        "",
        *models,
        "",
        "## Digests",
        "",
        *(f"SHA-256 of `{name}`: `{_sha256(folder / name)}`\n" for name in n_lines),
    ]
    return "\n".join(lines)


def _header(forms: Sequence[ExportForm], n_lines: Mapping[str, int]) -> list[str]:
    """What the Hub's loader reads: which of the files are the data set."""
    names = {form.name for form in forms}
    loaded = next((name for name in _LOADED if name in names), None)
    if loaded is None:
        return []
    files = {
        hub: name
        for split, hub in (("", "train"), *_HUB_SPLITS.items())
        if (name := file_name(EXPORTS[loaded].file, split)) in n_lines
    }
    listed = [f"  - split: {hub}\n    path: {name}" for hub, name in files.items()]
    return [
        "---",
        "configs:",
        "- config_name: default",
        "  data_files:",
        *listed,
        "tags: [preference, rlhf]",
        "---",
        "",
    ]


def _file_lines(forms: Sequence[ExportForm], n_lines: Mapping[str, int]) -> list[str]:
    return [
        f"- `{name}`: {n_lines[name]} {form.what}."
        for form in forms
        for split in ("", *_HUB_SPLITS)
        if (name := file_name(form.file, split)) in n_lines
    ]


def _simulated_note(counted: ExportCounts) -> str:
    return (
        f"**{counted.n_simulated} of {counted.n_all} judgements are simulated**: a stated rule "
        "gave them, not a person. They are the rows whose `annotator_kind` is `simulated`.\n"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
