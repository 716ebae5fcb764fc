from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.app.conftest import end, events_of
from workbench.app import label_gate, label_rounds, labelling, reward, runs
from workbench.app.workspace import Workspace
from workbench.config.annotator import AnnotatorSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.errors import UserError
from workbench.events import Marked, Step

REWARD = RewardModelSettings(epochs=2, learning_rate=2e-3, heldout_share=0.4)
PPO = PPOSettings(
    updates=3,
    batch_size=8,
    minibatches=1,
    epochs=1,
    max_new_tokens=6,
    checkpoint_every=0,
    labels_every=1,
    labels_wanted=4,
    judge_every=2,
)


@pytest.fixture
def rewarded(judged: Workspace) -> Workspace:
    assert end(reward.train_reward(judged, REWARD)).outcome == "done"
    return judged


def simulate(ws: Workspace) -> None:
    assert end(labelling.simulate(ws, AnnotatorSettings(noise=0.0))).outcome == "done"


def test_a_run_asks_learns_and_goes_on(rewarded: Workspace) -> None:
    ws = rewarded
    job = runs.train(ws, "ppo", PPO, judge="annotator")
    told = events_of(job)
    run_id = job.run_id
    assert run_id is not None
    assert job.outcome == "stopped"
    assert [e.step for e in told if isinstance(e, Marked)] == [1]

    [waits] = label_rounds.waiting(ws)
    assert (waits.run.id, waits.round.step, waits.n_judged) == (run_id, 1, 0)
    assert 0 < waits.n_wanted <= 4
    # Its own answers come before all others, whatever order the queue is put in.
    ws.experiment.comparisons.set_priorities(ws.annotator, {1: -5.0})
    first = labelling.next_item(ws)
    assert first is not None
    assert first.comparison.id in waits.round.comparison_ids
    assert first.first.run_id == first.second.run_id == run_id
    assert first.first.adapter == waits.run.name

    labelling.judge(ws, first.comparison.id, "first", 1.0)
    assert label_rounds.waiting_of(ws, run_id).n_judged == 1  # type: ignore[union-attr]
    assert label_rounds.due(ws) is None
    simulate(ws)
    due = label_rounds.due(ws)
    assert due is not None
    training, resumed = label_rounds.go_on(ws, run_id)
    assert label_rounds.due(ws) is None
    assert end(training).outcome == "done"
    told = events_of(resumed)
    settled = ws.experiment.label_rounds.of_run(run_id)[0]
    gate = settled.facts
    assert settled.reward_run_trained == training.run_id
    assert settled.outcome == ("accepted" if gate["after"] >= gate["before"] else "refused")  # type: ignore[operator]
    marks = [e for e in told if isinstance(e, Marked)]
    assert (marks[0].step, marks[-1].step) == (1, 2)
    assert "held-out pairs right" in marks[0].text
    scores = training.run_id if settled.outcome == "accepted" else 1
    assert label_gate.reward_run_at(ws, ws.run(run_id), 1) == (scores, scores != 1)
    assert label_gate.reward_run_at(ws, ws.run(run_id), 2)[0] == scores
    assert label_gate.reward_run_at(ws, ws.run(run_id), 0) == (1, False)

    # It asked again after update 2; without labels it goes on with what it has.
    assert end(runs.resume(ws, run_id)).outcome == "done"
    outcomes = [r.outcome for r in ws.experiment.label_rounds.of_run(run_id)]
    assert outcomes == [settled.outcome, "skipped"]
    figures = runs.metrics(ws, run_id)
    assert [step for step, _ in figures["objective/scores"]] == [1, 2, 3]
    assert [step for step, _ in figures["judge/score"]] == [1, 2]
    assert Counter(m.kind for m in ws.experiment.runs.marks(run_id)) == {"labels": 4}
    with pytest.raises(UserError, match="waits for no labels"):
        label_rounds.go_on(ws, run_id)


def test_a_worse_reward_model_is_refused_and_a_better_one_taken(
    rewarded: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ws = rewarded
    job = runs.train(ws, "ppo", PPO.model_copy(update={"updates": 2}))
    end(job)
    assert job.run_id is not None
    simulate(ws)
    accuracy = {1: 0.75}
    monkeypatch.setattr(label_gate, "_accuracy", lambda _ws, _model, run, _pairs: accuracy[run])
    training, resumed = label_rounds.go_on(ws, job.run_id)
    accuracy[training.run_id or 0] = 0.5
    assert end(resumed).outcome == "done"
    [refused] = ws.experiment.label_rounds.of_run(job.run_id)
    assert refused.outcome == "refused"
    assert label_gate.reward_run_at(ws, ws.run(job.run_id), 2) == (1, False)
    assert "Reward model 1 scores from here on" in ws.experiment.runs.marks(job.run_id)[-1].text


def test_a_held_back_judge_is_not_learned_from(rewarded: Workspace) -> None:
    """The run with a judge is the run without one, bit by bit; only the opinions are more."""
    ws = rewarded
    plain = PPO.model_copy(update={"labels_every": 0})
    assert end(reward.train_reward(ws, REWARD.model_copy(update={"seed": 1}))).outcome == "done"
    steps = {}
    for judge in ("", "annotator", "run:2"):
        job = runs.train(ws, "ppo", plain, reward_run=1, judge=judge)
        steps[judge] = [dict(e.metrics) for e in events_of(job) if isinstance(e, Step)]
        opinions = [m.pop("judge/score", None) for m in steps[judge]]
        assert [o is not None for o in opinions] == [bool(judge), bool(judge), False]
        for metrics in steps[judge]:
            for name in [n for n in metrics if n.startswith("time/")]:
                del metrics[name]
    assert steps[""] == steps["annotator"] == steps["run:2"]


def test_a_judge_that_is_no_second_opinion_is_refused(rewarded: Workspace) -> None:
    with pytest.raises(UserError, match="no second opinion"):
        runs.train(rewarded, "ppo", PPO, judge="run:1")
    with pytest.raises(UserError, match="There is no judge run:9"):
        runs.train(rewarded, "ppo", PPO, judge="run:9")
    assert [run.kind for run in rewarded.experiment.runs.list()] == ["reward"]
