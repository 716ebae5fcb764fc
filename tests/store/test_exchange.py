"""Many judged pairs at once must leave what the repositories leave one pair at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.store.test_undo import visible
from workbench.data.formats.rows import PreferenceRow
from workbench.data.records import Message, NewCompletion, NewPrompt, Verdict
from workbench.store.check import check
from workbench.store.exchange import PairFilter
from workbench.store.experiment import Experiment
from workbench.store.undo import Group

_ROWS = st.lists(
    st.builds(
        PreferenceRow,
        messages=st.sampled_from("pq").map(lambda text: (Message("user", text),)),
        first=st.sampled_from(["a", "b", "模型", "nul\0 and more"]),
        second=st.sampled_from(["a", "b", "c"]),
        verdict=st.sampled_from(["first", "tie", "both_bad", "skip"]),
        annotator=st.sampled_from(["ada", "bob"]),
        annotator_kind=st.sampled_from(["person", "imported", "ai"]),
        strength=st.sampled_from([0, 2]),
    ),
    max_size=8,
)
Said = tuple[str, frozenset[tuple[str, bool]], str, str, int]


def one_by_one(experiment: Experiment, rows: Sequence[PreferenceRow]) -> None:
    """The oracle: the repositories for single records."""
    for row in rows:
        [prompt_id] = experiment.prompts.add_many([NewPrompt(row.messages)])
        ids: list[int] = []
        for text in (row.first, row.second):
            there = experiment.completions.for_prompt(prompt_id)
            found = next((c.id for c in there if c.text == text and c.id not in ids), None)
            ids.append(found or experiment.completions.add(NewCompletion(prompt_id, text)))
        [(comparison, _)] = experiment.comparisons.ensure([(prompt_id, ids[0], ids[1])])
        turned: Verdict = "second" if row.verdict == "first" else row.verdict
        verdict = row.verdict if comparison.first_id == ids[0] else turned
        latest = experiment.judgements.latest(comparison.id, row.annotator)
        if latest is None or (latest.verdict, latest.strength) != (verdict, row.strength):
            experiment.judgements.add(
                comparison.id,
                verdict,
                row.annotator,
                row.annotator_kind,
                0.0,
                strength=row.strength,
            )


def said(experiment: Experiment) -> list[Said]:
    """Judgements in order, whichever answer is shown first."""
    return [
        (
            pair.prompt.text,
            frozenset(
                {
                    (pair.first_text, pair.judgement.verdict == "first"),
                    (pair.second_text, pair.judgement.verdict == "second"),
                }
            ),
            pair.judgement.annotator,
            pair.judgement.annotator_kind,
            pair.judgement.strength,
        )
        for pair in experiment.judgements.list(limit=1000)
    ]


@settings(max_examples=40, deadline=None)
@given(_ROWS, st.integers(1, 8))
def test_a_batch_leaves_what_single_rows_leave(rows: list[PreferenceRow], size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with (
            Experiment.create(Path(folder) / "one") as one,
            Experiment.create(Path(folder) / "many") as many,
        ):
            one_by_one(one, rows)
            before = visible(many)
            group, n = Group(), 0
            for start in range(0, len(rows), size):
                n += many.exchange.add_judged(rows[start : start + size], group, n)
            assert said(many) == said(one)
            assert n == many.judgements.count()
            assert many.completions.count() == one.completions.count()
            assert many.comparisons.counts(None) == one.comparisons.counts(None)
            after = visible(many)
            if rows:
                assert many.undo.undo() == f"imported {n} judgement{'' if n == 1 else 's'}"
                assert visible(many) == before
                many.undo.redo()
                assert visible(many) == after
            many.undo.revert(group)
            assert visible(many) == before
            assert many.undo.next_undo_name() is None
            assert many.undo.next_redo_name() is None
        assert check(Path(folder) / "many").problems == ()


def test_the_deciding_judgement_is_that_of_the_preferences(experiment: Experiment) -> None:
    row = PreferenceRow((Message("user", "p"),), "a", "b", annotator="x", annotator_kind="ai")
    other = PreferenceRow((Message("user", "p"),), "b", "a", annotator="y", annotator_kind="person")
    experiment.exchange.add_judged([other, row], Group())
    [decided] = experiment.judgements.preferences()
    [pair] = experiment.exchange.pairs(experiment.exchange.deciding_ids(PairFilter()))
    assert (pair.judgement.annotator, decided.annotator) == ("y", "y")
    [pair] = experiment.exchange.pairs(
        experiment.exchange.deciding_ids(PairFilter(annotators=("x",)))
    )
    assert pair.judgement.annotator == "x"
    assert experiment.exchange.deciding_ids(PairFilter(is_agreed=True)) == []


def test_a_failing_batch_leaves_those_before_it(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = PreferenceRow((Message("user", "p"),), "a", "b", annotator="x")
    group = Group()
    experiment.exchange.add_judged([row], group)
    before = visible(experiment)
    bad = PreferenceRow((Message("user", "q"),), "a", "b", verdict="maybe")  # type: ignore[arg-type]
    with pytest.raises(Exception, match="CHECK constraint"):
        experiment.exchange.add_judged([bad], group, 1)
    assert visible(experiment) == before
    experiment.undo.revert(group)
    assert experiment.judgements.count() == 0
