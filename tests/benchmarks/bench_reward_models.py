"""How often do reward models agree with people who compared harmless answers? Held-out accuracy.

    python -m tests.benchmarks.bench_reward_models --pairs FILE.jsonl[.gz] [--model starter]
        [--methods NAME ...] [--seeds 5] [--folder DIR]

FILE holds pairs in the form of HH-RLHF. For each seed a quarter of the prompts, with their pairs,
is held out (1,200 lines of which 4 are doubles: about 900 pairs to learn from and 300 to test on),
the same split for every method. Texts are cut to 256 tokens, prompts at the left. Methods:

    random    chance, for the width of the intervals
    length    the longer answer, or the shorter one, whichever won more often in training
    logistic, ridge, svm, mlp   probes on the frozen base; layer, pooling and strength are chosen on
              folds of the training pairs
    lora      the reward model of the program: rank 16 on the upper third of the layers, 1 epoch

Per seed the interval is Wilson's (95 %); over seeds it is the mean with Student's t. The five test
sets are drawn from the same pairs, so they overlap and the second is somewhat too narrow. What has
been measured stands in DIR/results.jsonl and is not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import numpy as np

from tests.benchmarks import harmless_pairs, peers, subjects
from workbench.app.features import depths
from workbench.app.probes import KINDS
from workbench.config.probe import POOLINGS, ProbeKind, ProbeSettings
from workbench.objectives.intervals import wilson
from workbench.rewards import probes
from workbench.rewards.probe_fits import Labels

UPPER = 3  # the part of the layers that is adapted is one in so many
HELD_OUT = 0.25
# Of Student's t, two-sided 95 %, by degrees of freedom.
_T95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


class Task(NamedTuple):
    """All pairs, which of them to learn from and which to test on."""

    lower: harmless_pairs.Lower
    pairs: harmless_pairs.Pairs
    train: list[int]
    test: list[int]
    seed: int
    folder: Path


def main() -> None:
    """Measure what is missing, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", default="starter", choices=("starter", "tiny"))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="of results and of what is kept meanwhile")
    options = parser.parse_args()
    room: Path = options.folder or peers.default_folder() / "reward-models"
    room.mkdir(parents=True, exist_ok=True)
    results = room / "results.jsonl"
    measure(options, room, results)
    print(table(read(results)))  # noqa: T201


def measure(options: argparse.Namespace, room: Path, results: Path) -> None:
    """Every method with every seed that the file of results does not have yet."""
    known = {(r["method"], r["seed"]) for r in read(results)}
    missing = [(m, s) for m in options.methods for s in range(options.seeds) if (m, s) not in known]
    if not missing:
        return
    from workbench.app.workspace import prepare_torch

    prepare_torch(keeps_core_free=False)
    from workbench.training.offline import split_by_prompt

    folder = subjects.model_folder(options.model, room)
    model = harmless_pairs.load_model(str(folder))
    pairs = harmless_pairs.read_pairs(options.pairs, model)
    n_lower = model.n_layers - model.n_layers // UPPER
    lower = harmless_pairs.Lower(model, n_lower, pairs, room)
    for method, seed in missing:
        split = split_by_prompt([p.prompt.id for p in pairs.preferences], HELD_OUT, seed)
        train = [i for items in split.train for i in items]
        task = Task(lower, pairs, train, split.heldout, seed, room)
        began = time.process_time()
        result = METHODS[method](task)
        low, high = wilson(result["wins"], len(task.test))
        row = {
            "method": method,
            "seed": seed,
            "n_train": len(train),
            "n_test": len(task.test),
            "n_cut": pairs.n_cut,
            **result,
            "accuracy": result["wins"] / len(task.test),
            "low": low,
            "high": high,
            "processor_seconds": round(time.process_time() - began, 2),
        }
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)  # noqa: T201


def at_random(task: Task) -> dict[str, Any]:
    """Chance."""
    return {"wins": float(np.random.default_rng(task.seed).binomial(len(task.test), 0.5))}


def by_length(task: Task) -> dict[str, Any]:
    """The longer or the shorter answer, as learned; equal ones count half."""
    longer = np.sign(task.pairs.lengths[:, 0] - task.pairs.lengths[:, 1])
    sign = 1 if longer[task.train].mean() >= 0 else -1
    wins = float(((1 + sign * longer[task.test]) / 2).sum())
    return {"wins": wins, "chosen": "longer" if sign > 0 else "shorter"}


def lora(task: Task) -> dict[str, Any]:
    """The program's own reward training, on lower states that are there already."""
    import torch

    from workbench.cancel import CancelToken
    from workbench.config.lora import LoraSettings
    from workbench.config.reward_model import RewardModelSettings
    from workbench.events import Evaluated, Step
    from workbench.models import adapters
    from workbench.training import reward_model
    from workbench.training.inputs import Inputs

    model = task.lower.model
    model.answer_states = task.lower.answer_states  # type: ignore[method-assign]
    settings = RewardModelSettings(
        epochs=1,
        heldout_share=HELD_OUT,
        max_length=harmless_pairs.MAX_LENGTH,
        micro_batch_tokens=2048,
        seed=task.seed,
        checkpoint_every=0,
        lora=LoraSettings(last_layers=model.n_layers // UPPER),
    )
    evaluate = reward_model._evaluate
    losses: list[float] = []

    @torch.no_grad()
    def at_end(learner: Any, reward: Any, pairs: Sequence[Any]) -> dict[str, float]:
        """The program's own measure, with both answers of a pair in one batch; once."""
        if learner.update == 0:
            return {}
        margins = []
        for k in range(0, len(pairs), 8):
            scores = reward.forward([a for p in pairs[k : k + 8] for a in (p.chosen, p.rejected)])
            margins += (scores[::2] - scores[1::2]).tolist()
        return {"wins": float(((np.sign(margins) + 1) / 2).sum()), "pairs": len(margins)}

    reward_model._evaluate = at_end
    inputs = Inputs(model, task.folder / f"lora-{task.seed}", preferences=task.pairs.preferences)
    try:
        for event in reward_model.train(settings, inputs, CancelToken()):
            if isinstance(event, Step):
                losses.append(event.metrics["reward/loss"])
                print("seed", task.seed, "update", event.step, mean(losses[-10:]), flush=True)  # noqa: T201
            if isinstance(event, Evaluated) and event.metrics:
                measured = dict(event.metrics)
    finally:
        reward_model._evaluate = evaluate
        adapters.remove_all(model)
        del model.answer_states
    assert measured["pairs"] == len(task.test)
    return {"wins": measured["wins"], "last_losses": round(mean(losses[-20:]), 4)}


def probe(kind: ProbeKind, task: Task) -> dict[str, Any]:
    """A probe as the program fits it to the training pairs, on features that are there already."""
    settings = ProbeSettings(members=0, seed=task.seed)
    features = task.lower.features.astype(np.float32)
    layers = depths(task.lower.model.n_layers)
    n = len(task.train)
    labels = Labels(
        np.arange(0, 2 * n, 2),
        np.arange(1, 2 * n, 2),
        np.ones(n),
        np.array([task.pairs.preferences[i].prompt.id for i in task.train]),
    )
    own = features[task.train].reshape(-1, *features.shape[2:])
    fitted = probes.fit_probe_on(kind, probes.views_of(own, layers, settings), labels, settings)
    read = features[task.test][:, :, layers.index(fitted.layer), POOLINGS.index(fitted.pooling)]
    scores = [fitted.scores(read[:, side])[0] for side in range(2)]
    margins = scores[0] - scores[1]
    return {
        "wins": float(((np.sign(margins) + 1) / 2).sum()),
        "layer": fitted.layer,
        "pooling": fitted.pooling,
        "strength": fitted.strength,
        "heldout_loss": round(float(np.logaddexp(0.0, -margins).mean()), 4),
    }


METHODS: Mapping[str, Callable[[Task], dict[str, Any]]] = {
    "random": at_random,
    "length": by_length,
    **{kind: partial(probe, kind) for kind in KINDS},
    "lora": lora,
}


def read(results: Path) -> list[dict[str, Any]]:
    """What has been measured."""
    if not results.is_file():
        return []
    return [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]


def table(rows: list[dict[str, Any]]) -> str:
    """Means with their intervals, and the accuracy of each seed with its own."""
    lines = ["| method | seeds | mean [t, 95 %] | each seed [Wilson, 95 %] | seconds |"]
    lines.append("|---" * 5 + "|")
    for method in METHODS:
        own = sorted((r for r in rows if r["method"] == method), key=lambda r: int(r["seed"]))
        if not own:
            continue
        seconds = mean(r["processor_seconds"] for r in own)
        each = ", ".join(_cell(r["accuracy"], r["low"], r["high"]) for r in own)
        total = _cell(*student([r["accuracy"] for r in own]))
        lines.append(f"| {method} | {len(own)} | {total} | {each} | {seconds:.1f} |")
    return "\n".join(lines)


def student(values: list[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; NaN for the interval of a single value."""
    centre = mean(values)
    if len(values) < 2:
        return centre, math.nan, math.nan
    half = _T95[len(values) - 1] * stdev(values) / math.sqrt(len(values))
    return centre, centre - half, centre + half


def _cell(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
