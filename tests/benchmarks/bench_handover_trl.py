"""TRL trains on what this program hands over: one step of each of its trainers.

    python -m tests.benchmarks.bench_handover_trl [--model starter] [--algorithms dpo rloo ...]

An experiment with a few prompts, simulated judgements and a reward model is made, each algorithm
is exported as a bundle, and the bundle's own train_trl.sh runs one step in an environment of TRL's
own, without network. What TRL wrote must load again here as an adapter. Prints one JSON line per
algorithm; the exit code is 1 when any step failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests import ready
from tests.benchmarks import peers
from workbench.app import handover, reward
from workbench.app.handover import trl
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config import algorithms
from workbench.config.lora import LoraSettings
from workbench.config.reward_model import RewardModelSettings
from workbench.data import bundle
from workbench.jobs.runner import Job
from workbench.models import adapters, loading

LIMIT_S = 1800
# Each of TRL's trainers once, and one algorithm that it does by another.
ALGORITHMS = ("reward", "sft", "dpo", "kto", "rloo", "grpo", "ppo")
SMALL = {"batch_size": 8, "max_new_tokens": 16}


def main(argv: list[str] | None = None) -> int:
    """Export and train each algorithm."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", default="starter", help="starter, tiny or a path")
    parser.add_argument("--folder", type=Path, help="where TRL's environment lies or is made")
    parser.add_argument("--algorithms", nargs="*", default=ALGORITHMS)
    arguments = parser.parse_args(argv)
    folder = arguments.folder or peers.default_folder()
    python = peers.python_of(f"trl=={trl.VERSION}", folder)
    with tempfile.TemporaryDirectory() as scratch:
        tools = _command(Path(scratch) / "tools", python)
        ws = _experiment(Path(scratch) / "experiment", arguments.model)
        lines = [_one(ws, name, Path(scratch) / name, tools) for name in arguments.algorithms]
        ws.close(60.0)
    return 0 if all(line["step"] == 1 for line in lines) else 1


def _command(folder: Path, python: Path) -> Path:
    """A folder with the command `trl`; the environment's own breaks when that is moved."""
    folder.mkdir()
    start = "from trl.cli.main import main; raise SystemExit(main())"
    (folder / "trl").write_text(f"#!/bin/sh\nexec '{python}' -c '{start}' \"$@\"\n")
    (folder / "trl").chmod(0o755)
    return folder


def _experiment(folder: Path, model: str) -> Workspace:
    ws = ready.new_experiment(folder, model, n_repeats=3)
    ready.add_answers(ws)
    ready.add_judgements(ws)
    settings = RewardModelSettings(epochs=1, lora=LoraSettings(last_layers=4))
    _end(reward.train_reward(ws, settings))
    return ws


def _end(job: Job) -> None:
    """Wait for a job, longer than a test would: this machine may have other work."""
    assert job.wait(LIMIT_S), f"{job.title} hangs"
    assert job.outcome == "done", job.finished


def _one(ws: Workspace, algorithm: str, target: Path, tools: Path) -> dict[str, Any]:
    model = algorithms.find(algorithm).settings
    values = {name: value for name, value in SMALL.items() if name in model.model_fields}
    _end(handover.export_bundle(ws, algorithm, model(**values), target))
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "MODEL": str(ws.model_info().path),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    began = time.perf_counter()
    done = subprocess.run(
        ["sh", str(target / trl.SCRIPT), *trl.ON_PROCESSOR.split(), "--max_steps", "1"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    line = {
        "algorithm": algorithm,
        "exit": done.returncode,
        "seconds": round(time.perf_counter() - began, 1),
        **_result(ws, target),
    }
    if line["step"] != 1:
        sys.stderr.write(done.stderr[-4000:])
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
    return line


def _result(ws: Workspace, target: Path) -> dict[str, Any]:
    """How many steps TRL took, at which loss, and whether its adapter loads here."""
    written = target / "trl_output"
    states = sorted(written.glob("checkpoint-*/trainer_state.json"))
    if not states:
        return {"step": 0}
    state = json.loads(states[-1].read_text(encoding="utf-8"))
    logged = next(entry for entry in state["log_history"] if "loss" in entry)
    base = loading.load(
        ws.model_info(), cancel=CancelToken(), on_progress=lambda *_: None, device="cpu"
    )
    is_reward = bundle.read(target).how is algorithms.REWARD
    (adapters.load_scorer if is_reward else adapters.load)(base, "from_trl", written)
    return {"step": state["global_step"], "loss": logged["loss"], "loads_here": True}


if __name__ == "__main__":
    sys.exit(main())
