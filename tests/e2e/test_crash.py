"""What is lost when the program dies, or is asked to end, in the middle of a run."""

import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import parse
from workbench.app import answers, labelling, library, reward, runs
from workbench.app.workspace import Workspace
from workbench.cli import main
from workbench.config import algorithms
from workbench.config.algorithms import ALGORITHMS, REWARD
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


# Offline algorithms make about as many updates, out of the data that there are.
ON_POLICY = ("--updates", "8", "--batch-size", "8", "--max-new-tokens", "6")
OFFLINE = ("--epochs", "3", "--batch-size", "4")
SHARED = ("--checkpoint-every", "2", "--learning-rate", "1e-3")
DIES_AT = 5


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, model_folder) -> Path:
    """An experiment with a reward model, closed; for copies."""
    folder = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RLHF_WORKBENCH_HOME", str(folder / "home"))
        ws = Workspace.open(folder / "experiment", create=True)
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
    return folder / "experiment"


@pytest.fixture
def scored(prepared, tmp_path) -> Path:
    """A copy of the prepared experiment."""
    return Path(shutil.copytree(prepared, tmp_path / "experiment"))


def until_step(process, wanted: int) -> None:
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "Step" and event["step"] >= wanted:
            return
    raise AssertionError(process.err)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
def test_a_killed_run_goes_on_as_if_nothing_had_happened(scored, begin, capsys):
    process = begin(*PPO, "--json", "--experiment", scored)
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


def arguments_of(name: str) -> list[str]:
    is_on_policy = "prompts" in algorithms.find(name).needs
    return ["train", name, *(ON_POLICY if is_on_policy else OFFLINE), *SHARED]


def left_by(ws: Workspace, run_id: int) -> dict[str, Any]:
    """What two equal runs must share, but for the times that they took."""
    run = ws.run(run_id)
    kind = "reward_model" if run.kind == "reward" else "adapter"
    last = runs.newest_checkpoint(ws, run_id)
    files = [*ws.artifact_folder(run_id, kind).iterdir(), *last.parent.glob("*/*")]
    figures = {
        name: [(step, repr(value)) for step, value in points]
        for name, points in runs.metrics(ws, run_id).items()
        if not name.startswith("time/")
    }
    return {
        "status": run.status,
        "checkpoint": last.name,
        "files": {(f.parent.name, f.name): f.read_bytes() for f in files},
        "figures": figures,
        "samples": runs.samples(ws, run_id),
    }


@pytest.mark.skipif(sys.platform == "win32", reason="there is no kill -9")
@pytest.mark.parametrize("name", [*ALGORITHMS, REWARD.name])
def test_every_algorithm_goes_on_to_the_bit(name, scored, begin, capsys):
    """Killed one update after a checkpoint; weights, heads, optimiser, figures, samples."""
    arguments = [*arguments_of(name), "--json", "--experiment", str(scored)]
    assert begin(*arguments, dies_at=DIES_AT).wait() == -signal.SIGKILL

    ws = Workspace.open(scored)
    killed = runs.runs(ws)[0]
    assert (killed.algorithm, killed.status) == (name, "interrupted")
    assert runs.newest_checkpoint(ws, killed.id).name == "step-000004"
    assert ws.close(60)
    where = ["--json", "--experiment", str(scored)]
    assert main(["train", name, "--resume", str(killed.id), *where]) == 0
    resumed = parse(capsys.readouterr().out)
    assert next(e["step"] for e in resumed if e["event"] == "Step") == 5
    assert main(arguments) == 0

    ws = Workspace.open(scored)
    whole = runs.runs(ws)[0]
    assert whole.id != killed.id
    found, wanted = (left_by(ws, run_id) for run_id in (killed.id, whole.id))
    assert ws.close(60)
    assert found["status"] == "done"
    for what, value in wanted.items():
        assert found[what] == value, what
    n_updates = int(wanted["checkpoint"][-6:])
    assert n_updates >= 7
    steps = [step for step, _ in wanted["figures"]["optim/lr"]]
    assert steps == list(range(1, n_updates + 1))


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C cannot be sent to one process")
def test_ctrl_c_stops_and_saves(scored, begin):
    process = begin(*PPO, "--json", "--experiment", scored)
    until_step(process, 3)
    process.send_signal(signal.SIGINT)
    done = process.end()
    assert done.code == 0, done.err
    events = parse(done.out)
    assert events[-1]["event"] == "Finished"
    assert events[-1]["outcome"] == "stopped"
    assert [e["kind"] for e in events if e["event"] == "Saved"][-2:] == ["checkpoint", "adapter"]
    assert "Press Ctrl+C again" in done.err
    ws = Workspace.open(scored)
    run = runs.runs(ws, "policy")[0]
    assert run.status == "stopped"
    assert verify(ws.artifact_folder(run.id, "adapter")) == []
    assert ws.close(60)
