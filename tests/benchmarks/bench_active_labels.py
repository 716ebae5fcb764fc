"""How many labels does choosing the next pair save? Held-out accuracy against number of labels.

    python -m tests.benchmarks.bench_active_labels EXPERIMENT [--seeds 20] [--csv FILE]

EXPERIMENT is a folder with a model, answers and pairs, such as the tour leaves one; it is copied
and not written into. For each seed a quarter of the prompts is held out; of the pairs of the
others ten are drawn and labelled by the simulated annotator (5 % noise; a tie is a label spent
on nothing), then each strategy chooses ten more at a time. The learner is the linear probe of
`rewards/selection.py` on frozen hidden states, measured on held-out pairs against the annotator
without noise. Intervals are 95 %, a bootstrap over seeds; differences to random are paired by seed.
"""

from __future__ import annotations

import argparse
import csv
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.app import queueing
from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.config.annotator import AnnotatorSettings
from workbench.config.queueing import QueueSettings
from workbench.data.records import Comparison
from workbench.jobs.runner import Working
from workbench.objectives.intervals import bootstrap_mean
from workbench.rewards import selection
from workbench.rewards.annotator import SimulatedAnnotator

BATCH = 10
REPORTED = (10, 20, 40, 80, 160)
HELD_OUT = 0.25

Floats = NDArray[np.float64]
Curve = dict[int, float]


@dataclass(frozen=True)
class Pool:
    """Pairs with their features, prompts, and the annotator's utilities (NaN-free)."""

    differences: Floats  # (N, k)
    prompts: NDArray[np.int64]  # (N,)
    gaps: Floats  # (N,) utility of the first less that of the second
    tie_margin: float


@dataclass(frozen=True)
class State:
    """What a strategy may look at: what is labelled, what is left, and a source of chance."""

    known: Floats
    is_first: Floats
    left: Floats
    seed: int

    def random(self) -> list[int]:
        return np.random.default_rng(self.seed).permutation(len(self.left)).tolist()

    def margin(self) -> list[int]:
        probe = selection.fit_probe(self.known, self.is_first)
        return selection.by_margin(self.left @ probe).tolist()

    def ensemble(self) -> list[int]:
        members = selection.fit_ensemble(self.known, self.is_first, self.seed)
        return selection.by_disagreement(members @ self.left.T).tolist()

    def diversity(self) -> list[int]:
        return selection.farthest_first(self.left, self.known, BATCH).tolist()

    def mix(self) -> list[int]:
        shares = QueueSettings()
        return selection.interleave(
            {
                "uncertainty": self.ensemble(),
                "diversity": self.diversity(),
                "random": self.random(),
            },
            {
                "uncertainty": shares.share_uncertainty,
                "diversity": shares.share_diversity,
                "random": shares.share_random,
            },
        )


STRATEGIES: Mapping[str, Callable[[State], list[int]]] = {
    "random": State.random,
    "uncertainty, margin of the probe": State.margin,
    "uncertainty, ensemble": State.ensemble,
    "diversity": State.diversity,
    "mix": State.mix,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--csv", type=Path)
    options = parser.parse_args()
    pool = read_pool(options.experiment)
    curves: dict[str, list[Curve]] = {name: [] for name in STRATEGIES}
    for seed in range(options.seeds):
        for name, choose in STRATEGIES.items():
            curves[name].append(label(pool, choose, seed))
    sys.stdout.write(table(curves))
    if options.csv:
        write_csv(curves, options.csv)


def read_pool(folder: Path) -> Pool:
    with tempfile.TemporaryDirectory() as room:
        copy = Path(room) / "experiment"
        ignored = shutil.ignore_patterns("*.lock", "adapters", "reward_models", "backups")
        shutil.copytree(folder, copy, ignore=ignored)
        ws = Workspace.open(copy)
        try:
            pairs = ws.experiment.comparisons.pending("nobody has judged")
            found: list[Floats] = []

            def work(cancel: CancelToken) -> Working:
                model = yield from ws.model(cancel)
                found.append((yield from queueing.differences_of(ws, model, pairs, cancel)))
                return {}

            job = ws.submit("Features", "order", work)
            job.wait()
            if not found:
                raise SystemExit(str(job.finished))
            return _annotated(ws, pairs, found[0])
        finally:
            ws.close()


def _annotated(ws: Workspace, pairs: list[Comparison], differences: Floats) -> Pool:
    annotator = SimulatedAnnotator(AnnotatorSettings())
    texts = ws.experiment.completions.texts_of(
        [i for p in pairs for i in (p.first_id, p.second_id)]
    )
    utility = {i: annotator.utility(text) for i, text in texts.items()}
    return Pool(
        differences,
        np.array([p.prompt_id for p in pairs]),
        np.array([utility[p.first_id] - utility[p.second_id] for p in pairs]),
        annotator.settings.tie_margin,
    )


def label(pool: Pool, choose: Callable[[State], list[int]], seed: int) -> Curve:
    """Held-out accuracy by number of labels."""
    rng = np.random.default_rng(seed)
    prompts = rng.permutation(np.unique(pool.prompts))
    is_held_out = np.isin(pool.prompts, prompts[: round(HELD_OUT * len(prompts))])
    is_decided = np.abs(pool.gaps) >= pool.tie_margin
    test = np.flatnonzero(is_held_out & is_decided)
    left = rng.permutation(np.flatnonzero(~is_held_out)).tolist()
    is_turned = rng.random(len(pool.gaps)) < AnnotatorSettings().noise  # the same for all
    asked, left = left[:BATCH], left[BATCH:]
    curve: Curve = {}
    while True:
        known = np.array([i for i in asked if is_decided[i]])
        said = ((pool.gaps[known] > 0) ^ is_turned[known]).astype(float)
        probe = selection.fit_probe(pool.differences[known], said)
        is_right = (pool.differences[test] @ probe > 0) == (pool.gaps[test] > 0)
        curve[len(asked)] = float(is_right.mean())
        if len(asked) >= REPORTED[-1] or len(left) < BATCH:
            return curve
        state = State(pool.differences[known], said, pool.differences[left], seed + len(asked))
        chosen = choose(state)[:BATCH]
        asked += [left[i] for i in chosen]
        left = [i for k, i in enumerate(left) if k not in set(chosen)]


def table(curves: Mapping[str, list[Curve]]) -> str:
    lines = ["| labels | " + " | ".join(map(str, REPORTED)) + " |"]
    lines.append("|---" * (len(REPORTED) + 1) + "|")
    baseline = curves["random"]
    for name, runs in curves.items():
        cells = [_cell([c[n] for c in runs], "") for n in REPORTED]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    for name, runs in curves.items():
        if name == "random":
            continue
        cells = [
            _cell([c[n] - b[n] for c, b in zip(runs, baseline, strict=True)], "+") for n in REPORTED
        ]
        lines.append(f"| {name}, less random | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float], sign: str) -> str:
    low, high = bootstrap_mean(values)
    mean = sum(values) / len(values)
    return f"{100 * mean:{sign}.1f} [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"


def write_csv(curves: Mapping[str, list[Curve]], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["strategy", "seed", "labels", "accuracy"])
        for name, runs in curves.items():
            for seed, curve in enumerate(runs):
                writer.writerows([name, seed, n, f"{a:.4f}"] for n, a in curve.items())


if __name__ == "__main__":
    main()
