"""Reward models that come from elsewhere, go elsewhere, or lie on another base than the policy."""

import json
import shutil
from contextlib import closing

import pytest
from safetensors.torch import load_file, save_file

from tests import tinymodels
from tests.close import FORWARD, assert_close
from tests.unit.app.conftest import end, events_of
from workbench.app import bases, best_of_n, library, planning, reward, runs, scorers, serving
from workbench.app.reward_export import export_reward
from workbench.app.reward_import import import_reward
from workbench.app.settings import UserSettings
from workbench.config import algorithms
from workbench.config.best_of_n import BestOfNSettings
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.records import Message
from workbench.errors import UserError
from workbench.models.classifier import Tokens, load_classifier
from workbench.rewards.neural import RewardModel
from workbench.rewards.retold import Retold

SETTINGS = RewardModelSettings(epochs=1, batch_size=8, learning_rate=1e-3)
PPO = PPOSettings(updates=1, batch_size=4, max_new_tokens=6, n_samples=0)
PROMPTS = [(Message("user", "w1 w2"),), (Message("user", "w3"),)]
TEXTS = ["w4 w5 w6", "w7"]


def _scores(ws, run_id):
    """What a reward run says of some texts, loaded as every job loads it."""
    found = []

    def work(cancel):
        model = yield from ws.model(cancel)
        opened = yield from scorers.opened(ws, ws.run(run_id), model, cancel)
        with closing(opened) as scorer:
            found.append((type(scorer), scorer.score_texts(PROMPTS, TEXTS)))
        return {}

    assert end(ws.submit("score", "score", work)).error is None
    return found[0]


@pytest.fixture
def other_base(judged, tmp_path):
    folder = tinymodels.write(tmp_path / "random-gpt2", "gpt2", seed=3)
    UserSettings.load().with_model_folder(folder).save()
    return "random-gpt2"


def test_a_policy_learns_from_a_reward_on_another_base(judged, other_base, tmp_path):
    job = reward.train_reward(judged, SETTINGS, other_base)
    assert end(job).outcome == "done"
    run = judged.run(job.run_id)
    assert run.inputs["model"] == other_base
    assert run.inputs["model_digest"] != judged.model_info().digest
    assert _scores(judged, run.id)[0] is Retold
    ppo = algorithms.find("ppo")
    assert planning.problems(judged, ppo, PPO) == []
    measured = planning.measure(judged, ppo, PPO)
    plan = planning.plan(judged, ppo, PPO, measured)
    (beside,) = bases.beside(judged, run)
    assert end(runs.train(judged, "ppo", PPO)).outcome == "done"
    own = reward.train_reward(judged, SETTINGS)
    assert end(own).outcome == "done"
    without = planning.plan(judged, ppo, PPO, measured, reward_run=own.run_id)
    assert plan.memory.peak_bytes - without.memory.peak_bytes == beside.n_parameters * 4
    prompts = [p.id for p in judged.experiment.prompts.list("heldout")]
    looking = best_of_n.best_of_n(
        judged, BestOfNSettings(n=2, max_new_tokens=6), prompts, reward_run=run.id
    )
    assert end(looking).outcome == "done"
    # The base goes: it is named, with its digest, before anything starts.
    shutil.rmtree(tmp_path / other_base)
    told = [p.message for p in planning.problems(judged, ppo, PPO, reward_run=run.id)]
    assert any(
        f"on random-gpt2 ({run.inputs['model_digest'][:12]}), which is not on this" in sentence
        for sentence in told
    )
    tinymodels.write(tmp_path / other_base, "gpt2", seed=4)
    with pytest.raises(UserError, match="other weights of random-gpt2"):
        runs.train(judged, "ppo", PPO, reward_run=run.id)


def test_a_run_on_another_base_goes_on_from_its_checkpoint(judged, other_base):
    settings = SETTINGS.model_copy(update={"checkpoint_every": 1, "epochs": 3, "batch_size": 4})
    whole = reward.train_reward(judged, settings, other_base)
    assert end(whole).outcome == "done"
    part = reward.train_reward(judged, settings, other_base)
    for event in part.follow(60):
        if getattr(event, "step", 0) == 2:
            part.token.request_stop()
    assert end(runs.resume(judged, part.run_id)).outcome == "done"
    assert _scores(judged, part.run_id) == _scores(judged, whole.run_id)


def test_what_is_exported_is_imported_with_equal_scores(judged, model_folder, tmp_path):
    UserSettings.load().with_model_folder(model_folder).save()
    job = reward.train_reward(judged, SETTINGS.model_copy(update={"ensemble": 2}))
    assert end(job).outcome == "done"
    kind, wanted = _scores(judged, job.run_id)
    assert kind is RewardModel
    assert end(export_reward(judged, job.run_id, tmp_path / "adapter")).outcome == "done"
    assert end(export_reward(judged, job.run_id, tmp_path / "merged", True)).outcome == "done"
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "## Ensemble" in card
    assert "## Where it comes from" in card
    assert str(tmp_path) not in card
    adapter = import_reward(judged, tmp_path / "adapter")
    assert end(adapter).outcome == "done"
    assert _scores(judged, adapter.run_id) == (RewardModel, wanted)
    assert judged.run(adapter.run_id).results["reward/heldout_pairs"] > 0
    # Whole: the classifier's own template ends without a stop token, which the words lack here.
    merged = import_reward(judged, tmp_path / "merged", is_copied=False)
    assert end(merged).outcome == "done"
    classifier = load_classifier(tmp_path / "merged")
    model = tinymodels.load(model_folder)
    scorer = RewardModel.load(model, judged.artifact_folder(job.run_id, "reward_model"))
    rows = [scorer.encode_text(p, t) for p, t in zip(PROMPTS, TEXTS, strict=True)]
    theirs = classifier.logits([Tokens(row.prompt + row.answer) for row in rows])[:, 0]
    assert_close(theirs, wanted, FORWARD)
    folder = judged.artifact_folder(merged.run_id, "reward_model")
    assert sorted(f.name for f in folder.iterdir()) == ["MANIFEST.json", "classifier.json"]
    copied = import_reward(judged, tmp_path / "merged")
    assert end(copied).outcome == "done"
    assert _scores(judged, copied.run_id) == _scores(judged, merged.run_id)
    assert end(export_reward(judged, copied.run_id, tmp_path / "again")).outcome == "done"
    name = "model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "merged" / name).read_bytes()


def _headless(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["score.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def _not_a_number(folder):
    weights = load_file(folder / "model.safetensors")
    weights["score.weight"][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(_headless, "is not in its weights: score.weight"), (_not_a_number, "not a number any more")],
)
def test_an_import_that_cannot_score_fails_and_leaves_no_reward(judged, tmp_path, spoil, words):
    folder = tinymodels.write_classifier(tmp_path / "theirs", "llama")
    spoil(folder)
    job = import_reward(judged, folder)
    assert words in end(job).error.message
    assert judged.run(job.run_id).status == "failed"
    assert not (judged.run_folder(job.run_id) / "reward_model").exists()
    with pytest.raises(UserError, match="has not written"):
        judged.artifact_folder(job.run_id, "reward_model")


def test_what_is_no_reward_is_refused_before_a_run_is_made(judged, tmp_path):
    three = tinymodels.write_classifier(tmp_path / "three", "bert", n_labels=3)
    with pytest.raises(UserError, match="three has 3 labels; a reward is one number"):
        import_reward(judged, three)
    pickled = tinymodels.write_classifier(tmp_path / "pickled", "bert")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickle files only"):
        import_reward(judged, pickled)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"task_type": "SEQ_CLS", "peft_type": "LORA", "base_model_name_or_path": "nowhere"}
    for changes, words in (
        ({"task_type": "CAUSAL_LM"}, "an adapter for CAUSAL_LM"),
        ({"use_dora": True}, "no plain LoRA adapter: its use_dora is True"),
        ({}, "has no adapter_model.safetensors. Pickle files"),
    ):
        (adapter / "adapter_config.json").write_text(json.dumps({**config, **changes}))
        with pytest.raises(UserError, match=words):
            import_reward(judged, adapter)
    (adapter / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="belongs to nowhere, which is not on this machine"):
        import_reward(judged, adapter)
    assert reward.reward_runs(judged) == []


def test_an_imported_reward_serves_every_model(judged, tmp_path, model_folder):
    folder = tinymodels.write_classifier(tmp_path / "theirs", "bert")
    events = events_of(import_reward(judged, folder))
    assert events[-1].outcome == "done"
    other = tinymodels.write(tmp_path / "random-gpt2", "gpt2")
    library.select_model(judged, str(other))
    assert planning.problems(judged, algorithms.find("ppo"), PPO) == []
    served = serving.serve_reward(judged, port=0)
    assert "only a trained network" in end(served.job).error.message
