"""What one side of a comparison uses: seconds per step and the most memory it held.

Runs inside the process that is measured, ours or a peer's, so it needs no more than Python; torch
is asked for a card only where there is one. On the processor time is CPU seconds of this process,
which other programs on the machine cannot stretch; on a card it is wall time with the card idle.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GIB = 1 << 30


def pin(core: int) -> None:
    """Keep this process on one core, with one thread, where the platform can do it."""
    if hasattr(os, "sched_setaffinity") and core in os.sched_getaffinity(0):
        os.sched_setaffinity(0, {core})


class Meter:
    """Marks the end of each step and adds up the phases of those that are not warm-up."""

    def __init__(self, device: str, n_warmup: int) -> None:
        self.is_cuda = device.startswith("cuda")
        self.n_warmup = n_warmup
        self.marks: list[float] = []
        self.phases: dict[str, float] = {}

    def seconds(self) -> float:
        """The clock of this device."""
        if not self.is_cuda:
            return time.process_time()
        import torch

        torch.cuda.synchronize()
        return time.perf_counter()

    def mark(self) -> None:
        """The first step begins, or a step has ended."""
        self.marks.append(self.seconds())

    def add(self, phase: str, seconds: float) -> None:
        """Count seconds of a phase of the step under way."""
        if len(self.marks) > self.n_warmup:
            self.phases[phase] = self.phases.get(phase, 0.0) + seconds

    def share_out(self, phase: str, seconds: float) -> None:
        """Count what was done once, before the first step, as an equal part of every step."""
        n = len(self.marks) - 1
        self.marks = [mark + i * seconds / n for i, mark in enumerate(self.marks)]
        self.phases[phase] = seconds / n * (n - self.n_warmup)

    @contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Count the time of the body."""
        began = self.seconds()
        yield
        self.add(phase, self.seconds() - began)

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function with its time counted."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self.timing(phase):
                return function(*args, **kwargs)

        return wrapper

    def report(self, samples_per_step: int) -> dict[str, Any]:
        """Figures per step after the warm-up, and the peak of the whole process."""
        steps = [b - a for a, b in zip(self.marks[:-1], self.marks[1:], strict=True)]
        timed = steps[self.n_warmup :]
        mean = sum(timed) / len(timed)
        phases = {name: seconds / len(timed) for name, seconds in self.phases.items()}
        return {
            "clock": "wall seconds" if self.is_cuda else "CPU seconds",
            "seconds_per_step": round(mean, 4),
            "steps_seconds": [round(s, 4) for s in steps],
            "warmup_steps": self.n_warmup,
            "samples_per_second": round(samples_per_step / mean, 4),
            "phases": {name: round(seconds, 4) for name, seconds in phases.items()},
            "peak_gib": round(peak_bytes(self.is_cuda) / GIB, 3),
        }


def peak_bytes(is_cuda: bool) -> int:
    """The most memory that this process held: resident, or on the card.

    Linux keeps in `ru_maxrss` what the parent held when it forked, so its status file is read.
    """
    if is_cuda:
        import torch

        return torch.cuda.max_memory_allocated()
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak << 10


def write_result(path: str, figures: dict[str, Any]) -> None:
    """Hand figures to the process that started this one."""
    Path(path).write_text(json.dumps(figures), encoding="utf-8")
