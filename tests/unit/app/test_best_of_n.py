import pytest

from tests.unit.app.conftest import end, events_of
from workbench.app import best_of_n, evaluate, reward, runs
from workbench.app.training_data import collect
from workbench.config import algorithms
from workbench.config.annotator import AnnotatorSettings
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.sft import SFTSettings
from workbench.errors import UserError
from workbench.events import Warned

SETTINGS = BestOfNSettings(n=4, max_new_tokens=10)


@pytest.fixture
def scored(judged):
    settings = RewardModelSettings(epochs=1, batch_size=8)
    assert end(reward.train_reward(judged, settings)).outcome == "done"
    return judged


def prompts(ws, split):
    return [p.id for p in ws.experiment.prompts.list(split=split)]


def test_a_run_tells_the_curve_and_the_best_answers(scored):
    before = scored.experiment.completions.count()
    job = best_of_n.best_of_n(
        scored, SETTINGS, prompts(scored, "heldout"), annotator=AnnotatorSettings()
    )
    finished = events_of(job)[-1]
    assert finished.outcome == "done"
    assert finished.result == {"n_prompts": 4, "n_kept": 0}
    run = scored.run(job.run_id)
    assert (run.kind, run.algorithm, run.name) == ("evaluation", "best-of-n", "Best of n 1")
    assert run.inputs["reward_run"] == reward.reward_runs(scored)[0].id
    points = best_of_n.curve(scored, job.run_id)
    assert [point.n for point in points] == [1, 2, 4]
    assert points[0].win_rate.value == 0.5
    assert points[0].kl_bound == 0.0 < points[1].kl_bound < points[2].kl_bound
    assert points[0].score.value < points[1].score.value < points[2].score.value
    for point in points:
        for figure in (point.score, point.length, point.win_rate, point.utility):
            assert figure.low <= figure.value <= figure.high
    best = runs.samples(scored, job.run_id)
    assert [s.prompt_id for s in best] == prompts(scored, "heldout")
    assert scored.experiment.completions.count() == before


def test_without_an_annotator_its_columns_are_absent(scored):
    job = best_of_n.best_of_n(scored, SETTINGS, prompts(scored, "heldout"))
    assert end(job).outcome == "done"
    assert {p.win_rate for p in best_of_n.curve(scored, job.run_id)} == {None}


def test_best_answers_are_kept_with_where_they_came_from_and_can_be_learned_from(scored):
    with pytest.raises(UserError, match="0 answers to learn from"):
        collect(scored, algorithms.find("sft"), SFTSettings(answers_from="best"))
    settings = BestOfNSettings(n=6, max_new_tokens=24)
    job = best_of_n.best_of_n(scored, settings, prompts(scored, "train"), is_kept=True)
    events = events_of(job)
    n_kept = events[-1].result["n_kept"]
    assert events[-1].outcome == "done"
    best = {(s.prompt_id, s.text): s for s in runs.samples(scored, job.run_id)}
    whole = {key for key, s in best.items() if s.is_finished and s.text}
    assert n_kept == len(whole) > 0
    warnings = [e.message for e in events if isinstance(e, Warned)]
    assert any("were cut, or are empty" in w for w in warnings) == (len(whole) < len(best))
    kept = [
        c
        for i in prompts(scored, "train")
        for c in scored.experiment.completions.for_prompt(i)
        if c.run_id == job.run_id
    ]
    assert {(c.prompt_id, c.text) for c in kept} == whole
    assert {(c.source, c.finish, c.adapter) for c in kept} == {("generated", "stop", None)}
    assert all(c.model_digest == scored.model_info().digest for c in kept)
    assert set(scored.experiment.completions.kept_by("best-of-n")) == whole


def test_rejection_sampling_takes_kept_answers_and_no_others(scored):
    for seed in range(1, 4):
        settings = BestOfNSettings(n=6, max_new_tokens=24, seed=seed)
        job = best_of_n.best_of_n(scored, settings, prompts(scored, "train"), is_kept=True)
        assert end(job).outcome == "done"
    kept = set(scored.experiment.completions.kept_by("best-of-n"))
    rejected = {(p.prompt.id, p.rejected) for p in scored.experiment.judgements.preferences()}
    data, facts = collect(scored, algorithms.find("sft"), SFTSettings(answers_from="best"))
    assert {(a.prompt.id, a.answer) for a in data.answers} == kept - rejected
    assert facts["n_answers"] == len(data.answers)
    job = runs.train(scored, "sft", SFTSettings(answers_from="best", epochs=1, batch_size=4))
    assert end(job).outcome == "done"


def test_it_is_no_comparison(scored):
    job = best_of_n.best_of_n(scored, SETTINGS, prompts(scored, "heldout"))
    assert end(job).outcome == "done"
    assert scored.overview().evaluations == 0
    assert evaluate.evaluations(scored) == []
    assert [run.id for run in best_of_n.best_of_n_runs(scored)] == [job.run_id]
    with pytest.raises(UserError, match="has no results"):
        evaluate.result(scored, job.run_id)
    with pytest.raises(UserError, match="has no curve"):
        best_of_n.curve(scored, reward.reward_runs(scored)[0].id)


def test_what_is_missing_is_told(ready):
    with pytest.raises(UserError, match="no prompts to answer"):
        best_of_n.best_of_n(ready, SETTINGS, [])
    with pytest.raises(UserError, match="no reward model yet"):
        best_of_n.best_of_n(ready, SETTINGS, prompts(ready, "heldout"))
