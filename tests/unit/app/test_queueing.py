"""The order of the queue, as a job over a real experiment with a random model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tests.unit.app.conftest import end, events_of
from workbench.app import features, labelling, queueing
from workbench.app.features import CACHE
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.queueing import QueueSettings
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.errors import UserError
from workbench.events import Progress, Warned

ME = "me"
LEARNING = ("uncertainty", "diversity", "mix")


@pytest.fixture
def pool(judged: Workspace) -> Workspace:
    """All pairs judged by the simulated annotator, none by me."""
    judged.annotator = ME
    return judged


def queue_of(ws: Workspace) -> list[int]:
    """The queue as it is walked, judging nothing: read from the records behind `next_item`."""
    rows = ws.experiment.database.rows(
        "SELECT comparison_id FROM queue WHERE annotator_id ="
        " (SELECT id FROM annotators WHERE name = ?) ORDER BY priority, comparison_id",
        (ws.annotator,),
    )
    return [row["comparison_id"] for row in rows]


def put(ws: Workspace, **settings: object) -> list[int]:
    finished = end(queueing.order(ws, QueueSettings(**settings)))  # type: ignore[arg-type]
    assert finished.outcome == "done", finished.error
    return queue_of(ws)


def add_pair(ws: Workspace, question: str, first: str, second: str) -> int:
    (prompt,) = ws.experiment.prompts.add_many([NewPrompt((Message("user", question),))])
    ids = ws.experiment.completions.add_many(
        [NewCompletion(prompt, text, seed=k) for k, text in enumerate((first, second))]
    )
    ((comparison, _),) = ws.experiment.comparisons.ensure([(prompt, *ids)])
    return comparison.id


@pytest.mark.parametrize("strategy", ["random", *LEARNING])
def test_an_order_is_the_same_for_the_same_seed(pool: Workspace, strategy: str) -> None:
    first = put(pool, strategy=strategy, seed=1)
    assert sorted(first) == sorted(pool.experiment.comparisons.pending_ids(ME))
    assert put(pool, strategy="in-order") != first
    assert put(pool, strategy=strategy, seed=1) == first
    assert first[0] == labelling.next_item(pool).comparison.id  # type: ignore[union-attr]
    if strategy != "diversity":
        assert put(pool, strategy=strategy, seed=2) != first


def test_the_second_time_only_what_is_new_is_computed(pool: Workspace, monkeypatch) -> None:
    from workbench.rewards import features as model_features

    computed: list[int] = []
    real = model_features.answer_features

    def counting(model, prompts, texts, layers):
        computed.append(len(texts))
        return real(model, prompts, texts, layers)

    monkeypatch.setattr(model_features, "answer_features", counting)
    before = put(pool, strategy="diversity")
    n_answers = sum(computed)
    assert 0 < n_answers <= pool.experiment.completions.count()
    computed.clear()
    assert put(pool, strategy="diversity") == before
    assert not computed
    add_pair(pool, "w1 w9", "w2 w2 w2 w5", "w3 w4")
    put(pool, strategy="uncertainty")
    assert sum(computed) == 2
    for path in (pool.path / CACHE).rglob("*.npz"):
        path.write_bytes(b"broken")
    computed.clear()
    put(pool, strategy="diversity")
    assert sum(computed) == n_answers + 2


def test_cached_numbers_are_those_that_were_computed(pool: Workspace) -> None:
    answers = [((Message("user", "p"),), text) for text in ("a", "b", "a", "cc")]

    def compute(some):
        return np.array([[len(text), ord(text[0])] for _, text in some])

    def run() -> np.ndarray:
        steps = features.cached(pool, "test", answers, compute, CancelToken())
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return stop.value

    expected = [[1, 97], [1, 98], [1, 97], [2, 99]]
    assert run().tolist() == expected
    assert run().tolist() == expected


def test_same_answers_go_to_the_end_and_are_counted(pool: Workspace) -> None:
    text = "the sea is blue and wide and the ships are slow"
    odd = [
        add_pair(pool, "a", "Yes,  I CAN", "yes, i can"),
        add_pair(pool, "b", text, f"{text}."),
        add_pair(
            pool,
            "c",
            "天空是蓝色的，因为空气散射蓝光多于红光。",
            "天空是蓝色的，因为空气散射蓝光多于红光！",
        ),
    ]
    fine = add_pair(pool, "d", text, "no")
    n_before = len(queue_of(pool)) or len(pool.experiment.comparisons.pending_ids(ME))
    job = queueing.order(pool, QueueSettings(strategy="random"))
    said = [e.note for e in events_of(job) if isinstance(e, Progress)][-1]
    n_same = job.finished.result["n_same"]  # type: ignore[union-attr]
    assert isinstance(n_same, int)
    assert n_same >= 3
    assert f"{n_same} pairs with (nearly) the same answers go to the end" in said
    queue = queue_of(pool)
    assert len(queue) == n_before
    assert set(odd) <= set(queue[-n_same:])
    assert fine in queue[:-n_same]
    # One threshold that forgives nothing: only what is equal but for case and spaces is left.
    put(pool, strategy="in-order", same_from=1.0)
    assert queue_of(pool)[-1] == odd[0] or odd[0] in queue_of(pool)[-n_same:]
    assert queue_of(pool).index(odd[1]) < queue_of(pool).index(odd[0])


def test_a_pair_asked_before_goes_to_the_end(pool: Workspace) -> None:
    pair = pool.experiment.comparisons.get(add_pair(pool, "a", "w1 w2 w3", "w9 w8"))
    copy = dataclasses.replace(pool.experiment.completions.get(pair.first_id), text="W1 w2  w3")
    (other,) = pool.experiment.completions.add_many([copy])
    ((again, _),) = pool.experiment.comparisons.ensure([(pair.prompt_id, pair.second_id, other)])
    queue = put(pool, strategy="random")
    assert queue.index(pair.id) < queue.index(again.id)


def test_the_pair_on_the_screen_stays_and_the_best_of_the_others_is_next(pool: Workspace) -> None:
    queue = put(pool, strategy="diversity")
    shown = queue[len(queue) // 2]
    assert end(queueing.order(pool, QueueSettings(strategy="diversity"), lambda: shown))
    expected = [shown, *(i for i in queue if i != shown)]
    assert queue_of(pool) == expected
    following = labelling.next_item(pool, after_id=shown)
    assert following is not None
    assert following.comparison.id == queue[0]


def test_new_pairs_come_before_the_same_answers_and_behind_the_ordered(pool: Workspace) -> None:
    same = add_pair(pool, "a", "same words", "same words")
    queue = put(pool, strategy="random")
    new = add_pair(pool, "b", "w1 w3 w4 w5", "w2")
    n_same = len(queue) - queue.index(same)
    assert queue_of(pool).index(new) >= len(queue) - n_same - 5
    assert queue_of(pool).index(new) < queue_of(pool).index(same)


def test_few_labels_are_told_and_the_order_is_random(ready: Workspace) -> None:
    ready.annotator = ME
    for i in range(6):
        add_pair(ready, f"w{i}", f"w{i} w3 w4", f"w{i + 1} w2 w9 w8")
    job = queueing.order(ready, QueueSettings(strategy="uncertainty"))
    (warned,) = [e for e in events_of(job) if isinstance(e, Warned)]
    assert "0 labels" in warned.message
    assert queue_of(ready) != sorted(queue_of(ready))


def test_candidates_limit_what_is_looked_at(pool: Workspace) -> None:
    job = queueing.order(pool, QueueSettings(strategy="diversity", candidates=3))
    assert end(job).result["n_ordered"] == 3


def test_a_reward_model_can_say_what_is_uncertain(pool: Workspace) -> None:
    from tests import ready as tools

    with pytest.raises(UserError, match="no reward model"):
        queueing.order(pool, QueueSettings(strategy="uncertainty", doubt="reward-model"))
    run = tools.add_reward_model(pool)
    queue = put(pool, strategy="uncertainty", doubt="reward-model")
    (folder,) = (pool.path / CACHE).glob("scores-*")
    assert folder.name == f"scores-run-{run:04}"
    margins = {}

    def work(cancel: CancelToken):
        model = yield from pool.model(cancel)
        from workbench.models import adapters
        from workbench.rewards import neural

        reward = neural.RewardModel.load(model, pool.artifact_folder(run, "reward_model"))
        for i in queue:
            item = labelling.item(pool, i)
            texts = [item.first.text, item.second.text]
            first, second = np.float16(reward.score_texts([item.prompt.messages] * 2, texts))
            margins[i] = abs(float(first) - float(second))
        adapters.remove(model, neural.ADAPTER)
        return {}

    assert end(pool.submit("Scores", "order", work)).error is None
    ordered = queue[: int(end(queueing.order(pool, queueing.saved(pool))).result["n_ordered"])]  # type: ignore[call-overload]
    sizes = [margins[i] for i in ordered]
    assert max(np.subtract(sizes[:-1], sizes[1:])) < 1e-2  # ascending, but for another batch
    assert sizes[0] < sizes[-1]


def test_the_order_is_due_after_so_many_labels(pool: Workspace) -> None:
    assert not queueing.is_due(pool)
    put(pool, strategy="uncertainty", reorder_every=2)
    assert queueing.saved(pool).strategy == "uncertainty"
    assert not queueing.is_due(pool)
    for _ in range(2):
        assert not queueing.is_due(pool)
        labelling.judge(pool, queue_of(pool)[0], "first", 1.0)
    assert queueing.is_due(pool)
    put(pool, strategy="random", reorder_every=1)
    labelling.judge(pool, queue_of(pool)[0], "first", 1.0)
    assert not queueing.is_due(pool)  # a shuffle learns nothing from labels


def test_a_mix_of_nothing_is_refused(pool: Workspace) -> None:
    nothing = {"share_uncertainty": 0.0, "share_diversity": 0.0, "share_random": 0.0}
    with pytest.raises(UserError, match="no share"):
        queueing.order(pool, QueueSettings(strategy="mix", **nothing))  # type: ignore[arg-type]


def test_settings_of_another_version_are_no_reason_to_fail(pool: Workspace) -> None:
    pool.experiment.settings.set("queue", {"strategy": "unheard of"})
    assert queueing.saved(pool) == QueueSettings()
