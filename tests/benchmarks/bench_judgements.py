"""How fast is the list of judgements when 100,000 are in it?

    python -m tests.benchmarks.bench_judgements [number of judgements]

Prints a line for each filter and order: milliseconds of processor time (other programs do not
disturb it) of the first page, of a page from the middle and of the count, best of five; then
milliseconds by the clock of what is done to many at once and of its undo.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from workbench.app import judgements_list, labelling
from workbench.app.workspace import Workspace
from workbench.data.records import Message, NewCompletion, NewPrompt
from workbench.jobs.runner import Job
from workbench.store.judgement_list import Order, Wanted

_ANSWERS = 4  # six pairs per prompt
_WHO = (("ada", "person"), ("ada", "person"), ("imported", "imported"), ("judge", "ai"))
_WORDS = ("tide", "moon", "奖励模型", "天气")

FILTERS = {
    "no filter": Wanted(),
    "verdict": Wanted(verdict="tie"),
    "strength": Wanted(strength=2),
    "annotator": Wanted(annotator="judge"),
    "kind": Wanted(annotator_kind="person"),
    "kind, none": Wanted(annotator_kind="simulated"),
    "group": Wanted(group="group 3"),
    "tag": Wanted(tag="topic"),
    "rating": Wanted(rating=3),
    "commented": Wanted(has_comment=True),
    "not commented": Wanted(has_comment=False),
    "word in every answer": Wanted(search="answer"),
    "word in a quarter": Wanted(search="tide"),
    "Chinese word": Wanted(search="奖励"),
    "word in one answer": Wanted(search="unique77"),
    "word in none": Wanted(search="nowhere"),
    "all together": Wanted(
        verdict="first", annotator="ada", group="group 3", tag="topic", search="tide"
    ),
}


def main(n: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ws = Workspace.open(Path(folder) / "experiment", create=True)
        start = time.perf_counter()
        _fill(ws, n)
        ws.close()  # as it is when a person opens it: nothing is left in the write-ahead log
        ws = Workspace.open(ws.path)
        _print(f"{n} judgements, filled in {time.perf_counter() - start:.0f} s; milliseconds")
        _print(
            f"{'filter':22}{'order':10}{'first page':>12}{'middle':>10}{'count':>10}{'found':>9}"
        )
        for name, wanted in FILTERS.items():
            for order in get_args(Order):
                _print(_line(ws, name, wanted, order, n))
        ids = [i for i, _ in ws.experiment.judgement_list.ids(Wanted())]
        for name, change in (
            ("delete 1,000 pairs", lambda: judgements_list.delete_pairs(ws, ids[:: n // 1000])),
            ("delete all pairs", lambda: judgements_list.delete_all(ws, Wanted())),
            ("take back 1,000", lambda: judgements_list.take_back(ws, ids[:: n // 1000])),
            ("take back all", lambda: judgements_list.take_back_all(ws, Wanted())),
        ):
            changing = _clock(lambda c=change: _wait(c()))
            _print(f"{name:22}{changing}, undone in {_clock(lambda: labelling.undo(ws))}")
        ws.close()


def _line(ws: Workspace, name: str, wanted: Wanted, order: Order, n: int) -> str:
    first = _ms(lambda: judgements_list.page(ws, wanted, order))
    counting = _ms(lambda: judgements_list.count(ws, wanted))
    found = judgements_list.count(ws, wanted)
    pages = judgements_list.page(ws, wanted, order, limit=max(1, found // 2))
    middle = _ms(lambda: judgements_list.page(ws, wanted, order, pages[-1])) if pages else 0.0
    return f"{name:22}{order:10}{first:12.1f}{middle:10.1f}{counting:10.1f}{found:9}"


def _fill(ws: Workspace, n: int) -> None:
    rng, experiment = random.Random(0), ws.experiment
    with experiment.database.write():
        prompts = [
            NewPrompt((Message("user", f"Prompt {i}, 第 {i} 题"),), f"group {i % 20}")
            for i in range(n // 6 + 1)
        ]
        for prompt_id in experiment.prompts.add_many(prompts):
            answers = experiment.completions.add_many(
                [
                    NewCompletion(
                        prompt_id,
                        f"answer {k} {rng.choice(_WORDS)} " * 20 + f"unique{prompt_id * 10 + k}",
                        seed=k,
                    )
                    for k in range(_ANSWERS)
                ]
            )
            _remark(ws, rng, prompt_id, answers)
        labelling.make_comparisons(ws)
        for comparison_id in experiment.comparisons.pending_ids(ws.annotator)[:n]:
            experiment.judgements.add(
                comparison_id,
                rng.choice(("first", "second", "tie", "both_bad", "skip")),
                *rng.choice(_WHO),
                round(rng.expovariate(0.1), 2),
                strength=rng.choice((0, 1, 2)),
            )


def _remark(ws: Workspace, rng: random.Random, prompt_id: int, answers: list[int]) -> None:
    add = ws.experiment.remarks.add
    for answer in answers:
        if rng.random() < 0.3:
            add("rating", prompt_id, answer, str(rng.randint(1, 5)), "ada", "person")
        if rng.random() < 0.1:
            add("tag", prompt_id, answer, rng.choice(("topic", "tone")), "ada", "person")
        if rng.random() < 0.05:
            add("comment", prompt_id, answer, "a comment", "ada", "person")


def _wait(done: int | Job) -> None:
    if isinstance(done, Job):
        done.wait()


def _ms(action: Callable[[], object]) -> float:
    times = []
    for _ in range(5):
        start = time.thread_time()
        action()
        times.append((time.thread_time() - start) * 1000)
    return min(times)


def _clock(action: Callable[[], object]) -> str:
    start, worked = time.perf_counter(), time.process_time()
    action()
    clock, worked = time.perf_counter() - start, time.process_time() - worked
    return f"{clock * 1000:8.0f} ({worked * 1000:.0f} of them computing)"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
