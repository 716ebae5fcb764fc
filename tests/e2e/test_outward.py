"""Handing over and serving, as commands in processes of their own."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests import ready
from tests.e2e.conftest import LIMIT_S, parse
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
    experiment, command, environment, model_folder, tmp_path
):
    flags = ["--updates", "2", "--batch-size", "4", "--max-new-tokens", "6"]
    base = ["--experiment", experiment, "--json"]
    trained = command("train", "ppo", *flags, *base)
    assert trained.code == 0, trained.err
    run_id = next(e["run_id"] for e in trained.events if e["event"] == "Started")
    assert command("export", "bundle", tmp_path / "job", "--run", str(run_id), *base).code == 0
    done = subprocess.run(
        [sys.executable, "-m", "workbench.worker", "job", "--model", model_folder, "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    weights = "adapter_model.safetensors"
    own = tmp_path / "job" / "adapter" / weights
    assert (tmp_path / "run" / "adapter" / weights).read_bytes() == own.read_bytes()
    figures = [
        [e["metrics"]["objective/kl"] for e in events if e["event"] == "Step"]
        for events in (trained.events, parse(done.stdout))
    ]
    assert figures[0] == figures[1]
    assert len(figures[0]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_served_reward_model_answers_until_ctrl_c(experiment, start):
    process = start("serve", "reward", "--port", "0", "--experiment", experiment, "--json")
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
    out, err = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, err
    finished = json.loads(out.splitlines()[-1])
    assert (finished["event"], finished["outcome"]) == ("Finished", "stopped")
    assert finished["result"] == {"requests": 1, "answers": 1}
