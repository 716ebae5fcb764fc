"""Every algorithm on the starter model at one budget: what it wins, what it costs.

    python -m tests.benchmarks.bench_algorithms FOLDER [--algorithms ppo,dpo] [--model starter]

Makes one experiment in FOLDER as the tour does (answers, simulated judgements, reward model),
trains each algorithm on it in a process of its own, compares each with the base on held-out
prompts under the same luck, and prints a Markdown table. What is there already is not made again,
so a benchmark that was ended goes on.

The budget is 20 updates of 16 answers (offline: pairs or answers) of at most 32 tokens, LoRA on the
last 10 layers. Nothing but the learning rate was chosen per algorithm.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.app import answers, evaluate, exchange, labelling, library, reward, runs
from workbench.app.workspace import Workspace
from workbench.config import toml
from workbench.config.algorithms import ALGORITHMS, find
from workbench.config.evaluation import EvaluationSettings
from workbench.config.tour import TourSettings
from workbench.config.training import OnPolicySettings
from workbench.jobs.runner import Job

TOUR = TourSettings()
UPDATES, BATCH = 20, 16
COMMON: Mapping[str, Any] = {
    "batch_size": BATCH,
    "learning_rate": 5e-4,
    "checkpoint_every": 0,
    "lora": {"last_layers": 10},
}
ON_POLICY: Mapping[str, Any] = {"updates": UPDATES, "temperature": 0.7, "max_new_tokens": 32}
OWN: Mapping[str, Mapping[str, Any]] = {"ppo": {"minibatches": 2, "kl_coef": 0.02}}
EVALUATION = EvaluationSettings(
    answers_per_prompt=2, temperature=0.7, max_new_tokens=32, batch_size=24, seed=1000
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--algorithms", default=",".join(ALGORITHMS))
    parser.add_argument("--model", default="starter")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        _say(json.dumps(_measure(options.folder, options.one)))
        return
    _prepare(options.folder, options.model)
    rows = []
    for name in options.algorithms.split(","):
        stored = options.folder / f"{name}.json"
        if not stored.exists():
            command = [sys.executable, "-m", __spec__.name, str(options.folder), "--one", name]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                sys.stderr.write(f"{name} failed\n")
                continue
            stored.write_text(done.stdout.splitlines()[-1])
        rows.append(json.loads(stored.read_text()))
        _say(json.dumps(rows[-1]))
    _say(_table(rows))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _prepare(folder: Path, model: str) -> None:
    """The tour up to its reward model."""
    experiment = folder / "experiment"
    is_new = not (experiment / "experiment.db").exists()
    ws = Workspace.open(experiment, create=is_new)
    try:
        if is_new:
            library.select_model(ws, model)
            exchange.add_demo_prompts(ws, [TOUR.prompt_group])
        if not ws.experiment.completions.count():
            _end(answers.generate(ws, TOUR.generation))
        if not ws.experiment.judgements.count():
            _end(labelling.simulate(ws, TOUR.annotator))
        if not reward.reward_runs(ws):
            _end(reward.train_reward(ws, TOUR.reward))
    finally:
        ws.close(60)


def _measure(folder: Path, name: str) -> dict[str, object]:
    """Train one algorithm and compare it with the base."""
    how = find(name)
    values = {**how.settings().model_dump(), **COMMON}
    if issubclass(how.settings, OnPolicySettings):
        values |= ON_POLICY
    settings = toml.validate(how.settings, {**values, **OWN.get(name, {})})
    ws = Workspace.open(folder / "experiment")
    try:
        began = time.perf_counter()
        cpu = time.process_time()
        job = _end(runs.train(ws, name, settings))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert job.run_id is not None
        figures = runs.metrics(ws, job.run_id)
        lengths = [length for _, length in figures.get("completions/mean_length", [])]
        evaluation = _end(evaluate.compare(ws, job.run_id, EVALUATION, TOUR.annotator))
        assert evaluation.run_id is not None
        summary = evaluate.result(ws, evaluation.run_id).summary
    finally:
        ws.close(60)
    return {
        "algorithm": name,
        "title": how.title,
        "updates": max((step for step, _ in figures.get("optim/lr", [])), default=0),
        "tokens": round(sum(lengths) * BATCH),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "peak_gib": round(peak / 2**20, 2),
        **{key: round(float(value), 4) for key, value in summary.items()},
    }


def _end(job: Job) -> Job:
    job.wait()
    assert job.finished is not None
    assert job.finished.error is None, job.finished.error
    return job


def _table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| algorithm | win rate, simulated annotator | win rate, reward model "
        "| KL, nats per answer | tokens generated | CPU seconds | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(rows, key=lambda row: -row["win_rate"]):
        lines.append(
            f"| {row['title']} | {_interval(row, 'win_rate')} | {_interval(row, 'win_rate_reward')}"
            f" | {row['kl']:.1f} | {row['tokens'] or '–'} | {row['cpu_seconds']:.0f} "
            f"| {row['peak_gib']:.2f} GiB |"
        )
    return "\n".join(lines)


def _interval(row: Mapping[str, Any], key: str) -> str:
    return f"{row[key]:.2f} [{row[f'{key}_low']:.2f}, {row[f'{key}_high']:.2f}]"


if __name__ == "__main__":
    main()
