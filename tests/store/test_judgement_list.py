"""The list of all judgements, against plain loops over what the tables hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.store.check import check
from workbench.store.experiment import Experiment
from workbench.store.judgement_list import ListedJudgement, Order, Wanted

GROUPS = ("poems", "sums", "")
WORDS = ("fox", "rose", "奖励模型", "天气")
WHO = (("ada", "person"), ("bob", "person"), ("imported", "imported"), ("judge", "ai"))


@dataclass
class Row:
    """A judgement with all that a filter may ask, gathered without the list."""

    id: int
    prompt_id: int
    verdict: str
    strength: int
    annotator: str
    kind: str
    seconds: float
    group: str
    texts: tuple[str, str, str]
    tags: set[str]
    ratings: set[str]
    comments: set[str]


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Experiment]:
    """Forty prompts with three answers, judged and remarked at random; some of it is gone."""
    rng = random.Random(3)
    with Experiment.create(tmp_path_factory.mktemp("list") / "experiment") as made:
        with made.database.write():
            _fill(made, rng)
        made.prompts.delete([4, 9])
        made.comparisons.delete(range(1, 100, 11))
        standing = made.database.rows("SELECT id FROM judgements")
        made.judgements.take_back([row["id"] for row in standing if rng.random() < 0.2])
        remarks = [r for k in ("tag", "rating", "comment") for r in made.remarks.list(k)]  # type: ignore[arg-type]
        for remark in remarks[::7]:
            made.remarks.take_back(remark)
        yield made


def _fill(made: Experiment, rng: random.Random) -> None:
    for i in range(40):
        [prompt_id] = made.prompts.add_many(
            [NewPrompt((Message("user", f"p{i} {rng.choice(WORDS)}"),), rng.choice(GROUPS))]
        )
        answers = made.completions.add_many(
            [NewCompletion(prompt_id, f"a{i} {k} {rng.choice(WORDS)}") for k in range(3)]
        )
        pairs = list(itertools.combinations(answers, 2))
        for comparison, _ in made.comparisons.ensure([(prompt_id, *pair) for pair in pairs]):
            for who, kind in rng.sample(WHO, rng.randint(1, 3)):
                made.judgements.add(
                    comparison.id,
                    rng.choice(("first", "second", "tie", "both_bad", "skip")),  # type: ignore[arg-type]
                    who,
                    kind,  # type: ignore[arg-type]
                    rng.choice((0.0, 1.5, 2.0, 8.25)),
                    strength=rng.choice((0, 1, 2)),  # type: ignore[arg-type]
                )
        for answer in (None, *answers):
            if rng.random() < 0.3:
                tag = rng.choice(("tone", "事实"))
                made.remarks.add("tag", prompt_id, answer, tag, "ada", "person")
            if rng.random() < 0.15:
                made.remarks.add("comment", prompt_id, answer, "hm", "bob", "person")
            if answer is not None and rng.random() < 0.3:
                stars = str(rng.randint(1, 5))
                made.remarks.add("rating", prompt_id, answer, stars, "ada", "person")


def rows_of(experiment: Experiment) -> list[Row]:
    """What stands and is not hidden, table by table, in order of its ids."""

    def table(name: str) -> dict[int, Any]:
        return {row["id"]: row for row in experiment.database.rows(f"SELECT * FROM {name}")}

    prompts, completions = table("prompts"), table("completions")
    comparisons, remarks = table("comparisons"), table("remarks")
    found = []
    for j in table("judgements").values():
        c = comparisons[j["comparison_id"]]
        p = prompts[c["prompt_id"]]
        if j["is_undone"] or c["is_deleted"] or p["is_deleted"]:
            continue
        about = [
            r
            for r in remarks.values()
            if not r["is_undone"]
            and r["prompt_id"] == p["id"]
            and r["completion_id"] in (None, c["first_id"], c["second_id"])
        ]
        texts = (
            p["messages"], completions[c["first_id"]]["text"], completions[c["second_id"]]["text"]
        )  # fmt: skip
        said = {k: {r["value"] for r in about if r["kind"] == k} for k in ("tag", "rating")}
        found.append(
            Row(
                j["id"], p["id"], j["verdict"], j["strength"], j["annotator"], j["annotator_kind"],
                j["seconds"], p["prompt_group"], texts, said["tag"], said["rating"],
                {r["value"] for r in about if r["kind"] == "comment"},
            )
        )  # fmt: skip
    return sorted(found, key=lambda row: row.id)


def fits(row: Row, wanted: Wanted) -> bool:
    """Whether a row is wanted, said once more in Python."""
    return (
        wanted.verdict in (None, row.verdict)
        and wanted.strength in (None, row.strength)
        and wanted.annotator in (None, row.annotator)
        and wanted.annotator_kind in (None, row.kind)
        and wanted.group in (None, row.group)
        and (wanted.tag is None or wanted.tag in row.tags)
        and (wanted.rating is None or str(wanted.rating) in row.ratings)
        and (wanted.has_comment is None or wanted.has_comment == bool(row.comments))
        and all(any(word in text for text in row.texts) for word in wanted.search.split())
    )


def in_order(rows: list[Row], order: Order) -> list[int]:
    keys = {
        "newest": lambda r: -r.id,
        "oldest": lambda r: r.id,
        "longest": lambda r: (-r.seconds, -r.id),
        "prompt": lambda r: (r.prompt_id, r.id),
    }
    return [row.id for row in sorted(rows, key=keys[order])]


def walk(experiment: Experiment, wanted: Wanted, order: Order, limit: int = 7) -> list[int]:
    """All pages behind each other."""
    seen: list[ListedJudgement] = []
    while page := experiment.judgement_list.page(wanted, order, seen[-1] if seen else None, limit):
        seen += page
    return [row.judgement.id for row in seen]


FILTERS = (
    Wanted(),
    Wanted(verdict="tie"),
    Wanted(strength=0),
    Wanted(strength=2),
    Wanted(annotator="bob"),
    Wanted(annotator="nobody"),
    Wanted(annotator_kind="person"),
    Wanted(annotator_kind="ai"),
    Wanted(annotator_kind="simulated"),
    Wanted(group="poems"),
    Wanted(group=""),
    Wanted(group="none of these"),
    Wanted(tag="tone"),
    Wanted(tag="事实"),
    Wanted(tag="to"),
    Wanted(rating=1),
    Wanted(rating=5),
    Wanted(has_comment=True),
    Wanted(has_comment=False),
    Wanted(search="fox"),
    Wanted(search="奖励"),
    Wanted(search="励奖"),
    Wanted(search="天气"),
    Wanted(search="..."),
    Wanted(verdict="first", strength=1, annotator="ada", annotator_kind="person"),
    Wanted(group="sums", tag="tone", has_comment=False),
    Wanted(verdict="second", rating=3, search="模型"),
)


@pytest.mark.parametrize("order", get_args(Order))
@pytest.mark.parametrize("wanted", FILTERS, ids=str)
def test_every_filter_in_every_order(experiment: Experiment, wanted: Wanted, order: Order) -> None:
    rows = [row for row in rows_of(experiment) if fits(row, wanted)]
    if wanted.search == "...":
        rows = []  # there is no word to look for
    assert walk(experiment, wanted, order) == in_order(rows, order)
    assert experiment.judgement_list.count(wanted) == len(rows)
    assert [i for i, _ in experiment.judgement_list.ids(wanted)] == [row.id for row in rows]


def test_the_filters_of_this_test_find_something_and_leave_something_out(
    experiment: Experiment,
) -> None:
    every = rows_of(experiment)
    empty = {"simulated", "nobody", "none of these", "to", "励奖", "..."}
    for wanted in FILTERS[1:]:
        values = {wanted.annotator_kind, wanted.annotator, wanted.group, wanted.tag, wanted.search}
        n = sum(fits(row, wanted) for row in every)
        assert n < len(every), wanted
        assert bool(n) != bool(values & empty), wanted


def test_a_row_has_all_that_its_card_shows(experiment: Experiment) -> None:
    by_id = {row.id: row for row in rows_of(experiment)}
    for listed in experiment.judgement_list.page(Wanted(), limit=1000):
        row = by_id[listed.judgement.id]
        assert listed.prompt.id == row.prompt_id
        assert (listed.first_text, listed.second_text) == row.texts[1:]
        assert set(listed.tags) == row.tags
        assert len(listed.tags) == len(row.tags)
        assert {r.value for r in listed.remarks if r.kind == "comment"} == row.comments
        assert listed.comparison == experiment.comparisons.get(listed.judgement.comparison_id)


def test_annotators_are_those_with_something_that_stands(experiment: Experiment) -> None:
    # Those of deleted pairs too: the list only offers names.
    wanted = sorted(experiment.judgements.annotators())
    assert experiment.judgement_list.annotators() == wanted == sorted(name for name, _ in WHO)


def test_no_page_is_missed_when_all_took_equally_long(tmp_path: Path) -> None:
    with Experiment.create(tmp_path / "equal") as made, made.database.write():
        [prompt_id] = made.prompts.add_many([NewPrompt((Message("user", "p"),))])
        a, b = made.completions.add_many([NewCompletion(prompt_id, "a"), NewCompletion(1, "b")])
        made.comparisons.add_many([(prompt_id, a, b)])
        for i in range(20):
            made.judgements.add(1, "first", f"annotator {i}", "person", 0.1 + 0.2)
        assert walk(made, Wanted(), "longest", 3) == list(range(20, 0, -1))
        assert walk(made, Wanted(), "prompt", 3) == list(range(1, 21))


# Deleting pairs and letting them wait again


@pytest.fixture
def judged(tmp_path: Path) -> Iterator[Experiment]:
    """Six pairs; ada judged all of them and the first one twice, bob the second one."""
    with Experiment.create(tmp_path / "experiment") as made:
        for i in range(6):
            [prompt_id] = made.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
            pair = made.completions.add_many([NewCompletion(prompt_id, t) for t in ("a", "b")])
            made.comparisons.add_many([(prompt_id, pair[0], pair[1])])
            made.judgements.add(i + 1, "first", "ada", "person", 1.0)
        made.judgements.add(1, "tie", "ada", "person", 1.0)
        made.judgements.add(2, "tie", "bob", "person", 1.0)
        made.comparisons.pending_ids("ada")
        yield made


def state(experiment: Experiment) -> dict[str, Any]:
    return {
        "listed": walk(experiment, Wanted(), "oldest"),
        "waiting": [experiment.comparisons.pending_ids(who) for who in ("ada", "bob")],
        "counts": experiment.comparisons.counts("ada"),
        "preferences": [p.comparison_id for p in experiment.judgements.preferences()],
    }


def test_deleted_pairs_neither_wait_nor_count_and_come_back(judged: Experiment) -> None:
    before = state(judged)
    assert judged.comparisons.delete([1, 3, 3, 77]) == 2
    after = state(judged)
    assert after["listed"] == [2, 4, 5, 6, 8]
    assert after["waiting"] == [[], [4, 5, 6]]
    assert (after["counts"].total, after["counts"].judged) == (4, 4)
    assert after["preferences"] == [4, 5, 6]
    assert judged.comparisons.delete([1]) == 0
    assert judged.undo.undo() == "deleted 2 pairs"
    assert state(judged) == before
    assert judged.undo.redo() == "deleted 2 pairs"
    assert state(judged) == after
    assert judged.comparisons.by_prompt(is_deleted=True) == {
        1: {frozenset((1, 2))},
        3: {frozenset((5, 6))},
    }
    assert check(judged.path).is_whole


def test_what_is_taken_back_waits_again_with_all_that_was_said_of_it(judged: Experiment) -> None:
    before = state(judged)
    newest_of_the_first_pair = 7
    ids = judged.judgement_list.with_earlier([newest_of_the_first_pair, 2])
    assert ids == [1, 2, 7]
    judged.judgements.take_back(ids)
    after = state(judged)
    assert after["listed"] == [3, 4, 5, 6, 8]
    assert after["waiting"] == [[1, 2], [1, 3, 4, 5, 6]]
    assert judged.undo.undo() == "took back 3 judgements"
    assert state(judged) == before
    assert judged.judgement_list.with_earlier([]) == []
