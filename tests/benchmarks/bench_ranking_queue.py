"""How fast is the next pair when 100,000 comparisons are there and nearly all are judged?

    python -m tests.benchmarks.bench_ranking_queue [number of comparisons]

Prints one JSON line with milliseconds: median and 99th percentile of what the rank panel does
after a key press (store the verdict, fetch the next pair, count what is left). The same for
somebody who has judged nothing yet, with a chosen order (`ordered_`) and while all pairs are put
in a new one by a job (`ordering_`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from workbench.app import labelling, queueing
from workbench.app.workspace import Workspace
from workbench.config.queueing import QueueSettings
from workbench.data.records import Message, NewCompletion, NewPrompt

T = TypeVar("T")
_ANSWERS = 4  # six pairs per prompt
_LEFT = 300


def main(n_comparisons: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "experiment", create=True)
        seconds = _fill(ws, n_comparisons)
        timings: dict[str, list[float]] = {}
        for _ in range(200):
            _judge_one(ws, timings)
        ws.annotator = "somebody else"
        job = queueing.order(ws, QueueSettings(strategy="random"))
        while not job.wait(0.02):
            _judge_one(ws, timings, "ordering_")
        ordering = job.finished
        for _ in range(200):
            _judge_one(ws, timings, "ordered_")
        start = time.perf_counter()
        ws.close()
        closing = time.perf_counter() - start
        start = time.perf_counter()
        Workspace.open(ws.path).close()
        opening = time.perf_counter() - start
    figures = {
        "n_comparisons": n_comparisons,
        "fill_s": round(seconds, 1),
        "order": str(ordering),
        "close_with_backup_s": round(closing, 2),
        "open_and_close_s": round(opening, 2),
    }
    for name, values in timings.items():
        values.sort()
        figures[f"{name}_p50_ms"] = round(values[len(values) // 2], 2)
        figures[f"{name}_p99_ms"] = round(values[int(len(values) * 0.99)], 2)
    return figures


def _judge_one(ws: Workspace, timings: dict[str, list[float]], prefix: str = "") -> None:
    """What one key press does."""

    def time_(name: str, action: Callable[[], T]) -> T:
        return _timed(timings.setdefault(f"{prefix}{name}", []), action)

    item = time_("next_item", lambda: labelling.next_item(ws))
    assert item is not None
    number = item.comparison.id
    time_("judge", lambda: labelling.judge(ws, number, "first", 1.0))
    time_("progress", lambda: labelling.progress(ws))


def _fill(ws: Workspace, n_comparisons: int) -> float:
    start = time.perf_counter()
    experiment = ws.experiment
    with experiment.database.write():
        prompts = [
            NewPrompt((Message("user", f"Prompt {i}, 第 {i} 题"),))
            for i in range(n_comparisons // 6 + 1)
        ]
        for prompt_id in experiment.prompts.add_many(prompts):
            experiment.completions.add_many(
                [NewCompletion(prompt_id, f"answer {k} " * 20, seed=k) for k in range(_ANSWERS)]
            )
    labelling.make_comparisons(ws)
    pending = experiment.comparisons.pending_ids(ws.annotator)
    with experiment.database.write():
        for comparison_id in pending[:-_LEFT]:
            experiment.judgements.add(comparison_id, "second", ws.annotator, "person", 2.0)
    return time.perf_counter() - start


def _timed(into: list[float], action: Callable[[], T]) -> T:
    start = time.perf_counter()
    result = action()
    into.append((time.perf_counter() - start) * 1000)
    return result


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)) + "\n")
