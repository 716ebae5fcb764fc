import pytest

from tests.unit.app.conftest import add_prompts, end, events_of
from workbench.app import labelling, library, reward, runs
from workbench.app.training_data import labels_digest, usable_pairs
from workbench.app.workspace import Workspace
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import verify
from workbench.data.records import NewCompletion
from workbench.errors import UserError
from workbench.events import Evaluated, Saved, Step, Warned

SETTINGS = RewardModelSettings(epochs=1, batch_size=8, learning_rate=1e-3)


def judge_all(ws: Workspace, answers: list[tuple[str, str]], verdict=None) -> None:
    """One prompt and one comparison per pair of texts; the first of the pair is chosen."""
    ids = add_prompts(ws, [f"w{i} w{i}" for i in range(len(answers))])
    for i, (chosen, rejected) in zip(ids, answers, strict=True):
        better, worse = ws.experiment.completions.add_many(
            [NewCompletion(i, chosen), NewCompletion(i, rejected)]
        )
        # Alternate the places, so that only what a test asks for is one-sided.
        pair = (i, better, worse) if i % 2 else (i, worse, better)
        (comparison, _), *_ = ws.experiment.comparisons.ensure([pair])
        labelling.judge(ws, comparison.id, verdict or ("first" if i % 2 else "second"), 1.0)


def mixed(n: int) -> list[tuple[str, str]]:
    return [("w1 w2", "w3") if i % 4 < 2 else ("w1", "w3 w4") for i in range(n)]


def test_training_records_a_run_with_its_lineage(judged):
    events = events_of(reward.train_reward(judged, SETTINGS))
    (run,) = reward.reward_runs(judged)
    assert events[-1].outcome == run.status == "done"
    assert run.name == "Reward model 1"
    assert run.inputs["model_digest"] == judged.model_info().digest
    assert run.inputs["annotators"] == ["simulated (simulated)"]
    assert run.settings["learning_rate"] == 1e-3
    accuracy = [e for e in events if isinstance(e, Evaluated)][-1].metrics[
        "reward/heldout_accuracy"
    ]
    assert run.results["reward/heldout_accuracy"] == accuracy
    n_steps = sum(isinstance(e, Step) for e in events)
    assert len(judged.experiment.runs.metrics(run.id)["reward/loss"]) == n_steps > 0
    *checkpoints, saved = [e for e in events if isinstance(e, Saved)]
    assert {e.kind for e in checkpoints} == {"checkpoint"}
    folder = judged.artifact_folder(run.id, "reward_model")
    assert str(folder) == saved.path
    assert folder == judged.run_folder(run.id) / "reward_model"
    assert verify(folder) == []


def test_equal_labels_have_equal_digests(judged):
    pairs, _ = usable_pairs(judged)
    assert labels_digest(pairs) == labels_digest(pairs[::-1])
    assert labels_digest(pairs) != labels_digest(pairs[1:])


def test_seven_pairs_are_too_few_and_eight_are_not(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, mixed(7))
    with pytest.raises(UserError, match="7 ranked pairs"):
        reward.train_reward(ws, SETTINGS)
    assert reward.reward_runs(ws) == []
    judge_all(ws, [*mixed(7), ("w5", "w6")])
    assert end(reward.train_reward(ws, SETTINGS)).outcome == "done"


def test_pairs_of_identical_answers_are_left_out_and_told(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, [*mixed(10), ("w7", " w7 "), ("w7", "w7")])
    events = events_of(reward.train_reward(ws, SETTINGS))
    assert "2 pairs of identical answers are left out." in [
        e.message for e in events if isinstance(e, Warned)
    ]
    assert reward.reward_runs(ws)[0].inputs["n_pairs"] == 10


def test_identical_pairs_do_not_count_towards_the_eight(ws, model_folder):
    library.select_model(ws, str(model_folder))
    judge_all(ws, [*mixed(7), ("w7", "w7")])
    with pytest.raises(UserError, match="7 ranked pairs"):
        reward.train_reward(ws, SETTINGS)


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([("w1 w2 w3", "w4")] * 20, "The longer answer was chosen in 100%"),
        ([("w1", "w2 w3 w4")] * 20, "The shorter answer was chosen in 100%"),
    ],
)
def test_choices_that_length_explains_are_doubted(ws, pairs, words):
    judge_all(ws, pairs)
    assert any(words in sentence for sentence in reward.check_pairs(ws))


def test_choices_that_the_place_explains_are_doubted(ws):
    judge_all(ws, mixed(20), verdict="first")
    assert any("shown first was chosen in 100%" in s for s in reward.check_pairs(ws))


def test_balanced_choices_are_not_doubted(ws):
    judge_all(ws, mixed(60))
    assert reward.check_pairs(ws) == []


def test_a_stopped_training_saves_a_model_that_scores(judged):
    job = reward.train_reward(judged, SETTINGS.model_copy(update={"epochs": 50}))
    for event in job.follow(60):
        if isinstance(event, Step):
            job.token.request_stop()
    assert job.outcome == "stopped"
    assert reward.reward_runs(judged)[0].status == "stopped"
    assert verify(judged.artifact_folder(job.run_id, "reward_model")) == []


def test_a_cancelled_training_leaves_no_reward_model(judged):
    job = reward.train_reward(judged, SETTINGS.model_copy(update={"epochs": 50}))
    for event in job.follow(60):
        if isinstance(event, Step):
            job.token.cancel()
    assert job.outcome == "cancelled"
    assert not (judged.run_folder(job.run_id) / "reward_model").exists()
    with pytest.raises(UserError, match="has not written"):
        judged.artifact_folder(job.run_id, "reward_model")


@pytest.mark.parametrize("ending", ["request_stop", "cancel"])
def test_stopped_and_resumed_is_bit_equal_to_never_stopped(judged, ending):
    """Labels that came after the start do not matter to a run that goes on."""
    settings = SETTINGS.model_copy(update={"epochs": 3, "batch_size": 4, "checkpoint_every": 1})
    whole = reward.train_reward(judged, settings)
    assert end(whole).outcome == "done"
    part = reward.train_reward(judged, settings)
    for event in part.follow(60):
        if isinstance(event, Step) and event.step == 2:
            getattr(part.token, ending)()
    assert judged.run(part.run_id).status == "stopped"
    judge_all(judged, mixed(9))
    events = events_of(runs.resume(judged, part.run_id))
    assert events[-1].outcome == "done"
    files = [
        judged.artifact_folder(i, "reward_model") / "adapter_model.safetensors"
        for i in (whole.run_id, part.run_id)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    wanted, got = (runs.metrics(judged, i) for i in (whole.run_id, part.run_id))
    for name in ("reward/loss", "reward/margin", "policy/grad_norm", "optim/lr"):
        assert got[name] == wanted[name]
    assert wanted["reward/heldout_loss"][-1] == got["reward/heldout_loss"][-1]
