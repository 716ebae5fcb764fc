"""Generation on demand: small jobs, only when nobody else wants the worker."""

from __future__ import annotations

import threading

import pytest

from tests.unit.app.conftest import end
from workbench.app import filling
from workbench.app.workspace import Workspace
from workbench.config.queueing import FillSettings
from workbench.errors import UserError

SMALL = {"max_new_tokens": 8, "batch_size": 2}


def settings(**changes: object) -> FillSettings:
    return FillSettings(**{**SMALL, **changes})  # type: ignore[arg-type]


def pending(ws: Workspace) -> int:
    return ws.experiment.comparisons.counts(ws.annotator).pending


def test_pairs_come_in_small_jobs_until_enough_wait(ready: Workspace) -> None:
    wanted = settings(n_pending=5)
    n_jobs = 0
    while (job := filling.keep_filled(ready, wanted)) is not None:
        finished = end(job)
        assert finished.error is None, finished.error
        n_jobs += 1
        assert n_jobs < 20
    assert pending(ready) >= 5
    assert n_jobs >= 3  # two prompts each
    answers = [
        ready.experiment.completions.get(i)
        for _, ids in ready.experiment.completions.by_prompt()
        for i in ids
    ]
    assert {a.sampling["temperature"] for a in answers} == {1.0, 0.6}
    assert len({(a.prompt_id, a.seed) for a in answers}) == len(answers)
    for i in ready.experiment.comparisons.pending_ids(ready.annotator):
        pair = ready.experiment.comparisons.get(i)
        texts = ready.experiment.completions.texts_of([pair.first_id, pair.second_id])
        assert len(set(texts.values())) == 2
    # Prompts take turns: none has two pairs while another has none.
    counts = {len(pairs) for pairs in ready.experiment.comparisons.by_prompt().values()}
    assert max(counts) - min(counts) <= 1


def test_it_waits_for_everybody_else(ready: Workspace) -> None:
    goes_on = threading.Event()

    def work(cancel):
        assert goes_on.wait(30)
        yield from ()

    other = ready.submit("Other", "policy", work)
    assert filling.keep_filled(ready, settings()) is None
    waiting = ready.submit("Waiting", "policy", work)
    goes_on.set()
    end(other)
    end(waiting)


def test_a_stop_ends_it_and_stores_nothing_by_half(ready: Workspace) -> None:
    job = filling.keep_filled(ready, settings(max_new_tokens=50))
    assert job is not None
    job.token.request_stop()
    assert end(job).outcome in ("stopped", "cancelled")
    assert ready.experiment.completions.count() == 2 * pending(ready)


def test_best_and_worst_are_two_of_several(judged: Workspace) -> None:
    from tests import ready as tools

    judged.annotator = "me"
    n_pending = pending(judged)
    wanted = settings(source="best-worst", n_pending=n_pending + 2, n_answers=6)
    with pytest.raises(UserError, match="no reward model"):
        filling.keep_filled(judged, wanted)
    tools.add_reward_model(judged)
    job = filling.keep_filled(judged, wanted)
    assert job is not None
    finished = end(job)
    assert finished.error is None, finished.error
    assert finished.result["n_pairs"] in (1, 2)
    assert pending(judged) == n_pending + int(finished.result["n_pairs"])  # type: ignore[call-overload]


def test_base_and_trained_needs_a_run(ready: Workspace) -> None:
    with pytest.raises(UserError, match="no trained policy"):
        filling.keep_filled(ready, settings(source="base-trained"))


def test_base_and_trained_answer_under_the_same_luck(judged: Workspace) -> None:
    from workbench.app import runs
    from workbench.config.sft import SFTSettings

    run = runs.train(judged, "sft", SFTSettings(epochs=1, learning_rate=1e-2))
    assert end(run).error is None
    judged.annotator = "me"
    before = {i for _, ids in judged.experiment.completions.by_prompt() for i in ids}
    wanted = settings(source="base-trained", n_pending=pending(judged) + 2)
    job = filling.keep_filled(judged, wanted)
    assert job is not None
    finished = end(job)
    assert finished.error is None, finished.error
    made = [
        judged.experiment.completions.get(i)
        for _, ids in judged.experiment.completions.by_prompt()
        for i in ids
        if i not in before
    ]
    assert {a.adapter for a in made} <= {None, judged.run(run.run_id or 0).name}
    assert len(made) == 2 * int(finished.result["n_pairs"])  # type: ignore[call-overload]
    for prompt in {a.prompt_id for a in made}:
        assert len({a.seed for a in made if a.prompt_id == prompt}) == 1


def test_only_prompts_of_the_group_are_answered(ready: Workspace) -> None:
    job = filling.keep_filled(ready, settings(group="nobody"))
    assert job is not None
    error = end(job).error
    assert error is not None
    assert "in the group nobody" in error.message


def test_a_prompt_gets_no_more_pairs_than_are_ever_made(ready: Workspace) -> None:
    n_prompts = ready.experiment.prompts.count(split="train")
    wanted = settings(n_pending=1000, batch_size=64)
    for _ in range(20):
        job = filling.keep_filled(ready, wanted)
        assert job is not None
        if not end(job).result["n_pairs"]:
            break
    assert n_prompts <= pending(ready) <= 6 * n_prompts


def test_the_switch_is_remembered(ready: Workspace) -> None:
    assert not filling.is_on(ready)
    filling.switch(ready, True, settings(n_pending=7))
    assert filling.is_on(ready)
    assert filling.saved(ready).n_pending == 7
    filling.switch(ready, False)
    assert not filling.is_on(ready)
    assert filling.saved(ready).n_pending == 7
