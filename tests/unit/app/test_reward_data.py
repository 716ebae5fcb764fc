"""What a reward model learns from beside pairs: ties, rankings, ratings; labels that contradict."""

import json

import pytest

from tests.unit.app.conftest import add_prompts, end, events_of
from tests.unit.app.test_reward import judge_all, mixed
from workbench.app import feedback, labelling, library, reward, reward_data, runs
from workbench.app.planning import problems
from workbench.app.training_data import collect, usable_pairs
from workbench.config.algorithms import REWARD
from workbench.config.reward_model import RewardModelSettings
from workbench.config.toml import SettingsError, validate
from workbench.data.records import NewCompletion
from workbench.data.training_data import TrainingData
from workbench.errors import UserError
from workbench.events import Warned

ONE = RewardModelSettings(epochs=1, batch_size=8, learning_rate=1e-3)


def _with(**changes):
    return ONE.model_copy(update=changes)


def _rank(ws, texts, places):
    """A new prompt with these answers, ranked; places hold numbers of texts."""
    (prompt,) = add_prompts(ws, [f"w9 {texts[0]}"])
    ids = ws.experiment.completions.add_many([NewCompletion(prompt, text) for text in texts])
    feedback.rank(ws, prompt, [[ids[i] for i in place] for place in places], 1.0)
    return prompt, ids


def test_ties_are_learned_from_where_the_loss_knows_them(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, mixed(12))
    judge_all(ws, [("w1 w2", "w5"), ("w3", "w6")], verdict="tie")
    judge_all(ws, [("w7", "w8")], verdict="both_bad")
    judge_all(ws, [("w9", "w10")], verdict="skip")
    data, facts = collect(ws, REWARD, _with(loss="rao-kupper"))
    assert (facts["n_pairs"], facts["n_ties"], len(data.ties)) == (12, 3, 3)
    plain, plain_facts = collect(ws, REWARD, ONE)
    assert plain.ties == ()
    assert "n_ties" not in plain_facts
    assert plain_facts["labels_digest"] != facts["labels_digest"]
    job = reward.train_reward(ws, _with(loss="rao-kupper"))
    assert end(job).outcome == "done"
    stored = TrainingData.read(ws.run_folder(job.run_id) / "data.json")
    assert stored == data
    facts_file = ws.artifact_folder(job.run_id, "reward_model") / "reward.json"
    assert json.loads(facts_file.read_text())["loss"] == "rao-kupper"


def test_ties_alone_say_nothing(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, mixed(9), verdict="tie")
    with pytest.raises(UserError, match="All 9 judged pairs are ties"):
        reward.train_reward(ws, _with(loss="rao-kupper"))
    assert any("All 9 judged pairs are ties" in s for s in reward.check_pairs(ws))


def test_a_ranking_stays_whole_until_a_pair_of_it_is_judged_otherwise(ws):
    prompt, ids = _rank(ws, ["w1", "w2", "w3"], [[0], [1, 2]])
    _rank(ws, ["w4", "w5"], [[1], [0]])
    pairs, _ = usable_pairs(ws)
    first, second = reward_data.rankings(ws, pairs, lambda _: 1.0)
    assert first.places == (("w1",), ("w2", "w3"))
    assert second.places == (("w5",), ("w4",))
    feedback.rank(ws, prompt, [[i] for i in ids], 1.0)  # again: the last one counts
    pairs, _ = usable_pairs(ws)
    assert [r.places for r in reward_data.rankings(ws, pairs, lambda _: 1.0)] == [
        (("w1",), ("w2",), ("w3",)),
        (("w5",), ("w4",)),
    ]
    (comparison, _), *_ = ws.experiment.comparisons.ensure([(prompt, ids[0], ids[1])])
    verdict = "second" if comparison.first_id == ids[0] else "first"
    labelling.judge(ws, comparison.id, verdict, 1.0)
    pairs, _ = usable_pairs(ws)
    assert [r.prompt.id for r in reward_data.rankings(ws, pairs, lambda _: 1.0)] == [
        second.prompt.id
    ]


def test_rankings_and_the_pairs_outside_of_them_are_trained_on(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, mixed(6))
    for i in range(4):
        _rank(ws, [f"w{i} w{i} w{i}", f"w{i} w2", "w3"], [[0], [1], [2]])
    job = reward.train_reward(ws, _with(loss="plackett-luce"))
    assert end(job).outcome == "done"
    run = ws.run(job.run_id)
    assert (run.inputs["n_rankings"], run.inputs["n_pairs"]) == (4, 18)
    assert 0 <= run.results["reward/heldout_accuracy"] <= 1


def test_ratings_are_averaged_counted_and_told_when_they_are_few(ws, model_folder):
    library.select_model(ws, str(model_folder))
    prompts = add_prompts(ws, [f"w{i} w3" for i in range(6)])
    texts = [(p, t) for p in prompts for t in ("w1 w2 w3 w4", "w5")]
    ids = ws.experiment.completions.add_many([NewCompletion(*each) for each in texts])
    for i in ids[:3]:
        feedback.rate(ws, ws.experiment.completions.get(i), 4)
    regression = _with(loss="regression")
    with pytest.raises(UserError, match="There are 3 rated answers; regression needs at least 8"):
        reward.train_reward(ws, regression)
    assert [p.message for p in problems(ws, REWARD, regression) if p.where == "data"] == [
        reward_data.hindrance_of_ratings(3)
    ]
    for i in ids:
        feedback.rate(ws, ws.experiment.completions.get(i), 5)
    with pytest.raises(UserError, match="8"):
        reward.train_reward(ws, ONE)
    events = events_of(reward.train_reward(ws, regression))
    assert "All ratings that are learned from are 5" in events[-1].error.message
    for i, (_, text) in zip(ids, texts, strict=True):
        feedback.rate(ws, ws.experiment.completions.get(i), 2 if text == "w5" else 4)
        ws.experiment.remarks.add("rating", texts[0][0], i, "1", "m", "ai")  # counts for less
    assert {r.rating for r in reward_data.ratings(ws, lambda _: 1.0)} == {2.0, 4.0}
    job = reward.train_reward(ws, regression)
    assert end(job).outcome == "done"
    run = ws.run(job.run_id)
    assert run.inputs["n_ratings"] == 12
    # Nobody judged pairs: two answers to one held-out prompt whose ratings differ are one.
    assert run.results["reward/heldout_pairs"] >= 1


def test_pairs_that_were_judged_both_ways_are_counted_and_told(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, mixed(10))
    first = ws.experiment.judgements.list(limit=1)[0].judgement
    other = "second" if first.verdict == "first" else "first"
    ws.experiment.judgements.add(first.comparison_id, other, "bob", "person", 1.0)
    (prompt,) = add_prompts(ws, ["w9 w9"])
    ids = ws.experiment.completions.add_many(
        [NewCompletion(prompt, text) for text in ("w1", "w2", "w1 ", "w2")]
    )
    pairs = ws.experiment.comparisons.ensure([(prompt, *ids[:2]), (prompt, *ids[2:])])
    for (comparison, _), verdict in zip(pairs, ("first", "second"), strict=True):
        labelling.judge(ws, comparison.id, verdict, 1.0)
    told = " ".join(reward.check_pairs(ws))
    assert "1 pair was judged both ways by different annotators" in told
    assert "1 pair of the same texts was judged both ways in different places" in told
    events = events_of(reward.train_reward(ws, ONE))
    assert "in different places" in " ".join(e.message for e in events if isinstance(e, Warned))


def test_what_a_loss_lacks_is_told_beside_the_form(ws):
    judge_all(ws, mixed(60))
    for changes, words in (
        ({"loss": "rao-kupper"}, "No judged pair is a tie"),
        ({"loss": "plackett-luce"}, "no whole rankings"),
        ({"loss": "regression"}, "There are 0 rated answers"),
        ({"strength_margin": 1.0}, "the margin does nothing"),
    ):
        assert any(words in s for s in reward.check_pairs(ws, _with(**changes)))
    with pytest.raises(SettingsError, match="no such term"):
        validate(RewardModelSettings, {"loss": "regression", "label_smoothing": 0.1})


def test_training_data_of_earlier_versions_is_still_read(tmp_path):
    (tmp_path / "data.json").write_text('{"prompts": [], "preferences": [], "feedback": []}')
    assert TrainingData.read(tmp_path / "data.json") == TrainingData()
    assert runs.DATA_FILE == "data.json"
