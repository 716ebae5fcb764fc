"""Rankings, repeats, remarks, drafts, and the order of the queue, as the store keeps them."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.store.check import check
from workbench.store.experiment import DATABASE_NAME, Experiment

ADA = ("ada", "person")


@pytest.fixture
def experiment(tmp_path: Path) -> Iterator[Experiment]:
    """A prompt with four answers, and two pairs of them."""
    with Experiment.create(tmp_path / "experiment") as made:
        made.prompts.add_many([NewPrompt((Message("user", "why"),))])
        made.completions.add_many([NewCompletion(1, f"answer {i}") for i in range(4)])
        made.comparisons.add_many([(1, 2, 1), (1, 3, 4)])
        yield made


def verdicts(experiment: Experiment) -> dict[frozenset[int], int | None]:
    """The better answer of each judged pair; None for a tie."""
    found = {}
    for pair in experiment.judgements.list():
        comparison = experiment.comparisons.get(pair.judgement.comparison_id)
        better = {"first": comparison.first_id, "second": comparison.second_id, "tie": None}
        key = frozenset((comparison.first_id, comparison.second_id))
        found[key] = better[pair.judgement.verdict]
    return found


def test_a_ranking_judges_each_of_its_pairs_in_one_step(experiment: Experiment) -> None:
    ranking = experiment.rankings.add(1, [[3], [1, 4], [2]], *ADA, 12.0)
    place = {3: 0, 1: 1, 4: 1, 2: 2}
    wanted = {
        frozenset(pair): None
        if place[pair[0]] == place[pair[1]]
        else min(pair, key=place.__getitem__)
        for pair in itertools.combinations(place, 2)
    }
    assert verdicts(experiment) == wanted
    stored = [p.judgement for p in experiment.judgements.list()]
    assert {j.ranking_id for j in stored} == {ranking.id}
    assert sum(j.seconds for j in stored) == pytest.approx(12.0)
    assert experiment.rankings.list("ada") == [ranking]
    assert experiment.rankings.list("bob") == []
    assert experiment.undo.undo() == "ranked 4 answers"
    assert verdicts(experiment) == {}
    assert experiment.rankings.list() == []
    assert experiment.undo.redo() == "ranked 4 answers"
    assert verdicts(experiment) == wanted
    assert check(experiment.path).is_whole


def test_the_last_rating_counts_and_undo_brings_the_one_before_back(experiment: Experiment) -> None:
    def stars() -> list[str]:
        return [r.value for r in experiment.remarks.of_prompt(1, "ada")]

    experiment.remarks.add("rating", 1, 2, "4", *ADA)
    experiment.remarks.add("rating", 1, 2, "2", *ADA)
    assert stars() == ["2"]
    assert experiment.undo.undo() == "rated 2"
    assert stars() == ["4"]
    assert experiment.undo.undo() == "rated 4"
    assert stars() == []
    experiment.undo.redo()
    experiment.undo.redo()
    assert stars() == ["2"]


def test_tags_are_a_set_per_answer_and_make_a_vocabulary(experiment: Experiment) -> None:
    for answer, name in ((1, "事实"), (1, "事实"), (1, "tone"), (2, "tone"), (None, "weather")):
        experiment.remarks.add("tag", 1, answer, name, *ADA)
    assert experiment.remarks.vocabulary() == {"tone": 2, "weather": 1, "事实": 1}
    [tone] = [
        r for r in experiment.remarks.of_prompt(1) if r.completion_id == 1 and r.value == "tone"
    ]
    experiment.remarks.take_back(tone)
    assert experiment.remarks.vocabulary()["tone"] == 1
    assert experiment.undo.undo() == "untagged"
    assert experiment.remarks.vocabulary()["tone"] == 2


def test_a_repeat_leaves_the_judgement_alone(experiment: Experiment) -> None:
    experiment.judgements.add(1, "first", *ADA, 2.0)
    repeat = experiment.repeats.add(1, "second", *ADA, 1.5, is_swapped=True)
    assert [p.judgement.verdict for p in experiment.judgements.list()] == ["first"]
    assert experiment.repeats.list("ada") == [repeat]
    assert experiment.repeats.count("ada") == 1
    assert experiment.undo.undo() == "judged a pair once more"
    assert experiment.repeats.count("ada") == 0


def test_strength_and_reveal_are_kept(experiment: Experiment) -> None:
    experiment.judgements.add(1, "first", *ADA, 2.0, strength=2, is_revealed=True)
    stored = experiment.judgements.latest(1, "ada")
    assert stored is not None
    assert (stored.strength, stored.is_revealed) == (2, True)
    [preference] = experiment.judgements.preferences()
    assert preference.strength == 2


def test_many_judgements_are_taken_back_and_come_back_at_once(experiment: Experiment) -> None:
    ids = [experiment.judgements.add(i, "first", *ADA, 1.0).id for i in (1, 2)]
    assert experiment.judgements.take_back(ids) == 2
    assert experiment.judgements.count() == 0
    assert experiment.comparisons.counts("ada").pending == 2
    assert experiment.judgements.take_back(ids) == 0
    assert experiment.undo.undo() == "took back 2 judgements"
    assert experiment.judgements.count() == 2
    assert experiment.comparisons.counts("ada").pending == 0


def test_a_draft_is_one_per_pair_and_person(experiment: Experiment) -> None:
    experiment.drafts.save(1, "ada", {"edit": "half a sen"})
    experiment.drafts.save(1, "ada", {"edit": "half a sentence"})
    experiment.drafts.save(2, "bob", {"edit": "other"})
    assert experiment.drafts.load(1, "ada") == {"edit": "half a sentence"}
    assert experiment.drafts.list("ada") == [1]
    experiment.drafts.save(1, "ada", {})
    assert experiment.drafts.list("ada") == []
    assert experiment.drafts.load(1, "ada") == {}


def order(experiment: Experiment, annotator: str = "ada") -> list[int]:
    """The queue as one goes through it, without judging."""
    found: list[int] = []
    while (here := experiment.comparisons.next_pending(annotator, found[-1] if found else 0)) and (
        here.id not in found
    ):
        found.append(here.id)
    return found


def test_a_chosen_order_is_followed_and_new_pairs_come_last(experiment: Experiment) -> None:
    experiment.comparisons.add_many([(1, 1, 3), (1, 1, 4)])
    assert order(experiment) == [1, 2, 3, 4]
    experiment.comparisons.set_priorities("ada", {3: -2.0, 1: -1.0, 4: -0.5})
    assert order(experiment) == [3, 1, 4, 2]
    assert order(experiment, "bob") == [1, 2, 3, 4]
    experiment.judgements.add(3, "tie", *ADA, 1.0)
    # Behind a judged pair the best of what is left is next, also when its number is smaller.
    following = experiment.comparisons.next_pending("ada", 3)
    assert following is not None
    assert following.id == 1
    experiment.comparisons.set_priorities("ada", {})
    assert order(experiment) == [1, 2, 4]
    assert experiment.comparisons.is_pending("ada", 4)
    assert not experiment.comparisons.is_pending("ada", 3)


@pytest.mark.parametrize("table", ["rankings", "repeats", "remarks"])
def test_what_was_said_cannot_be_removed(experiment: Experiment, table: str) -> None:
    experiment.rankings.add(1, [[1], [2]], *ADA, 1.0)
    experiment.repeats.add(1, "tie", *ADA, 1.0, is_swapped=False)
    experiment.remarks.add("comment", 1, None, "hm", *ADA)
    path = experiment.path / DATABASE_NAME
    with closing(sqlite3.connect(path)) as other, pytest.raises(sqlite3.IntegrityError):
        other.execute(f"DELETE FROM {table}")


def test_a_verdict_comes_through_while_a_long_queue_gets_a_new_order(
    experiment: Experiment,
) -> None:
    """The order is written in many short transactions, between which a verdict finds its place."""
    (prompt,) = experiment.prompts.add_many([NewPrompt((Message("user", "p"),))])
    answers = experiment.completions.add_many([NewCompletion(prompt, f"{i}") for i in range(60)])
    experiment.comparisons.add_many(
        [(prompt, a, b) for i, a in enumerate(answers) for b in answers[:i]]
    )
    ids = experiment.comparisons.pending_ids("ada")
    wanted = {i: float(-i) for i in ids}
    n_written: list[int] = []
    writes = experiment.database.write

    @contextmanager
    def interrupted() -> Iterator[sqlite3.Connection]:
        before = experiment.database.n_changes
        with writes() as connection:
            yield connection
        n_written.append(experiment.database.n_changes - before)
        if len(n_written) == 1:
            with writes():
                experiment.judgements.add(ids[-1], "first", *ADA, 1.0)

    experiment.database.write = interrupted  # type: ignore[method-assign]
    experiment.comparisons.set_priorities("ada", wanted)
    experiment.database.write = writes  # type: ignore[method-assign]
    assert len(n_written) > 3
    assert max(n_written) < len(ids) / 2
    assert order(experiment) == ids[-2::-1]
    # Only what changes is written.
    n_before = experiment.database.n_changes
    experiment.comparisons.set_priorities("ada", {**wanted, ids[0]: 5.0})
    assert experiment.database.n_changes - n_before == 1


def test_many_comparisons_and_texts_at_once(experiment: Experiment) -> None:
    pairs = experiment.comparisons.pending("ada")
    assert [p.id for p in pairs] == experiment.comparisons.pending_ids("ada")
    assert experiment.comparisons.get_many([p.id for p in pairs[::-1]]) == pairs
    first = pairs[0]
    texts = experiment.completions.texts_of([first.first_id, first.second_id, 12345])
    assert texts == {
        i: experiment.completions.get(i).text for i in (first.first_id, first.second_id)
    }
