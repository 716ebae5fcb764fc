from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.errors import UserError
from workbench.events import Finished, Progress
from workbench.store.experiment import Experiment


@pytest.fixture
def ws(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.open(tmp_path / "experiment", create=True)
    yield opened
    assert opened.close(timeout=30)


def fill(ws: Workspace, n_prompts: int, answers: tuple[str, ...]) -> None:
    with ws.experiment.database.write():
        for i in range(n_prompts):
            [prompt_id] = ws.experiment.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
            ws.experiment.completions.add_many(
                [NewCompletion(prompt_id, text, seed=k) for k, text in enumerate(answers)]
            )


def shown(ws: Workspace) -> list[tuple[int, int]]:
    comparisons = [
        ws.experiment.comparisons.get(i) for i in ws.experiment.comparisons.pending_ids("x")
    ]
    return [(c.first_id, c.second_id) for c in comparisons]


@pytest.mark.parametrize(("n_answers", "n_pairs"), [(1, 0), (2, 1), (3, 3), (4, 6), (5, 6), (9, 6)])
def test_pairs_per_prompt(ws: Workspace, n_answers: int, n_pairs: int) -> None:
    fill(ws, 1, tuple(f"answer {i}" for i in range(n_answers)))
    assert labelling.make_comparisons(ws) == n_pairs
    assert labelling.make_comparisons(ws, seed=5) == 0
    pairs = shown(ws)
    assert len({frozenset(pair) for pair in pairs}) == n_pairs
    if 2 <= n_answers <= 6:
        assert {i for pair in pairs for i in pair} == set(range(1, n_answers + 1))


def test_new_answers_bring_new_pairs_up_to_the_limit(ws: Workspace) -> None:
    fill(ws, 1, ("a", "b"))
    assert labelling.make_comparisons(ws) == 1
    ws.experiment.completions.add_many([NewCompletion(1, t) for t in "cdef"])
    assert labelling.make_comparisons(ws) == 5
    assert labelling.make_comparisons(ws) == 0


def test_order_and_sides_are_shuffled_by_the_seed(tmp_path: Path) -> None:
    orders = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        ws = Workspace.open(tmp_path / name, create=True)
        fill(ws, 40, ("first", "second"))
        labelling.make_comparisons(ws, seed)
        orders.append(shown(ws))
        ws.close()
    assert orders[0] == orders[1] != orders[2]
    assert [min(p) for p in orders[0]] != sorted(min(p) for p in orders[0])
    n_turned = sum(first > second for first, second in orders[0])
    assert 8 <= n_turned <= 32


def test_next_item_says_what_is_odd_about_a_pair(ws: Workspace) -> None:
    fill(ws, 1, ("same", "same "))
    [prompt_id] = ws.experiment.prompts.add_many([NewPrompt((Message("user", "q"),))])
    ws.experiment.completions.add_many([NewCompletion(prompt_id, t) for t in ("", "text")])
    assert labelling.make_comparisons(ws) == 2
    items = [labelling.item(ws, i) for i in ws.experiment.comparisons.pending_ids("x")]
    assert {(i.prompt.text, i.is_identical, i.has_empty) for i in items} == {
        ("p0", True, False),
        ("q", False, True),
    }


def test_ranking_to_the_end_with_undo_and_redo(ws: Workspace) -> None:
    fill(ws, 4, ("a", "b"))
    labelling.make_comparisons(ws)
    assert labelling.progress(ws).seconds_left is None
    verdicts = iter(["first", "skip", "both_bad", "tie"])
    while item := labelling.next_item(ws):
        labelling.judge(ws, item.comparison.id, next(verdicts), 3.0)  # type: ignore[arg-type]
    done = labelling.progress(ws)
    assert (done.n_total, done.n_judged, done.n_skipped, done.n_left) == (4, 3, 1, 0)
    assert done.seconds_left == 0.0
    last = labelling.judgements(ws, is_newest_first=True)[0].judgement
    assert labelling.undo_name(ws) == labelling.undo(ws) == "ranked a tie"
    again = labelling.next_item(ws)
    assert again is not None
    assert again.comparison.id == last.comparison_id
    assert labelling.progress(ws).n_left == 1
    assert labelling.redo_name(ws) == labelling.redo(ws) == "ranked a tie"
    assert labelling.next_item(ws) is None
    assert labelling.redo(ws) is None


def test_the_next_pair_can_be_fetched_ahead(ws: Workspace) -> None:
    fill(ws, 3, ("a", "b"))
    labelling.make_comparisons(ws)
    first = labelling.next_item(ws)
    assert first is not None
    second = labelling.next_item(ws, after_id=first.comparison.id)
    assert second is not None
    labelling.judge(ws, first.comparison.id, "first", 1.0)
    assert labelling.next_item(ws) == second


def test_time_left_follows_the_median_of_the_last_judgements(ws: Workspace) -> None:
    fill(ws, 10, ("a", "b"))
    labelling.make_comparisons(ws)
    for seconds in (4.0, 3600.0, 6.0, 5.0, -1.0):  # a coffee break, and a clock that went back
        item = labelling.next_item(ws)
        assert item is not None
        labelling.judge(ws, item.comparison.id, "first", seconds)
    assert labelling.progress(ws).seconds_left == 5.5 * 5


def test_a_judgement_is_in_the_file_when_judge_returns(ws: Workspace) -> None:
    fill(ws, 1, ("a", "b"))
    labelling.make_comparisons(ws)
    labelling.judge(ws, 1, "second", 1.0)
    with Experiment.open(ws.path, is_read_only=True) as other:
        assert [j.judgement.verdict for j in other.judgements.list()] == ["second"]


def test_an_unknown_pair_is_refused(ws: Workspace) -> None:
    with pytest.raises(UserError, match="no comparison 7"):
        labelling.judge(ws, 7, "first", 1.0)


def test_the_simulated_annotator_judges_all_and_is_undone_as_a_whole(ws: Workspace) -> None:
    fill(ws, 30, ("This is wonderful, I love it!", "This is horrible and sad."))
    labelling.make_comparisons(ws)
    labelling.judge(ws, 1, "tie", 1.0)
    job = labelling.simulate(ws, AnnotatorSettings(noise=0.0))
    events = list(job.follow(timeout=60))
    assert [e.done for e in events if isinstance(e, Progress)] == [25, 30]
    assert isinstance(events[-1], Finished)
    assert events[-1].outcome == "done"
    assert events[-1].result == {"n_judged": 30}
    rows = labelling.judgements(ws, annotator="simulated")
    assert {row.judgement.annotator_kind for row in rows} == {"simulated"}
    simulated = ws.experiment.judgements.preferences(["simulated"])
    assert len(simulated) == 30
    assert {p.chosen for p in simulated} == {"This is wonderful, I love it!"}
    assert labelling.progress(ws).n_left == 29  # the person's own queue is untouched
    with pytest.raises(UserError, match="has not judged"):
        labelling.simulate(ws, AnnotatorSettings())
    assert labelling.undo(ws) == "simulated 30 judgements"
    assert ws.experiment.judgements.count() == 1
    assert labelling.undo(ws) == "ranked a tie"


def test_a_stopped_simulation_keeps_what_is_judged_and_goes_on_later(ws: Workspace) -> None:
    fill(ws, 60, ("good", "bad"))
    labelling.make_comparisons(ws)
    job = labelling.simulate(ws, AnnotatorSettings())
    job.token.request_stop()
    assert job.wait(60)
    n_before = ws.experiment.judgements.count()
    assert n_before in (0, 25, 50, 60)
    if n_before < 60:
        assert labelling.simulate(ws, AnnotatorSettings()).wait(60)
    assert ws.experiment.judgements.count() == 60
