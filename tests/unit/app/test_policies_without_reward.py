"""Supervised fine-tuning, DPO and KTO from records to export; no reward model is there at all."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.close import FORWARD, assert_close
from tests.unit.app.conftest import end, events_of
from workbench.app import evaluate, exchange, labelling, reward, runs
from workbench.config.annotator import AnnotatorSettings
from workbench.config.dpo import DPOSettings
from workbench.config.evaluation import EvaluationSettings
from workbench.config.kto import KTOSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.config.sft import SFTSettings
from workbench.data.records import NewCompletion
from workbench.data.training_data import TrainingData
from workbench.errors import UserError
from workbench.events import Evaluated, Step
from workbench.models import adapters
from workbench.models.loading import LoadedModel

SMALL = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-2, "lora": {"r": 4, "alpha": 8}}
SFT, DPO, KTO = (m.model_validate(SMALL) for m in (SFTSettings, DPOSettings, KTOSettings))
PPO = PPOSettings(updates=2, batch_size=4, max_new_tokens=6, learning_rate=1e-2)
EVALUATION = EvaluationSettings(max_new_tokens=6)
IDS = torch.tensor([[3, 4, 5, 6]])


def trained(ws, name, settings, **kwargs):
    """The finished run of an algorithm."""
    job = runs.train(ws, name, settings, **kwargs)
    finished = end(job)
    assert finished.outcome == "done", finished.error
    return job.run_id


def exported(ws, run_id):
    return Path(end(runs.export_adapter(ws, run_id)).result["folder"])


def weights(ws, run_id):
    return (ws.artifact_folder(run_id, "adapter") / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize(("name", "settings"), [("sft", SFT), ("dpo", DPO), ("kto", KTO)])
def test_from_labels_to_evaluation_and_export(judged, name, settings):
    assert reward.reward_runs(judged) == []
    run_id = trained(judged, name, settings)
    run = judged.run(run_id)
    assert (run.kind, run.algorithm) == ("policy", name)
    assert "reward_run" not in run.inputs
    assert f"loss/{name}" in runs.metrics(judged, run_id)
    assert run.results["heldout/loss"] > 0

    job = evaluate.compare(judged, run_id, EVALUATION, AnnotatorSettings())
    assert end(job).outcome == "done"
    found = evaluate.result(judged, job.run_id)
    assert "reward_run" not in found.run.inputs
    assert 0 <= found.summary["win_rate"] <= 1
    assert {"kl", "length_before", "length_after"} <= found.summary.keys()
    # Absent, not zero.
    assert not [key for key in found.summary if "reward" in key]
    assert {row.reward_winner for row in found.rows} == {None}
    assert {side.reward for row in found.rows for side in (row.base, row.trained)} == {None}
    assert None not in {row.annotator_winner for row in found.rows}

    folder = exported(judged, run_id)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert f"- {run.name}: done, " in card
    assert "Reward" not in card
    assert "None" not in card
    if name == "dpo":
        assert "Labels: judged by simulated (simulated), digest `" in card


def test_without_reward_model_and_annotator_nobody_would_judge(judged):
    run_id = trained(judged, "dpo", DPO)
    n = len(runs.runs(judged))
    with pytest.raises(UserError, match="Nobody would judge"):
        evaluate.compare(judged, run_id, EVALUATION)
    assert len(runs.runs(judged)) == n


def test_a_reward_model_that_is_there_judges_what_was_trained_without(judged):
    run_id = trained(judged, "dpo", DPO)
    assert evaluate.scorer(judged, judged.run(run_id)) is None
    scorer = reward.train_reward(judged, RewardModelSettings(epochs=1, batch_size=8))
    assert end(scorer).outcome == "done"
    job = evaluate.compare(judged, run_id, EVALUATION)
    assert end(job).outcome == "done"
    found = evaluate.result(judged, job.run_id)
    assert found.run.inputs["reward_run"] == scorer.run_id
    assert "win_rate_reward" in found.summary
    assert "win_rate" not in found.summary


def kl_at_the_start(ws, run_id):
    return runs.metrics(ws, run_id)["objective/kl"][0]


@torch.no_grad()
def test_dpo_and_ppo_after_supervised_fine_tuning(judged, model_folder):
    """The reference is the fine-tuned policy: distance 0 at the start, its bits kept, and what is
    exported is the whole policy."""
    with torch.enable_grad():
        first = trained(judged, "sft", SFT)
        before = weights(judged, first)
        scorer = reward.train_reward(judged, RewardModelSettings(epochs=1, batch_size=8))
        assert end(scorer).outcome == "done"
        second = {
            "dpo": trained(judged, "dpo", DPO, start_run=first),
            "ppo": trained(judged, "ppo", PPO, start_run=first),
        }
    assert runs.metrics(judged, second["dpo"])["heldout/margins"][0] == (0, 0.0)
    assert kl_at_the_start(judged, second["ppo"]) == (1, 0.0)
    assert weights(judged, first) == before

    base = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    plain = base(input_ids=IDS).logits
    model = judged._loaded
    assert isinstance(model, LoadedModel)
    for name, run_id in second.items():
        assert judged.run(run_id).inputs["start_run"] == first
        assert weights(judged, run_id) != before
        folder = exported(judged, run_id)
        adapters.load(model, "policy", judged.artifact_folder(run_id, "adapter"))
        with adapters.active(model, "policy"):
            ours = model.model(input_ids=IDS).logits
        adapters.remove_all(model)
        theirs = PeftModel.from_pretrained(base, str(folder))
        assert_close(theirs(input_ids=IDS).logits, ours, FORWARD)
        assert float((ours - plain).abs().max()) > 1e-3
        base = theirs.unload()
        card = (folder / "README.md").read_text(encoding="utf-8")
        assert f"- {judged.run(run_id).name}: done" in card
        assert "- Supervised fine-tuning 1: done" in card
        job = evaluate.compare(judged, run_id, EVALUATION, AnnotatorSettings())
        assert end(job).outcome == "done", name


def test_a_run_that_made_no_policy_is_no_start(judged):
    scorer = reward.train_reward(judged, RewardModelSettings(epochs=1, batch_size=8))
    assert end(scorer).outcome == "done"
    with pytest.raises(UserError, match="has not written a adapter yet"):
        runs.train(judged, "dpo", DPO, start_run=scorer.run_id)


@pytest.mark.parametrize(("name", "settings"), [("sft", SFT), ("dpo", DPO), ("kto", KTO)])
def test_stopped_and_resumed_is_bit_equal_to_never_stopped(judged, name, settings):
    """Labels that are taken back meanwhile do not matter to a run that goes on."""
    start = trained(judged, "sft", SFT)
    settings = settings.model_copy(update={"checkpoint_every": 1})
    whole = trained(judged, name, settings, start_run=start)
    part = runs.train(judged, name, settings, start_run=start)
    for event in part.follow(60):
        if isinstance(event, Step) and event.step == 2:
            part.token.cancel()
    assert judged.run(part.run_id).status == "stopped"
    labelling.undo(judged)
    events = events_of(runs.resume(judged, part.run_id))
    assert events[-1].outcome == "done"
    assert weights(judged, part.run_id) == weights(judged, whole)
    wanted, got = (runs.metrics(judged, i) for i in (whole, part.run_id))
    assert wanted.keys() == got.keys()
    for metric in wanted:
        if not metric.startswith("time/"):
            assert got[metric] == wanted[metric], metric
    told = [e.metrics for e in events if isinstance(e, Evaluated)]
    assert told[-1]["heldout/loss"] == wanted["heldout/loss"][-1][1]


def judge_heldout(ws):
    """One pair about a held-out prompt, with texts that are nowhere else."""
    (prompt, *_) = ws.experiment.prompts.list(split="heldout")
    ids = ws.experiment.completions.add_many(
        [NewCompletion(prompt.id, text) for text in ("w15 w15", "w14 w14")]
    )
    [(comparison, _)] = ws.experiment.comparisons.ensure([(prompt.id, *ids)])
    labelling.judge(ws, comparison.id, "first", 1.0)
    return prompt.id


@pytest.mark.parametrize(("name", "settings"), [("sft", SFT), ("dpo", DPO), ("kto", KTO)])
def test_prompts_that_are_held_out_for_evaluation_teach_no_policy(judged, name, settings):
    prompt_id = judge_heldout(judged)
    run_id = trained(judged, name, settings)
    data = TrainingData.read(judged.run_folder(run_id) / runs.DATA_FILE)
    learned = [*data.preferences, *data.feedback, *data.answers]
    assert learned
    assert prompt_id not in {item.prompt.id for item in learned}
    scorer = reward.train_reward(judged, RewardModelSettings(epochs=1, batch_size=8))
    assert end(scorer).outcome == "done"
    data = TrainingData.read(judged.run_folder(scorer.run_id) / runs.DATA_FILE)
    assert prompt_id in {p.prompt.id for p in data.preferences}


def test_imported_answers_are_what_fine_tuning_imitates(ready, tmp_path):
    rows = [{"prompt": f"w{i} w1", "completion": f"w{i + 1} w{i + 2}"} for i in range(10)]
    path = tmp_path / "shown.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert exchange.import_answers(ready, path).n == 10
    with pytest.raises(UserError, match="0 answers to learn from"):
        runs.train(ready, "sft", SFT.model_copy(update={"answers_from": "chosen"}))
    run_id = trained(ready, "sft", SFT)
    data = TrainingData.read(ready.run_folder(run_id) / runs.DATA_FILE)
    assert {(a.prompt.text, a.answer) for a in data.answers} == {
        (row["prompt"], row["completion"]) for row in rows
    }
    assert ready.run(run_id).inputs["n_answers"] == 10
    losses = [value for _, value in runs.metrics(ready, run_id)["heldout/loss"]]
    assert losses[-1] < losses[0]
