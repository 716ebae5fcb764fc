"""Deleting and queueing again, many at once, and undone as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.app import judgements_list, labelling
from workbench.app.workspace import Workspace
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Progress
from workbench.jobs.runner import Job
from workbench.store.judgement_list import Wanted

N = 10


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    """Ten pairs; the first six are judged, one of them twice."""
    opened = Workspace.open(tmp_path / "experiment", create=True)
    with opened.experiment.database.write():
        for i in range(N):
            [prompt] = opened.experiment.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
            opened.experiment.completions.add_many([NewCompletion(prompt, t) for t in ("a", "b")])
        labelling.make_comparisons(opened)
        for pair in (1, 2, 3, 4, 5, 6, 1):
            labelling.judge(opened, pair, "tie" if pair > 4 else "first", 1.0)
    yield opened
    assert opened.close(timeout=30)


def listed(ws: Workspace) -> list[int]:
    return [row.judgement.id for row in judgements_list.page(ws, Wanted(), "oldest")]


def ended(job: int | Job) -> list[int]:
    """The progress of a job that was done to its end."""
    assert isinstance(job, Job)
    done = [e.done for e in job.follow(timeout=30) if isinstance(e, Progress)]
    assert job.outcome == "done"
    return done


def test_few_are_changed_at_once(ws: Workspace) -> None:
    assert judgements_list.delete_pairs(ws, [1, 2, 2, 999]) == 2
    assert listed(ws) == [3, 4, 5, 6]
    assert judgements_list.take_back(ws, [4]) == 1
    assert labelling.is_pending(ws, 4)
    assert labelling.undo(ws) == "took back 1 judgement"
    assert labelling.undo(ws) == "deleted 2 pairs"
    assert listed(ws) == [1, 2, 3, 4, 5, 6, 7]


def test_a_pair_that_was_judged_twice_waits_again(ws: Workspace) -> None:
    assert judgements_list.take_back(ws, [7]) == 2
    assert labelling.is_pending(ws, 1)
    assert labelling.undo(ws) == "took back 2 judgements"
    assert not labelling.is_pending(ws, 1)


def test_many_are_a_job_and_one_operation(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judgements_list, "BATCH", 2)
    assert ended(judgements_list.delete_all(ws, Wanted(verdict="first"))) == [2, 4]
    assert listed(ws) == [5, 6]
    assert ws.experiment.comparisons.counts(ws.annotator).total == N - 4
    assert labelling.undo_name(ws) == "deleted 4 pairs"
    assert labelling.undo(ws) == "deleted 4 pairs"
    assert listed(ws) == [1, 2, 3, 4, 5, 6, 7]
    assert labelling.undo_name(ws) != "deleted 4 pairs"

    assert ended(judgements_list.take_back_all(ws, Wanted())) == [2, 4, 6, 7]
    assert listed(ws) == []
    assert labelling.progress(ws).n_left == N
    assert labelling.undo(ws) == "took back 7 judgements"
    assert labelling.progress(ws).n_left == N - 6
    assert labelling.redo(ws) == "took back 7 judgements"
    assert listed(ws) == []


def test_all_that_match_may_be_few(ws: Workspace) -> None:
    assert judgements_list.delete_all(ws, Wanted(verdict="tie")) == 2
    assert judgements_list.take_back_all(ws, Wanted(verdict="skip")) == 0
    assert labelling.undo(ws) == "deleted 2 pairs"


def test_deleted_pairs_are_not_made_again(ws: Workspace) -> None:
    judgements_list.delete_pairs(ws, [1, 2, 3])
    assert labelling.make_comparisons(ws) == 0
    prompt_id = ws.experiment.comparisons.get(1).prompt_id
    ws.experiment.completions.add_many([NewCompletion(prompt_id, "c")])
    # The new answer meets both old ones, which do not meet each other again.
    assert labelling.make_comparisons(ws) == 2
    assert labelling.undo(ws) == "deleted 3 pairs"
    assert labelling.progress(ws).n_total == N + 2
    assert labelling.make_comparisons(ws) == 0


def test_a_read_only_experiment_says_so(ws: Workspace) -> None:
    path = ws.path
    other = Workspace.open(path, is_read_only=True)
    try:
        with pytest.raises((UserError, EnvironmentProblem), match="read-only"):
            judgements_list.delete_pairs(other, [1])
        assert judgements_list.count(other, Wanted()) == 7
    finally:
        other.close()
