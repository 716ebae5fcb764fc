from __future__ import annotations

import random
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.store.conftest import AddPrompt
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.store.check import check
from workbench.store.experiment import Experiment
from workbench.store.undo import Group

_TABLES = ("prompts", "completions", "comparisons", "judgements")


def visible(experiment: Experiment) -> dict[str, Any]:
    """All that a user can see, without the times."""
    prompts = experiment.prompts.list(limit=10_000)
    return {
        "prompts": [(p.id, p.text) for p in prompts],
        "answers": [
            (c.id, c.text) for p in prompts for c in experiment.completions.for_prompt(p.id)
        ],
        "pending": {who: experiment.comparisons.pending_ids(who) for who in ("ada", "bob")},
        "counts": [experiment.comparisons.counts(who) for who in ("ada", "bob", None)],
        "judgements": [
            (j.judgement.id, j.judgement.verdict) for j in experiment.judgements.list(limit=10_000)
        ],
        "n_judgements": experiment.judgements.count(),
        "preferences": [(p.chosen, p.rejected) for p in experiment.judgements.preferences()],
        "n_answers": experiment.completions.count(),
    }


def test_a_judgement_is_undone_and_redone_by_name(experiment: Experiment, pairs: list[int]) -> None:
    before = visible(experiment)
    experiment.judgements.add(pairs[0], "second", "ada", "person", 1.0)
    after = visible(experiment)
    assert experiment.undo.next_undo_name() == "ranked B better"
    assert experiment.undo.undo() == "ranked B better"
    assert visible(experiment) == before
    assert experiment.undo.next_redo_name() == "ranked B better"
    assert experiment.undo.redo() == "ranked B better"
    assert visible(experiment) == after
    assert experiment.undo.redo() is None


def test_undo_outlives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "e"
    with Experiment.create(path) as experiment:
        ids = experiment.prompts.add_many([NewPrompt((Message("user", t),)) for t in "abc"])
        experiment.prompts.delete(ids[:2])
        experiment.undo.undo()
        experiment.prompts.delete(ids[1:])
    with Experiment.open(path) as experiment:
        assert experiment.undo.undo() == "deleted 2 prompts"
        assert experiment.prompts.count() == 3
    with Experiment.open(path) as experiment:
        assert experiment.undo.redo() == "deleted 2 prompts"
        assert experiment.undo.undo() == "deleted 2 prompts"
        assert experiment.undo.undo() == "added 3 prompts"
        assert experiment.undo.undo() is None
        assert experiment.prompts.count() == 0


def test_deleting_a_prompt_hides_and_undo_shows_all_that_hangs_on_it(
    experiment: Experiment, pairs: list[int]
) -> None:
    experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    before = visible(experiment)
    prompt_id = experiment.comparisons.get(pairs[0]).prompt_id
    assert experiment.prompts.delete([prompt_id, prompt_id, 999]) == 1
    hidden = visible(experiment)
    assert hidden["preferences"] == []
    assert hidden["n_answers"] == 18
    assert hidden["counts"][0].total == 9
    assert experiment.undo.undo() == "deleted 1 prompt"
    assert visible(experiment) == before


def test_a_new_change_forgets_what_could_be_redone(
    experiment: Experiment, pairs: list[int]
) -> None:
    experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    experiment.undo.undo()
    experiment.judgements.add(pairs[0], "second", "ada", "person", 1.0)
    assert experiment.undo.redo() is None
    assert [p.chosen for p in experiment.judgements.preferences()] == ["bad 0"]


def test_generated_answers_are_no_step_of_undo(
    experiment: Experiment, add_prompt: AddPrompt
) -> None:
    prompt_id, _ = add_prompt("p")
    experiment.completions.add(NewCompletion(prompt_id, "generated"))
    assert experiment.undo.next_undo_name() == "added 1 prompt"


def test_a_failing_operation_leaves_nothing(experiment: Experiment, pairs: list[int]) -> None:
    before = visible(experiment)
    name = experiment.undo.next_undo_name()

    def rank_then_fail() -> None:
        with experiment.undo.operation("half done"):
            experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        rank_then_fail()
    assert visible(experiment) == before
    assert experiment.undo.next_undo_name() == name


def test_an_inner_failure_that_is_caught_is_not_part_of_the_operation(
    experiment: Experiment, pairs: list[int]
) -> None:
    def fail() -> None:
        with experiment.undo.operation("inner"):
            experiment.judgements.add(pairs[1], "first", "ada", "person", 1.0)
            raise RuntimeError

    with experiment.undo.operation("outer"):
        experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
        with pytest.raises(RuntimeError):
            fail()
    assert experiment.judgements.count() == 1
    assert experiment.undo.undo() == "outer"
    assert experiment.judgements.count() == 0
    assert experiment.undo.redo() == "outer"
    assert experiment.judgements.count() == 1


def test_a_group_is_undone_as_a_whole_and_apart_from_what_came_between(
    experiment: Experiment, pairs: list[int]
) -> None:
    group = Group()
    for start in (0, 4):
        with experiment.undo.operation(f"simulated {start + 4}", group):
            for comparison_id in pairs[start : start + 4]:
                experiment.judgements.add(comparison_id, "first", "bob", "simulated", 0.0)
        experiment.judgements.add(pairs[start], "second", "ada", "person", 1.0)
    assert [experiment.undo.undo() for _ in range(3)] == [
        "ranked B better",
        "ranked B better",
        "simulated 8",
    ]
    assert experiment.judgements.count() == 0
    for _ in range(3):
        experiment.undo.redo()
    assert experiment.judgements.count() == 10


def test_a_forged_undo_entry_cannot_name_another_table(experiment: Experiment) -> None:
    import sqlite3

    with experiment.database.write() as connection:
        connection.execute("INSERT INTO operations (name, created_at) VALUES ('forged', '')")
        connection.execute(
            "INSERT INTO changes (operation_id, table_name, column_name, first_id, last_id, before)"
            " VALUES (1, 'settings; DROP TABLE prompts', 'value', 1, 1, 0)"
        )
    with pytest.raises(sqlite3.IntegrityError, match="an undo entry names"):
        experiment.undo.undo()


class Editing(RuleBasedStateMachine):
    """Random edits, undos, redos and restarts: every undo gives back exactly what was before."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.path = Path(self._folder.name) / "e"
        self.experiment = Experiment.create(self.path)
        self.undo_stack: list[dict[str, Any]] = []
        self.redo_stack: list[dict[str, Any]] = []
        self.n = 0

    def teardown(self) -> None:
        self.experiment.close()
        report = check(self.path)
        self._folder.cleanup()
        assert report.problems == ()

    def _edit(self, before: dict[str, Any]) -> None:
        if visible(self.experiment) != before:
            self.undo_stack.append(before)
            self.redo_stack.clear()

    @rule(n=st.integers(1, 3), is_repeat=st.booleans())
    def add_prompts(self, n: int, is_repeat: bool) -> None:
        before = visible(self.experiment)
        names = [f"p{self.n + (0 if is_repeat else i)}" for i in range(n)]
        self.n += n
        ids = self.experiment.prompts.add_many(
            [NewPrompt((Message("user", name),)) for name in names]
        )
        self._edit(before)
        # Material of a generation job: no step of undo, so every remembered state changes.
        self._remake(ids)

    def _remake(self, ids: list[int]) -> None:
        for prompt_id in ids:
            if len(self.experiment.completions.for_prompt(prompt_id)) < 2:
                a, b = self.experiment.completions.add_many(
                    [NewCompletion(prompt_id, t) for t in ("x", "y")]
                )
                self.experiment.comparisons.add_many([(prompt_id, a, b)])

    @precondition(lambda self: self.experiment.comparisons.counts(None).total)
    @rule(
        verdict=st.sampled_from(["first", "second", "tie", "skip"]),
        who=st.sampled_from(["ada", "bob"]),
    )
    def judge(self, verdict: Any, who: str) -> None:
        pair = self.experiment.comparisons.next_pending(who)
        if pair:
            before = visible(self.experiment)
            self.experiment.judgements.add(pair.id, verdict, who, "person", 1.0)
            self._edit(before)

    @precondition(lambda self: self.experiment.prompts.count())
    @rule(seed=st.integers(0, 99))
    def delete(self, seed: int) -> None:
        ids = [p.id for p in self.experiment.prompts.list()]
        before = visible(self.experiment)
        rng = random.Random(seed)
        self.experiment.prompts.delete(rng.sample(ids, rng.randint(1, len(ids))))
        self._edit(before)

    @precondition(lambda self: self.undo_stack)
    @rule()
    def undo(self) -> None:
        self.redo_stack.append(visible(self.experiment))
        assert self.experiment.undo.undo()
        assert visible(self.experiment) == self.undo_stack.pop()

    @precondition(lambda self: self.redo_stack)
    @rule()
    def redo(self) -> None:
        self.undo_stack.append(visible(self.experiment))
        assert self.experiment.undo.redo()
        assert visible(self.experiment) == self.redo_stack.pop()

    @rule()
    def restart(self) -> None:
        before = visible(self.experiment)
        self.experiment.close()
        self.experiment = Experiment.open(self.path)
        assert visible(self.experiment) == before

    @invariant()
    def the_queue_fits_the_judgements(self) -> None:
        wrong = self.experiment.database.value(
            "SELECT count(*) FROM (SELECT annotator_id, comparison_id FROM queue"
            " EXCEPT SELECT annotator_id, comparison_id FROM pending)"
        )
        assert wrong == 0


class TestEditing(Editing.TestCase):  # type: ignore[misc]
    settings = settings(max_examples=8, stateful_step_count=15, deadline=None)
