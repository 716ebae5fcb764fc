"""What is lost when the program dies, or is asked to end, in the middle of a run."""

import json
import signal
import sys

import pytest

from tests.e2e.conftest import parse
from workbench.app import answers, labelling, library, reward, runs
from workbench.app.workspace import Workspace
from workbench.cli import main
from workbench.config.annotator import AnnotatorSettings
from workbench.config.generation import SamplingSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data.folders import leftovers, verify
from workbench.data.records import Message, NewPrompt

UPDATES = 40
PPO = (
    "train", "ppo", "--updates", UPDATES, "--batch-size", "4", "--max-new-tokens", "6",
    "--checkpoint-every", "5", "--learning-rate", "1e-3",
)  # fmt: skip


@pytest.fixture
def scored(tmp_path, model_folder):
    """An experiment with a reward model, closed."""
    ws = Workspace.open(tmp_path / "experiment", create=True)
    library.select_model(ws, str(model_folder))
    ws.experiment.prompts.add_many([NewPrompt((Message("user", f"w{i}"),)) for i in range(8)])
    for job in (
        lambda: answers.generate(ws, SamplingSettings(n_answers=3, max_new_tokens=8)),
        lambda: labelling.simulate(ws, AnnotatorSettings(noise=0.0)),
        lambda: reward.train_reward(ws, RewardModelSettings(epochs=1)),
    ):
        done = job()
        assert done.wait(60)
        assert done.outcome == "done"
    assert ws.close(60)
    return tmp_path / "experiment"


def until_step(process, wanted: int) -> None:
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "Step" and event["step"] >= wanted:
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_killed_run_goes_on_as_if_nothing_had_happened(scored, start, capsys):
    process = start(*PPO, "--json", "--experiment", scored)
    until_step(process, 12)
    process.send_signal(signal.SIGKILL)
    process.wait()

    ws = Workspace.open(scored)
    run_id = runs.runs(ws, "policy")[0].id
    n_pairs = len(ws.experiment.judgements.preferences())
    assert ws.run(run_id).status == "interrupted"
    assert leftovers(scored) == []
    checkpoint = runs.newest_checkpoint(ws, run_id)
    assert checkpoint.name >= "step-000010"
    assert ws.close(60)
    assert n_pairs > 8

    where = ["--json", "--experiment", str(scored)]
    assert main(["train", "ppo", "--resume", str(run_id), *where]) == 0
    resumed = parse(capsys.readouterr().out)
    assert resumed[-1]["outcome"] == "done"
    steps = [e["step"] for e in resumed if e["event"] == "Step"]
    assert steps == list(range(int(checkpoint.name[-6:]) + 1, UPDATES + 1))

    assert main([*map(str, PPO), *where]) == 0
    ws = Workspace.open(scored)
    whole_id = runs.runs(ws, "policy")[0].id
    assert whole_id != run_id
    weights = [
        (ws.artifact_folder(i, "adapter") / "adapter_model.safetensors").read_bytes()
        for i in (run_id, whole_id)
    ]
    metrics = [runs.metrics(ws, i)["objective/kl"] for i in (run_id, whole_id)]
    assert ws.close(60)
    assert weights[0] == weights[1]
    assert metrics[0] == metrics[1]
    assert [step for step, _ in metrics[0]] == list(range(1, UPDATES + 1))


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C cannot be sent to one process")
def test_ctrl_c_stops_and_saves(scored, start):
    process = start(*PPO, "--json", "--experiment", scored)
    until_step(process, 3)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    events = parse(out)
    assert events[-1]["event"] == "Finished"
    assert events[-1]["outcome"] == "stopped"
    assert [e["kind"] for e in events if e["event"] == "Saved"][-2:] == ["checkpoint", "adapter"]
    assert "Press Ctrl+C again" in err
    ws = Workspace.open(scored)
    run = runs.runs(ws, "policy")[0]
    assert run.status == "stopped"
    assert verify(ws.artifact_folder(run.id, "adapter")) == []
    assert ws.close(60)
