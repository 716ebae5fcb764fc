"""Bundles: whole, portable, and understood by the programs that they are for.

What TRL 1.16.0 and OpenRLHF 0.11.2 accept is in tests/golden: the fields of the argument classes
of TRL's scripts (`dataclasses.fields`) and the flags in OpenRLHF's argument parsers (read with
`ast`). That TRL really trains on a bundle is shown by tests.benchmarks.bench_handover_trl.
"""

import importlib.util
import json
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.close import FORWARD, assert_close
from tests.unit.app.conftest import add_prompts, end
from workbench import places
from workbench.app import evaluate, exchange, handover, preference_import, reward, runs
from workbench.app.handover import launch, openrlhf, peers, trl
from workbench.config import algorithms, toml
from workbench.config.algorithms import ALGORITHMS
from workbench.config.ppo import PPOSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data import bundle
from workbench.data.folders import verify
from workbench.errors import UserError
from workbench.models import adapters
from workbench.rewards.neural import RewardModel

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
PPO = PPOSettings(updates=2, batch_size=4, max_new_tokens=6, checkpoint_every=0, n_samples=0)
ALL = [algorithms.REWARD, *ALGORITHMS.values()]


@pytest.fixture
def scored(judged):
    settings = RewardModelSettings(epochs=1, learning_rate=1e-3)
    assert end(reward.train_reward(judged, settings)).outcome == "done"
    return judged


@pytest.fixture
def trained(scored):
    job = runs.train(scored, "ppo", PPO)
    assert end(job).outcome == "done"
    return scored, job.run_id


def export(ws, *args: Any, **kwargs: Any) -> Path:
    finished = end(handover.export_bundle(ws, *args, **kwargs))
    assert finished.outcome == "done", finished.error
    return Path(finished.result["folder"])


def plan(algorithm: str, **changes: Any) -> peers.Plan:
    settings = algorithms.find(algorithm).settings
    named = {k: changes.pop(k) for k in list(changes) if k in peers.Plan.__dataclass_fields__}
    facts = {
        "algorithm": algorithm,
        "settings": toml.validate(settings, changes),
        "model": "a-model",
        "hub_id": "somebody/a-model",
        "revision": "",
        "context_length": 2048,
        "has_chat_template": True,
        "is_encoder_decoder": False,
        "has_reward_model": "reward" in algorithms.find(algorithm).needs,
        "has_start_adapter": False,
        "n_prompts": 100,
    }
    return peers.Plan(**{**facts, **named})


def test_a_bundle_of_a_run_is_whole_and_is_that_run(trained):
    ws, run_id = trained
    # What is added afterwards does not change what the run was trained on.
    add_prompts(ws, ["w9 w9 w9"])
    folder = export(ws, "ppo", PPO, run_id=run_id)
    assert folder == ws.path / "exports" / f"bundle-run-{run_id:04}"
    assert verify(folder) == []
    listed = json.loads((folder / "MANIFEST.json").read_text())["files"]
    assert set(listed) > {
        "config.toml", "job.json", "data/training.json", "data/prompts.jsonl",
        "data/heldout_prompts.jsonl", "data/preferences.jsonl",
        "reward_model/adapter_config.json", "reward_model/adapter_model.safetensors",
        "adapter/adapter_config.json", "adapter/adapter_model.safetensors", "reward.py",
        "trl.yaml", "train_trl.sh", "requirements-trl.txt",
        "openrlhf.sh", "requirements-openrlhf.txt", "launch.md",
    }  # fmt: skip
    found = bundle.read(folder)
    assert (found.how.name, found.settings) == ("ppo", PPO)
    assert [p.id for p in found.data.prompts] == ws.run(run_id).inputs["prompt_ids"]
    assert found.model["digest"] == ws.model_info().digest
    assert found.reward_model == folder / "reward_model"
    assert found.start_adapter is None
    facts = json.loads((folder / "job.json").read_text())
    assert facts["run"] == {"id": run_id, "name": "PPO 1", "status": "done"}
    assert facts["reward"]["name"] == "Reward model 1"
    assert facts["reward"]["annotators"] == ["simulated (simulated)"]
    assert facts["rows"]["prompts"] == 8
    exported = [a for a in ws.experiment.artifacts.for_run(run_id) if a.kind == "export"]
    assert [a.path for a in exported] == [f"exports/bundle-run-{run_id:04}"]


def test_a_bundle_names_no_path_and_no_user_of_this_machine(trained, tmp_path, model_folder):
    ws, run_id = trained
    folder = export(ws, "ppo", PPO, tmp_path / "bundle", run_id=run_id)
    private = [str(tmp_path), str(model_folder.parent), str(Path.home()), str(places.home_dir())]
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [p for p in private if p.encode() in content], path


def test_the_data_are_read_back_by_the_importers(trained):
    ws, run_id = trained
    folder = export(ws, "ppo", PPO, run_id=run_id)
    prompts = exchange.preview_prompts(folder / "data" / "prompts.jsonl")
    assert not prompts.problems
    assert [p.messages for p in prompts.rows] == [
        p.messages for p in bundle.read(folder).data.prompts
    ]
    pairs = preference_import.preview_preferences(folder / "data" / "preferences.jsonl")
    assert not pairs.problems
    assert len(pairs.rows) == len(reward.usable_pairs(ws)[0]) >= 8
    assert {row.annotator_kind for row in pairs.rows} == {"simulated"}


def test_the_policy_loads_with_plain_peft(trained, model_folder):
    ws, run_id = trained
    folder = export(ws, "ppo", PPO, run_id=run_id)
    base = AutoModelForCausalLM.from_pretrained(model_folder)
    model = PeftModel.from_pretrained(base, folder / "adapter")
    own = ws.artifact_folder(run_id, "adapter") / "adapter_model.safetensors"
    assert (folder / "adapter" / own.name).read_bytes() == own.read_bytes()
    assert model.peft_config["default"].base_model_name_or_path == "random-llama"


@pytest.mark.parametrize("rule", ["subtract", "replace"])
def test_reward_py_gives_the_scores_of_the_reward_model(rule, trained, model_folder, monkeypatch):
    ws, run_id = trained
    prompts = ws.experiment.prompts.get_many(ws.run(run_id).inputs["prompt_ids"][:4])
    answers = [[5, 6, 7, 1], [4, 1], [8, 9, 3], [1]]  # the third was cut: 1 is the stop token
    model, (scorer,) = ws._loaded, reward.reward_runs(ws)
    wanted = RewardModel.load(model, ws.artifact_folder(scorer.id, "reward_model")).score(
        [p.messages for p in prompts], answers
    )
    adapters.remove(model, "reward")
    assert len({round(value, 3) for value in wanted}) == 4
    bound = sorted(map(abs, wanted))[2]  # cuts the largest
    wanted = [min(max(value, -bound), bound) for value in wanted]
    wanted[2] = wanted[2] - 3.0 if rule == "subtract" else -3.0

    settings = PPO.model_copy(
        update={"missing_eos_penalty": 3.0, "missing_eos_rule": rule, "score_clip": bound}
    )
    folder = export(ws, "ppo", settings, run_id=run_id)
    monkeypatch.setenv("MODEL", str(model_folder))
    spec = importlib.util.spec_from_file_location("bundle_reward", folder / "reward.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    got = module.score(
        prompts=[[{"role": m.role, "content": m.content} for m in p.messages] for p in prompts],
        completions=None,
        completion_ids=answers,
        trainer_state=None,
    )
    assert_close(got, wanted, FORWARD)


def test_a_changed_bundle_is_refused(trained):
    ws, run_id = trained
    folder = export(ws, "ppo", PPO, run_id=run_id)
    (folder / "config.toml").write_text("updates = 1000\n")
    with pytest.raises(UserError, match=r"config\.toml has"):
        bundle.read(folder)
    (folder / "job.json").write_text('{"format": 2}')
    with pytest.raises(UserError, match="newer version"):
        bundle.read(folder)
    with pytest.raises(UserError, match="no training job"):
        bundle.read(folder.parent)


def test_a_bundle_is_whole_or_absent(trained, tmp_path):
    ws, run_id = trained
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.txt").write_text("mine")
    finished = end(handover.export_bundle(ws, "ppo", PPO, taken, run_id=run_id))
    assert "not overwritten" in finished.error.message
    assert [p.name for p in taken.iterdir()] == ["thesis.txt"]

    (ws.artifact_folder(run_id, "adapter") / "adapter_config.json").write_text("{}")
    finished = end(handover.export_bundle(ws, "ppo", PPO, tmp_path / "new", run_id=run_id))
    assert "is damaged" in finished.error.message
    assert not (tmp_path / "new").exists()


def test_a_job_can_be_handed_over_without_a_run(scored):
    folder = export(scored, "ppo", PPOSettings())
    assert folder.name == "bundle-ppo"
    assert json.loads((folder / "job.json").read_text())["run"] is None
    assert not (folder / "adapter").exists()
    assert len(bundle.read(folder).data.prompts) == 8
    again = export(scored, "ppo", PPOSettings())
    assert again.name == "bundle-ppo-2"


def test_a_reward_model_s_training_is_handed_over_with_its_pairs(scored):
    (run,) = reward.reward_runs(scored)
    name, settings, run_id = handover.choose(scored, None, run.id)
    assert (name, run_id) == ("reward", run.id)
    folder = export(scored, name, settings, run_id=run_id)
    found = bundle.read(folder)
    assert len(found.data.preferences) == run.inputs["n_pairs"]
    assert found.reward_model is None
    assert not (folder / "reward.py").exists()
    config = yaml.safe_load((folder / "trl.yaml").read_text())
    assert config["lora_task_type"] == "SEQ_CLS"
    assert config["lora_modules_to_save"] == ["score"]
    assert config["center_rewards_coefficient"] == 0.01


def test_what_is_missing_is_told_before_anything_is_written(ready):
    with pytest.raises(UserError, match="no reward model yet"):
        handover.export_bundle(ready, "ppo", PPOSettings())
    with pytest.raises(UserError, match="0 ranked pairs"):
        handover.export_bundle(ready, "reward", RewardModelSettings())
    with pytest.raises(UserError, match="no algorithm frobnicate"):
        handover.export_bundle(ready, "frobnicate", PPOSettings())
    assert not list((ready.path / "exports").glob("bundle*"))


def test_what_is_not_named_is_chosen(trained, tmp_path):
    ws, run_id = trained
    assert handover.choose(ws, None, None) == ("ppo", PPO, run_id)
    assert handover.choose(ws, "ppo", run_id) == ("ppo", PPO, run_id)
    assert handover.choose(ws, "ppo", None) == ("ppo", PPOSettings(), None)
    assert handover.choose(ws, "reward", run_id) == ("reward", RewardModelSettings(), run_id)
    (tmp_path / "s.toml").write_text("updates = 7\n")
    named = handover.choose(ws, "ppo", run_id, tmp_path / "s.toml")
    assert named == ("ppo", PPOSettings(updates=7), run_id)
    job = evaluate.compare(ws, run_id, evaluate.EvaluationSettings(n_prompts=1, max_new_tokens=4))
    assert end(job).outcome == "done"
    with pytest.raises(UserError, match="no algorithm evaluation"):
        handover.choose(ws, None, job.run_id)


def test_without_a_policy_an_algorithm_must_be_named(ready):
    with pytest.raises(UserError, match="no trained policy yet"):
        handover.choose(ready, None, None)


def standing(job: peers.Plan, by: peers.Translation) -> set[str]:
    """What is said to stand for a setting of this job there, but for files of the bundle."""
    names = {by.names[name] for name in job.values if name in by.names}
    return {name for name in names if not name.endswith((".py", ".jsonl"))}


@pytest.mark.parametrize("how", ALL, ids=lambda how: how.name)
def test_trl_knows_every_key(how):
    known = json.loads((GOLDEN / "trl-1.16.0-keys.json").read_text())
    job = plan(how.name)
    by = trl.translate(job)
    if not by.command:
        assert "worker" in by.remark
        return
    config = yaml.safe_load(trl.config(job, by))
    assert config.keys() <= set(known[by.command].split())
    assert config["model_name_or_path"] == "somebody/a-model"
    assert config["lora_dropout"] == 0
    assert isinstance(config["learning_rate"], float)
    assert config["learning_rate"] == job.settings.learning_rate
    assert standing(job, by) <= set(known[by.command].split())
    assert ("reward_funcs" in config) == job.has_reward_model


@pytest.mark.parametrize("how", ALL, ids=lambda how: how.name)
@pytest.mark.parametrize("is_changed", [False, True])
def test_openrlhf_knows_every_flag(how, is_changed):
    known = json.loads((GOLDEN / "openrlhf-0.11.2-flags.json").read_text())
    changes = {"learning_rate": 1e-5}
    if is_changed and how.name == "ppo":
        changes |= {"score_clip": 5.0, "clip_range_high": 0.28, "dual_clip": 3.0}
        changes |= {"is_kl_adaptive": True, "checkpoint_every": 0, "entropy_coef": 0.01}
    job = plan(how.name, **changes)
    by = openrlhf.translate(job)
    if not by.command:
        assert "worker" in by.remark
        return
    text = openrlhf.script(job, by).removesuffix('"$@"\n').replace("\\\n", " ")
    arguments = text.split(f"openrlhf.cli.{by.command} ")[1]
    flags = [word.split() for word in re.split(r" --(?=[a-z])", arguments)[1:]]
    for name, *values in flags:
        assert name in known[by.command].split(), name
        assert bool(values) != (name in known["switches"].split()), name
        # Python's parser takes what looks like a flag for one, -1e9 among others.
        assert all(re.fullmatch(r"-\d+|-\d*\.\d+|[^-].*", value) for value in values), values
    assert len({name for name, *_ in flags}) == len(flags)
    assert standing(job, by) <= set(known[by.command].split())


@pytest.mark.parametrize("how", ALL, ids=lambda how: how.name)
def test_every_setting_is_in_the_table_and_what_is_lost_is_said(how):
    job = plan(how.name)
    by_trl, by_openrlhf = trl.translate(job), openrlhf.translate(job)
    text = launch.text(job, by_trl, by_openrlhf)
    for name, value in job.values.items():
        assert f"| {name} | {value} | {by_trl.cell(name, value) or '-'} |" in text
        for by in (by_trl, by_openrlhf):
            is_idle = name in ("kl_target", "kl_horizon")
            if by.command and not by.cell(name, value) and value and not is_idle:
                assert f"- {name} = {value}: " in text
    assert by_trl.remark in text
    assert by_openrlhf.remark in text


def test_ppo_becomes_rloo_and_says_so():
    by = trl.translate(plan("ppo", batch_size=16, minibatches=2, epochs=3, updates=10))
    assert by.command == "rloo"
    assert "no PPO" in by.remark
    assert by.values["num_generations"] == 4
    assert by.values["generation_batch_size"] == 16
    # Two steps per pass, three passes per update, ten updates.
    assert by.values["max_steps"] == 60
    assert by.values["num_iterations"] == 3
    assert by.values["per_device_train_batch_size"] * by.values["gradient_accumulation_steps"] == 8
    assert by.values["save_steps"] == 20 * 6
    text = launch.text(plan("ppo"), by, openrlhf.translate(plan("ppo")))
    for lost in ("gae_lambda", "value_coef", "value_clip_range", "normalise_scores"):
        assert f"- {lost} = " in text


LOSS_MEANS = {
    "answer": ("actor.loss_agg_mode", "seq-mean-token-mean"),
    "token": ("actor.loss_agg_mode", "token-mean"),
}
GRPO_CASES = [
    (
        {"scale_by_std": True},
        ("scale_rewards", "group"),
        ("algo.advantage.estimator", "group_norm"),
    ),
    ({"scale_by_std": False}, ("scale_rewards", "none"), ("algo.advantage.estimator", "dr_grpo")),
    ({"aggregation": "answer"}, ("loss_type", "grpo"), LOSS_MEANS["answer"]),
    ({"aggregation": "token"}, ("loss_type", "dapo"), LOSS_MEANS["token"]),
    ({"aggregation": "fixed_length"}, ("loss_type", "dr_grpo"), None),
    ({"kl_in": "loss"}, ("beta", 0.04), ("algo.kl.use_loss", True)),
    ({"batch_size": 24, "group_size": 6}, ("num_generations", 6), ("rollout.batch_size", 4)),
]


@pytest.mark.parametrize(("changes", "by_trl", "by_openrlhf"), GRPO_CASES)
def test_kinds_of_grpo(changes, by_trl, by_openrlhf):
    job = plan("grpo", **changes)
    assert by_trl in trl.translate(job).values.items()
    found = openrlhf.translate(job)
    assert by_openrlhf is None or by_openrlhf in found.values.items()
    text = launch.text(job, trl.translate(job), found)
    assert ("OpenRLHF has no fixed length" in text) == (job.settings.aggregation == "fixed_length")


@pytest.mark.parametrize(
    ("baseline", "estimator", "is_lost"),
    [
        ("none", "reinforce", False),
        ("batch_mean", "flash_reinforce", False),
        ("moving_average", "flash_reinforce", True),
        ("learned", "gae", False),
    ],
)
def test_baselines_of_reinforce(baseline, estimator, is_lost):
    job = plan("reinforce", baseline=baseline)
    by = openrlhf.translate(job)
    assert by.values["algo.advantage.estimator"] == estimator
    assert ("critic.adam.lr" in by.values) == (baseline == "learned")
    assert (not by.cell("baseline", baseline)) == is_lost
    text = launch.text(job, trl.translate(job), by)
    assert ("OpenRLHF has no moving average" in text) == is_lost


def test_what_is_off_here_is_absent_there():
    values = trl.translate(plan("ppo", checkpoint_every=0)).values
    assert values["save_strategy"] == "no"
    assert not {"save_steps", "epsilon_high"} & values.keys()
    flags = openrlhf.translate(plan("ppo", checkpoint_every=0)).values
    assert flags["ckpt.save_steps"] == -1
    assert not {"actor.dual_clip", "algo.kl.target", "actor.eps_clip_low_high"} & flags.keys()
    # Their own default of these is another: 0 must be said.
    assert flags["actor.lr_warmup_ratio"] == flags["train.seed"] == 0
    assert openrlhf.translate(plan("reward")).values["lr_warmup_ratio"] == 0
    assert openrlhf.translate(plan("ppo", kl_coef=0.0)).values["algo.kl.init_coef"] == 0
    assert trl.translate(plan("ppo", clip_range_high=0.28)).values["epsilon_high"] == 0.28
    clipped = openrlhf.translate(plan("ppo", score_clip=5.0)).values["reward.clip_range"]
    assert list(map(float, clipped.split())) == [-5.0, 5.0]


@given(
    batch=st.integers(1, 64),
    parts=st.integers(1, 8),
    epochs=st.integers(1, 4),
    needs_groups=st.booleans(),
)
def test_batches_are_cut_without_a_rest(batch, parts, epochs, needs_groups):
    settings = PPOSettings(batch_size=batch * parts, minibatches=parts, epochs=epochs)
    cut = peers.batches(settings, needs_groups=needs_groups)
    assert cut.batch % cut.group == 0
    assert cut.at_once * cut.accumulation == cut.step
    assert cut.batch % cut.step == 0
    assert cut.group >= (2 if needs_groups else 1)
    assert cut.batch == batch * parts or (needs_groups and batch * parts == 1)
    assert cut.passes == epochs


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_survive_yaml(number):
    assert yaml.safe_load(trl._yaml(number)) == number


@pytest.mark.parametrize("hub_id", ["somebody/a-model", ""])
@pytest.mark.parametrize("name", ["train_trl.sh", "openrlhf.sh"])
def test_the_scripts_hand_on_the_model_and_all_arguments(tmp_path, hub_id, name):
    job = plan("ppo", hub_id=hub_id)
    by_trl, by_openrlhf = trl.translate(job), openrlhf.translate(job)
    (tmp_path / "train_trl.sh").write_text(trl.script(job, by_trl))
    (tmp_path / "openrlhf.sh").write_text(openrlhf.script(job, by_openrlhf))
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("trl", "python"):
        (tools / tool).write_text('#!/bin/sh\npwd\nprintf "%s\\n" "$MODEL" "$@"\n')
        (tools / tool).chmod(0o755)

    def run(**variables: str) -> subprocess.CompletedProcess[str]:
        path = f"{tools}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            ["sh", str(tmp_path / name), "--more", "two words"],
            env={"PATH": path, **variables},
            capture_output=True,
            text=True,
            cwd="/",
            check=False,
        )

    url = "http://token:x@127.0.0.1:8420/get_reward"
    done = run(MODEL="a folder", REWARD_URL=url)
    assert done.returncode == 0, done.stderr
    where, model, *words = done.stdout.splitlines()
    assert Path(where).resolve() == tmp_path.resolve()
    assert words[-2:] == ["--more", "two words"]
    assert "a folder" in words
    if name == "train_trl.sh":
        assert model == "a folder"
        assert words[:3] == ["rloo", "--config", "trl.yaml"]
    else:
        assert words[:2] == ["-m", "openrlhf.cli.train_ppo_ray"]
        assert url in words
        assert "REWARD_URL" in run(MODEL="a folder").stderr
    default = run(REWARD_URL=url)
    if hub_id:
        assert hub_id in default.stdout
    else:
        assert default.returncode != 0
        assert "Set MODEL to the folder of a-model" in default.stderr


def test_what_models_lack_is_told():
    bare = plan("ppo", has_chat_template=False, has_start_adapter=True, revision="abc123")
    by_trl, by_openrlhf = trl.translate(bare), openrlhf.translate(bare)
    text = launch.text(bare, by_trl, by_openrlhf)
    assert "chat_template.jinja" in text
    assert "start_adapter" in text
    assert "revision `abc123`" in text
    assert "model_revision: abc123" in trl.config(bare, by_trl)
    assert "apply_chat_template" not in openrlhf.script(bare, by_openrlhf)
    t5 = plan("ppo", is_encoder_decoder=True)
    assert not trl.translate(t5).command
    assert not openrlhf.translate(t5).command


def test_several_cards_keep_the_batch():
    job = plan("ppo", batch_size=32, minibatches=1)
    text = launch.text(job, trl.translate(job), openrlhf.translate(job))
    lines = [line for line in text.splitlines() if line.startswith("sh train_trl.sh --acc")]
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line)
        n, each, passes = (
            int(words[words.index(flag) + 1])
            for flag in (
                "--num_processes",
                "--per_device_train_batch_size",
                "--gradient_accumulation_steps",
            )
        )
        assert n * each * passes == 32
        assert n in (8, 16)


def test_pairs_that_count_less_here_are_told():
    for n_lighter in (0, 3):
        made = plan("dpo", n_lighter=n_lighter)
        text = launch.text(made, trl.translate(made), openrlhf.translate(made))
        assert ("3 pairs are labels of an AI judge" in text) == bool(n_lighter)
