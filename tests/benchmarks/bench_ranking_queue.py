"""How fast is the next pair when 100,000 comparisons are there and nearly all are judged?

    python -m tests.benchmarks.bench_ranking_queue [number of comparisons]

Prints one JSON line with milliseconds: median and 99th percentile of what the rank panel does
after a key press (store the verdict, fetch the next pair, count what is left).
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.data.records import Message, NewCompletion, NewPrompt

_ANSWERS = 4  # six pairs per prompt
_LEFT = 300


def main(n_comparisons: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "experiment", create=True)
        seconds = _fill(ws, n_comparisons)
        timings: dict[str, list[float]] = {"judge": [], "next_item": [], "progress": []}
        for _ in range(200):
            item = _timed(timings["next_item"], lambda: labelling.next_item(ws))
            number = item.comparison.id
            _timed(timings["judge"], lambda n=number: labelling.judge(ws, n, "first", 1.0))
            _timed(timings["progress"], lambda: labelling.progress(ws))
        start = time.perf_counter()
        ws.close()
        closing = time.perf_counter() - start
        start = time.perf_counter()
        Workspace.open(ws.path).close()
        opening = time.perf_counter() - start
    figures = {
        "n_comparisons": n_comparisons,
        "fill_s": round(seconds, 1),
        "close_with_backup_s": round(closing, 2),
        "open_and_close_s": round(opening, 2),
    }
    for name, values in timings.items():
        values.sort()
        figures[f"{name}_p50_ms"] = round(values[len(values) // 2], 2)
        figures[f"{name}_p99_ms"] = round(values[int(len(values) * 0.99)], 2)
    return figures


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


def _timed(into: list[float], action: Callable[[], object]) -> object:
    start = time.perf_counter()
    result = action()
    into.append((time.perf_counter() - start) * 1000)
    return result


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)) + "\n")
