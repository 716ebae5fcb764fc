"""Handing over and serving, as commands in processes of their own."""

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests import ready
from tests.close import FORWARD, Level, assert_close
from tests.e2e.conftest import parse
from tests.e2e.forks import LIMIT_S
from workbench.data import bundle


@pytest.fixture
def experiment(tmp_path, model_folder) -> Path:
    """With a reward model that was trained on simulated judgements."""
    folder = tmp_path / "experiment"
    ws = ready.new_experiment(folder, str(model_folder), n_repeats=3)
    ready.add_answers(ws)
    ready.add_judgements(ws)
    ready.add_reward_model(ws)
    assert ws.close(LIMIT_S)
    return folder


def test_a_bundle_is_written_and_can_be_read(experiment, command, tmp_path):
    done = command(
        "export", "bundle", tmp_path / "job", "--algorithm", "ppo", "--experiment", experiment,
        "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert done.events[-1]["outcome"] == "done"
    assert done.events[-1]["result"] == {"folder": str(tmp_path / "job")}
    assert bundle.read(tmp_path / "job").how.name == "ppo"
    assert "PySide6" not in done.imported


def test_the_worker_does_the_handed_over_run_again_bit_by_bit(
    experiment, begin, model_folder, tmp_path
):
    flags = ["--updates", "2", "--batch-size", "4", "--max-new-tokens", "6"]
    base = ["--experiment", experiment, "--json"]
    trained = begin("train", "ppo", *flags, *base).end()
    assert trained.code == 0, trained.err
    trained_events = parse(trained.out)
    run_id = next(e["run_id"] for e in trained_events if e["event"] == "Started")
    exported = begin("export", "bundle", tmp_path / "job", "--run", str(run_id), *base).end()
    assert exported.code == 0, exported.err
    again = ("job", "--model", model_folder, "--json")
    done = begin(*again, module="workbench.worker").end()
    assert done.code == 0, done.err
    weights = "adapter_model.safetensors"
    own = tmp_path / "job" / "adapter" / weights
    assert (tmp_path / "run" / "adapter" / weights).read_bytes() == own.read_bytes()
    figures = [
        [e["metrics"]["objective/kl"] for e in events if e["event"] == "Step"]
        for events in (trained_events, parse(done.out))
    ]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 2


@pytest.fixture
def torchrun(environment, tmp_path) -> Callable[..., str]:
    """Two workers that torch's own launcher starts; what the first one says."""

    def run(*arguments: str | Path) -> str:
        launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        done = subprocess.run(
            [sys.executable, "-m", *launcher, "workbench.worker", *map(str, arguments)],
            env={**environment, "OMP_NUM_THREADS": "1"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def two(begin) -> Callable[..., str]:
    """The same with the variables that the launcher sets, without its start."""

    def run(*arguments: str | Path) -> str:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
        ranks = [
            begin(
                *arguments,
                module="workbench.worker",
                variables={**meeting, "RANK": rank, "LOCAL_RANK": rank},
            )
            for rank in ("0", "1")
        ]
        done = [rank.end() for rank in ranks]
        assert [d.code for d in done] == [0, 0], [d.err for d in done]
        assert done[1].out == ""
        return done[0].out

    return run


@pytest.mark.parametrize(("algorithm", "launcher"), [("ppo", "two"), ("reward", "torchrun")])
def test_two_processes_learn_what_one_does(
    algorithm, launcher, experiment, begin, model_folder, tmp_path, request
):
    """Equal up to the order of sums; and each computes only its share of the gradients."""
    # Adam with a large ε: a step is proportional to its gradient, and rounding stays rounding.
    (tmp_path / "s.toml").write_text(
        "adam_eps = 1.0\nlearning_rate = 1e-2\nbatch_size = 6\n[lora]\nr = 4\n"
        if algorithm == "reward"
        else "adam_eps = 1.0\nlearning_rate = 1e-2\nbatch_size = 6\nupdates = 3\n"
        "minibatches = 2\nmax_new_tokens = 6\n[lora]\nr = 4\n"
    )
    exported = begin(
        "export", "bundle", tmp_path / "job", "--algorithm", algorithm,
        "--config", tmp_path / "s.toml", "--experiment", experiment, "--json",
    ).end()  # fmt: skip
    assert exported.code == 0, exported.err
    job = ("job", "--model", model_folder, "--json", "--out")
    alone = begin(*job, "run-1", module="workbench.worker").end()
    assert alone.code == 0, alone.err
    said = {1: alone.out, 2: request.getfixturevalue(launcher)(*job, "run-2")}
    told, weights = {}, {}
    for n, out in said.items():
        told[n] = [e for e in parse(out) if e["event"] == "Step"]
        kind = "reward_model" if algorithm == "reward" else "adapter"
        weights[n] = load_file(tmp_path / f"run-{n}" / kind / "adapter_model.safetensors")
    assert len(told[1]) >= 2
    for one, two in zip(told[1], told[2], strict=True):
        for name, value in one["metrics"].items():
            if not name.startswith("time/"):
                assert_close(two["metrics"][name], value, FORWARD)
    for key, weight in weights[1].items():
        moved = float(weight.abs().max())
        assert_close(weights[2][key], weight, Level(2e-4 * moved, 0.0))
    assert max(float(w.abs().max()) for k, w in weights[1].items() if "lora_B" in k) > 1e-5


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_served_reward_model_answers_until_ctrl_c(experiment, begin):
    process = begin("serve", "reward", "--port", "0", "--experiment", experiment, "--json")
    result = next(e for e in map(json.loads, process.stdout) if e["event"] == "Result")

    def ask(token: str) -> dict[str, Any]:
        body = json.dumps({"prompt": "w1 w2", "answer": "w3"}).encode()
        headers = {"Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{result['url']}/score", body, headers)
        with urllib.request.urlopen(request, timeout=LIMIT_S) as reply:
            return json.load(reply)

    assert isinstance(ask(result["token"])["score"], float)
    with pytest.raises(urllib.error.HTTPError, match="Unauthorized"):
        ask("not-the-token-that-was-printed")
    process.send_signal(signal.SIGINT)
    done = process.end()
    assert done.code == 0, done.err
    finished = json.loads(done.out.splitlines()[-1])
    assert (finished["event"], finished["outcome"]) == ("Finished", "stopped")
    assert finished["result"] == {"requests": 1, "answers": 1}
