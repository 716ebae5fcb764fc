"""How long does the report on 100,000 labels take, and how long asking for a hidden repeat?

    python -m tests.benchmarks.bench_label_quality [number of comparisons]

Half of the pairs are judged by a second annotator too. Prints one JSON line.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from workbench.app import labelling, quality
from workbench.app.aggregate import model_strengths, preferences
from workbench.app.workspace import Workspace
from workbench.config.aggregation import AggregationSettings
from workbench.config.quality import QualitySettings
from workbench.data.records import Message, NewCompletion, NewPrompt

_ANSWERS = 4  # six pairs per prompt
_WORDS = ["the", "answer", "goes", "on", "about", "what", "was", "asked", "and", "why"]


def main(n_comparisons: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "experiment", create=True)
        figures = {"n_comparisons": float(n_comparisons)}
        figures |= _timed("fill", lambda: _fill(ws, n_comparisons))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        figures |= _timed("report", lambda: quality.report(ws))
        figures["report_memory_mb"] = (
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        ) / 1024
        rule = AggregationSettings(several="majority")
        figures |= _timed("preferences", lambda: preferences(ws, rule))
        figures |= _timed("model_strengths", lambda: model_strengths(ws, rule))
        figures |= _repeats(ws)
        ws.close()
    return {name: round(value, 3) for name, value in figures.items()}


def _repeats(ws: Workspace) -> dict[str, float]:
    """Milliseconds of `next_repeat` in the median: mostly none is due, sometimes a pair is."""
    quality.save_settings(ws, QualitySettings(repeat_rate=0.05))
    times: dict[bool, list[float]] = {False: [], True: []}
    for pair in ws.experiment.comparisons.pending_ids("bob")[:200]:
        # Bob's pairs, judged by the user too: the user's judgements are 100,000.
        labelling.judge(ws, pair, "first", 2.0)
        start = time.perf_counter()
        found = quality.next_repeat(ws)
        times[found is not None].append(1000 * (time.perf_counter() - start))
        if found:
            quality.judge_repeat(ws, found[0].id, "first", 2.0, found[1])
    return {
        f"next_repeat_{name}_p50_ms": statistics.median(times[is_due])
        for name, is_due in (("none", False), ("due", True))
        if times[is_due]
    }


def _fill(ws: Workspace, n_comparisons: int) -> None:
    experiment, rng = ws.experiment, random.Random(0)
    with experiment.database.write():
        prompts = [
            NewPrompt((Message("user", f"Prompt {i}"),)) for i in range(n_comparisons // 6 + 1)
        ]
        for prompt_id in experiment.prompts.add_many(prompts):
            experiment.completions.add_many(
                [
                    NewCompletion(
                        prompt_id,
                        " ".join(rng.choices(_WORDS, k=rng.randint(40, 160))),
                        model_name=f"model {k % 2}",
                        seed=k,
                    )
                    for k in range(_ANSWERS)
                ]
            )
    labelling.make_comparisons(ws)
    with experiment.database.write():
        for pair in experiment.comparisons.pending_ids(ws.annotator):
            verdict = rng.choice(("first", "second", "second", "tie"))
            experiment.judgements.add(pair, verdict, ws.annotator, "person", rng.uniform(1, 30))
            if pair % 2:
                experiment.judgements.add(pair, "first", "bob", "person", 5.0)


def _timed(name: str, action: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and of the processor: the first depends on what else runs."""
    start, start_cpu = time.perf_counter(), time.process_time()
    action()
    return {
        f"{name}_s": time.perf_counter() - start,
        f"{name}_cpu_s": time.process_time() - start_cpu,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)) + "\n")
