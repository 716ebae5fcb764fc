"""Whether an experiment folder is whole: database, folders that runs wrote, leftovers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workbench.data.folders import digest_folder, leftovers, verify
from workbench.errors import WorkbenchError
from workbench.store.database import telling_database_problems
from workbench.store.experiment import Experiment

_PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What `check` found: `problems` as sentences (empty: all is well), `facts` as figures."""

    problems: tuple[str, ...]
    facts: dict[str, int]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def check(path: Path) -> CheckReport:
    """Check an experiment folder without changing it; another program may have it open.

    Raises:
        WorkbenchError: There is no experiment there.
    """
    try:
        experiment = Experiment.open(path, is_read_only=True)
    except WorkbenchError as error:
        if not (path / "experiment.db").exists():
            raise
        return CheckReport((str(error),), {})
    with experiment:
        problems = [
            *_pages(experiment),
            *_references(experiment),
            *_queue(experiment),
            *_search(experiment),
            *_artifacts(experiment),
        ]
        problems += [
            f"{left.relative_to(experiment.path)} was left half-written by a crash; "
            "opening the experiment removes it."
            for left in leftovers(experiment.path)
        ]
        return CheckReport(tuple(problems), _facts(experiment))


def _pages(experiment: Experiment) -> list[str]:
    rows = experiment.database.rows(f"PRAGMA integrity_check({_PROBLEMS_SHOWN})")
    return [f"Database: {row[0]}." for row in rows if row[0] != "ok"]


def _references(experiment: Experiment) -> list[str]:
    rows = experiment.database.rows("PRAGMA foreign_key_check")
    return [
        f"Database: row {row['rowid']} of {row['table']} refers to a missing row of "
        f"{row['parent']}."
        for row in rows[:_PROBLEMS_SHOWN]
    ]


def _queue(experiment: Experiment) -> list[str]:
    n_wrong = experiment.database.value(
        "SELECT (SELECT count(*) FROM (SELECT annotator_id, comparison_id FROM queue EXCEPT"
        " SELECT annotator_id, comparison_id FROM pending)) + (SELECT count(*) FROM"
        " (SELECT annotator_id, comparison_id FROM pending EXCEPT"
        " SELECT annotator_id, comparison_id FROM queue))"
    )
    return [f"The ranking queue and the judgements differ (entries: {n_wrong})."] if n_wrong else []


def _search(experiment: Experiment) -> list[str]:
    problems = []
    for table, index in (("prompts", "prompt_search"), ("completions", "completion_search")):
        n_rows = experiment.database.value(f"SELECT count(*) FROM {table}")
        with telling_database_problems(experiment.database.path):
            n_indexed = experiment.database.value(f"SELECT count(*) FROM {index}_docsize")
        if n_rows != n_indexed:
            problems.append(f"The search index knows {n_indexed} of {n_rows} {table}.")
    return problems


def _artifacts(experiment: Experiment) -> list[str]:
    problems = []
    for artifact in experiment.artifacts.list():
        folder = experiment.path / artifact.path
        if not folder.exists():
            problems.append(f"Run {artifact.run_id}: its {artifact.kind} {artifact.path} is gone.")
            continue
        found = verify(folder)
        if not found and artifact.digest and digest_folder(folder) != artifact.digest:
            found = [f"{folder.name} is not what the run wrote."]
        problems += [f"Run {artifact.run_id}: {problem}" for problem in found]
    return problems


def _facts(experiment: Experiment) -> dict[str, int]:
    return {
        "prompts": experiment.prompts.count(),
        "completions": experiment.completions.count(),
        "comparisons": experiment.comparisons.counts(None).total,
        "judgements": experiment.judgements.count(),
        "runs": len(experiment.runs.list()),
        "artifacts": len(experiment.artifacts.list()),
    }
