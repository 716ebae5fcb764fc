"""How long do many preferences take in and out, and how much memory above the idle program?

    python -m tests.benchmarks.bench_exchange [--pairs 100000] [--file PAIRS.jsonl.gz]

Imports synthetic pairs (or a file, such as HH-RLHF transcripts) into a new experiment, counts a
filtered export, writes all forms, and takes the import back. Prints one JSON line: seconds of each
step, by the clock and of the processor, and the peak of resident memory above what the process held
with the empty experiment open.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from workbench.app import labelling, preference_export, preference_import
from workbench.app.preference_export import ExportChoice
from workbench.app.workspace import Workspace
from workbench.data.formats.exports import EXPORTS
from workbench.jobs.runner import Job
from workbench.store.exchange import PairFilter

_WORDS = ("the", "model", "answers", "a", "question", "with", "care", "奖励", "模型", "of", "it")
_PROMPT, _ANSWER = 25, 100  # words
_EVERY_S = 0.01


class Memory:
    """The most resident memory of this process since `start`, sampled a hundred times a second."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.idle = self.peak = self._process.memory_info().rss
        threading.Thread(target=self._sample, daemon=True).start()

    def _sample(self) -> None:
        while True:
            self.peak = max(self.peak, self._process.memory_info().rss)
            time.sleep(_EVERY_S)

    @property
    def megabytes(self) -> float:
        """Above idle."""
        return round((self.peak - self.idle) / 1e6, 1)


def main(n_pairs: int, file: Path | None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = file or _synthetic(folder / "pairs.jsonl", n_pairs)
        ws = Workspace.open(folder / "experiment", create=True)
        memory = Memory()
        seconds: dict[str, float] = {}
        cpu: dict[str, float] = {}
        peaks: dict[str, float] = {}

        def timed(step: str, action: Callable[[], Any]) -> Any:
            began, worked = time.perf_counter(), time.process_time()
            result = action()
            seconds[step] = round(time.perf_counter() - began, 2)
            cpu[step] = round(time.process_time() - worked, 2)
            peaks[step] = memory.megabytes
            return result

        preview = timed(
            "preview_200_lines", lambda: preference_import.preview_preferences(path, limit=200)
        )
        taken = timed("import", lambda: _done(preference_import.import_preferences(ws, path)))
        again = timed("import_again", lambda: _done(preference_import.import_preferences(ws, path)))
        some = ExportChoice(which=PairFilter(kinds=("imported",), split="train"), is_split=True)
        counted = timed("filter_and_count", lambda: preference_export.counts(ws, some))
        forms = tuple(name for name in EXPORTS if name != "hf" or _has_pyarrow())
        every = ExportChoice(forms=forms, which=some.which, is_split=True)
        target = folder / "out"
        written = timed(
            "export_all_forms",
            lambda: _done(preference_export.export_preferences(ws, target, every)),
        )
        plain = timed(
            "export_jsonl_and_csv",
            lambda: _done(preference_export.export_preferences(ws, folder / "plain")),
        )
        timed("undo", lambda: labelling.undo(ws))
        ws.close()
    return {
        "form": preview.form,
        "n_imported": taken["n"],
        "n_known_again": again["n_known"],
        "n_left_out": taken["n_problems"],
        "n_counted": counted.n_pairs,
        "n_exported": written["n_pairs"],
        "n_exported_plain": plain["n_pairs"],
        "n_forms": len(forms),
        "seconds": seconds,
        "cpu_seconds": cpu,
        "peak_mb_above_idle": memory.megabytes,
        "peak_mb_by_step": peaks,
        "idle_mb": round(memory.idle / 1e6, 1),
    }


def _done(job: Job) -> dict[str, Any]:
    for _ in job.follow():
        pass
    assert job.finished is not None
    if job.finished.error is not None:
        raise SystemExit(job.finished.error.message)
    return dict(job.finished.result)


def _synthetic(path: Path, n_pairs: int) -> Path:
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for i in range(n_pairs):
            prompt = f"{i}: {_text(rng, _PROMPT)}"
            row = {"prompt": prompt, "chosen": _text(rng, _ANSWER), "rejected": _text(rng, _ANSWER)}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def _text(rng: random.Random, n_words: int) -> str:
    return " ".join(rng.choices(_WORDS, k=n_words))


def _has_pyarrow() -> bool:
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--file", type=Path)
    options = parser.parse_args()
    sys.stdout.write(json.dumps(main(options.pairs, options.file)) + "\n")
