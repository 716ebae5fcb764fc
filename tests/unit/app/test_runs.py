import itertools
import json
import shutil

import pytest
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import tinymodels
from tests.close import FLOAT32, assert_close
from tests.unit.app.conftest import add_prompts, end, events_of
from workbench.app import evaluate, library, reward, runs
from workbench.config.annotator import AnnotatorSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import verify
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Saved, Step, Warned

REWARD = RewardModelSettings(epochs=1, batch_size=8)
PPO = PPOSettings(
    updates=3, batch_size=4, max_new_tokens=6, checkpoint_every=1, learning_rate=1e-3, n_samples=2
)


@pytest.fixture
def scored(judged):
    assert end(reward.train_reward(judged, REWARD)).outcome == "done"
    return judged


@pytest.fixture
def trained(scored):
    job = runs.train(scored, "ppo", PPO)
    assert end(job).outcome == "done"
    return scored, job.run_id


def test_a_run_keeps_settings_inputs_metrics_samples_and_artefacts(trained):
    ws, run_id = trained
    run = ws.run(run_id)
    (scorer,) = reward.reward_runs(ws)
    assert (run.status, run.name) == ("done", "PPO 1")
    assert PPOSettings(**run.settings) == PPO
    assert run.inputs["reward_run"] == scorer.id
    assert run.inputs["labels_digest"] == scorer.inputs["labels_digest"]
    assert run.inputs["model_digest"] == ws.model_info().digest
    assert len(run.inputs["prompt_ids"]) == 8
    assert [step for step, _ in runs.metrics(ws, run_id)["objective/kl"]] == [1, 2, 3]
    assert {s.step for s in runs.samples(ws, run_id)} == {1, 2, 3}
    assert len(runs.samples(ws, run_id, step=2)) == 2
    kinds = [a.kind for a in ws.experiment.artifacts.for_run(run_id)]
    assert kinds == ["checkpoint"] * 3 + ["adapter"]


def test_stopped_and_resumed_is_bit_equal_to_never_stopped(trained, model_folder):
    ws, whole_run = trained
    job = runs.train(ws, "ppo", PPO)
    for event in job.follow(60):
        if isinstance(event, Step):
            job.token.request_stop()
    assert ws.run(job.run_id).status == "stopped"
    events = events_of(runs.resume(ws, job.run_id))
    assert events[-1].outcome == "done"
    assert [e.step for e in events if isinstance(e, Step)][-1] == 3
    wanted, got = runs.metrics(ws, whole_run), runs.metrics(ws, job.run_id)
    for name in ("objective/kl", "objective/scores", "loss/policy", "loss/value"):
        assert got[name] == wanted[name]
    files = [
        ws.artifact_folder(i, "adapter") / "adapter_model.safetensors"
        for i in (whole_run, job.run_id)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert verify(ws.artifact_folder(job.run_id, "adapter")) == []


def test_resume_passes_over_a_damaged_checkpoint(trained):
    ws, run_id = trained
    checkpoints = ws.run_folder(run_id) / "checkpoints"
    assert runs.newest_checkpoint(ws, run_id).name == "step-000003"
    (checkpoints / "step-000003" / "state.json").write_text("{}")
    assert runs.newest_checkpoint(ws, run_id).name == "step-000002"
    ws.experiment.runs.set_status(run_id, "interrupted")
    assert end(runs.resume(ws, run_id)).outcome == "done"
    assert verify(checkpoints / "step-000003") == []
    shutil.rmtree(checkpoints)
    assert runs.newest_checkpoint(ws, run_id) is None


def test_a_run_without_a_checkpoint_begins_again(scored):
    settings = PPO.model_copy(update={"checkpoint_every": 0})
    job = runs.train(scored, "ppo", settings)
    for event in job.follow(60):
        if isinstance(event, Step):
            job.token.cancel()
    assert runs.newest_checkpoint(scored, job.run_id) is None
    events = events_of(runs.resume(scored, job.run_id))
    assert events[-1].outcome == "done"
    assert [e.step for e in events if isinstance(e, Step)] == [1, 2, 3]


def test_a_run_that_is_done_cannot_be_resumed(trained):
    ws, run_id = trained
    with pytest.raises(UserError, match="cannot be resumed: it is done"):
        runs.resume(ws, run_id)


def test_samples_after_the_checkpoint_are_not_doubled(scored):
    settings = PPO.model_copy(update={"checkpoint_every": 2, "updates": 4})
    job = runs.train(scored, "ppo", settings)
    for event in job.follow(60):
        if isinstance(event, Step) and event.step == 3:
            job.token.cancel()
    assert scored.run(job.run_id).status == "stopped"
    assert end(runs.resume(scored, job.run_id)).outcome == "done"
    told = [(s.step, s.prompt_id) for s in runs.samples(scored, job.run_id)]
    assert len(told) == 4 * 2
    assert [s for s, _ in runs.metrics(scored, job.run_id)["objective/kl"]] == [1, 2, 3, 4]


def test_without_a_reward_model_ppo_says_so(ready):
    with pytest.raises(UserError, match="no reward model yet"):
        runs.train(ready, "ppo", PPO)
    assert runs.runs(ready) == []


def test_all_that_is_missing_is_told_at_once(ws, model_folder):
    library.select_model(ws, str(model_folder))
    with pytest.raises(UserError, match=r"no reward model yet.*no training prompts yet"):
        runs.train(ws, "ppo", PPO)


def test_a_reward_model_of_another_base_is_refused(scored, tmp_path):
    other = tinymodels.write(tmp_path / "random-gpt2", "gpt2")
    library.select_model(scored, str(other))
    with pytest.raises(UserError, match=r"on random-llama \(\w{12}\), which is not on this"):
        runs.train(scored, "ppo", PPO)


def test_other_weights_of_the_same_name_are_told_apart(scored, tmp_path):
    other = tinymodels.write(tmp_path / "elsewhere" / "random-llama", "llama", seed=1)
    library.select_model(scored, str(other))
    with pytest.raises(UserError, match="other weights of random-llama"):
        runs.train(scored, "ppo", PPO)


def test_a_damaged_reward_model_fails_the_run_and_keeps_it(scored):
    folder = scored.artifact_folder(reward.reward_runs(scored)[0].id, "reward_model")
    (folder / "adapter_config.json").write_text("{}")
    job = runs.train(scored, "ppo", PPO)
    assert "is damaged" in end(job).error.message
    assert scored.run(job.run_id).status == "failed"
    assert "is damaged" in scored.run(job.run_id).error


def test_a_long_prompt_is_skipped_with_a_warning(scored):
    room = scored.model_info().context_length
    add_prompts(scored, [" ".join(["w1"] * room)])
    events = events_of(runs.train(scored, "ppo", PPO))
    assert any(e.message.startswith("1 of 9 prompts") for e in events if isinstance(e, Warned))
    assert events[-1].outcome == "done"


def test_live_settings_reach_the_run_and_only_while_it_runs(scored):
    settings = PPO.model_copy(update={"updates": 4, "lr_schedule": "constant"})
    job = runs.train(scored, "ppo", settings)
    for event in job.follow(60):
        if isinstance(event, Step) and event.step == 1:
            runs.set_live(scored, job.run_id, "learning_rate", 5e-4)
            with pytest.raises(UserError, match="cannot be changed"):
                runs.set_live(scored, job.run_id, "batch_size", 8)
            with pytest.raises(UserError, match="must be corrected"):
                runs.set_live(scored, job.run_id, "learning_rate", 5.0)
    rates = [value for _, value in runs.metrics(scored, job.run_id)["optim/lr"]]
    assert rates[0] == 1e-3
    assert rates[-1] == 5e-4
    with pytest.raises(UserError, match="is not running"):
        runs.set_live(scored, job.run_id, "learning_rate", 5e-4)


def test_a_full_disk_fails_the_run_with_a_sentence_and_keeps_it(scored, open_workspace):
    settings = PPO.model_copy(update={"updates": 500, "checkpoint_every": 2})
    job = runs.train(scored, "ppo", settings)
    for event in job.follow(60):
        if isinstance(event, Saved):
            fill_database(scored)
    assert job.outcome == "failed"
    assert "disk is full" in job.finished.error.message
    assert not job.finished.error.traceback
    with scored.experiment.database.write() as connection:
        connection.execute("PRAGMA max_page_count = 1073741823")
    scored.close()
    again = open_workspace()
    assert again.run(job.run_id).status in ("failed", "interrupted")
    assert runs.newest_checkpoint(again, job.run_id) is not None
    assert len(again.experiment.judgements.preferences()) > 0


def fill_database(ws) -> None:
    """Forbid the file to grow, as a full disk does, and use up the room that is left in it."""
    database = ws.experiment.database
    with database.write() as connection:
        (n_pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {n_pages}")
    for size in (4000, 400, 40):
        with pytest.raises(EnvironmentProblem):
            write_for_ever(ws, size)


def write_for_ever(ws, size: int) -> None:
    for n in itertools.count():
        ws.experiment.settings.set(f"filler-{size}-{n}", "x" * size)


def test_the_adapter_loads_with_plain_peft_and_gives_equal_logits(trained, model_folder, tmp_path):
    ws, run_id = trained
    job = runs.export_adapter(ws, run_id)
    folder = ws.path / "exports" / f"adapter-run-{run_id:04}"
    assert end(job).result["folder"] == str(folder)
    assert verify(folder) == []
    config = json.loads((folder / "adapter_config.json").read_text())
    assert "/" not in config["base_model_name_or_path"].removeprefix("HuggingFaceTB/")
    card = (folder / "README.md").read_text()
    assert "PPO 1" in card
    assert "simulated" in card

    base = AutoModelForCausalLM.from_pretrained(model_folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("w1 w2 w3", return_tensors="pt").input_ids
    plain = base(ids).logits
    adapted = PeftModel.from_pretrained(base, folder)(ids).logits

    merged_folder = tmp_path / "merged"
    assert end(runs.export_adapter(ws, run_id, merged_folder, is_merged=True)).outcome == "done"
    merged = AutoModelForCausalLM.from_pretrained(merged_folder)(ids).logits
    assert not adapted.equal(plain)
    assert_close(merged.detach(), adapted.detach(), FLOAT32)
    exported = [a for a in ws.experiment.artifacts.for_run(run_id) if a.kind == "export"]
    assert [a.path for a in exported] == [
        f"exports/adapter-run-{run_id:04}",
        merged_folder.as_posix(),
    ]


def test_an_export_never_overwrites(trained, tmp_path):
    ws, run_id = trained
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    finished = end(runs.export_adapter(ws, run_id, tmp_path / "taken"))
    assert finished.outcome == "failed"
    assert (tmp_path / "taken" / "thesis.txt").read_text() == "mine"
    assert end(runs.export_adapter(ws, run_id)).outcome == "done"
    assert end(runs.export_adapter(ws, run_id)).result["folder"].endswith("-2")


def test_before_and_after_gives_rows_and_intervals(trained):
    ws, run_id = trained
    settings = EvaluationSettings(answers_per_prompt=2, max_new_tokens=6)
    job = evaluate.compare(ws, run_id, settings, AnnotatorSettings())
    assert end(job).outcome == "done"
    found = evaluate.result(ws, job.run_id)
    assert len(found.rows) == 4 * 2
    assert found.policy.id == run_id
    assert {row.prompt.split for row in found.rows} == {"heldout"}
    for name in ("win_rate", "win_rate_reward"):
        assert found.summary[f"{name}_low"] <= found.summary[name] <= found.summary[f"{name}_high"]
    points = {"trained": 1.0, "tie": 0.5, "base": 0.0}
    mean = sum(points[row.annotator_winner] for row in found.rows) / len(found.rows)
    assert found.summary["win_rate"] == pytest.approx(mean)
    assert all(row.base.kl == 0 for row in found.rows)
    assert evaluate.evaluations(ws, run_id)[0].id == job.run_id
    with pytest.raises(UserError, match="has no results"):
        evaluate.result(ws, run_id)
    assert ws.overview().next_step == "export"


def test_an_evaluation_without_an_annotator_has_no_winner_by_it(trained):
    ws, run_id = trained
    job = evaluate.compare(ws, run_id, EvaluationSettings(n_prompts=1, max_new_tokens=4))
    assert end(job).outcome == "done"
    found = evaluate.result(ws, job.run_id)
    assert {row.annotator_winner for row in found.rows} == {None}
    assert "win_rate" not in found.summary
