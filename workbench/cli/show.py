"""Events as a person or a program reads them: progress on stderr, or JSON lines on stdout."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any

from workbench.errors import WorkbenchError
from workbench.events import (
    Evaluated,
    Event,
    Finished,
    Marked,
    Progress,
    Saved,
    Started,
    Step,
    Warned,
)

_SHOWN = (
    "objective/scores",
    "objective/kl",
    "loss/sft",
    "loss/dpo",
    "loss/kto",
    "loss/q",
    "rewards/accuracies",
    "heldout/loss",
    "heldout/accuracies",
    "reward/loss",
    "reward/accuracy",
    "reward/heldout_accuracy",
    "completions/mean_length",
    "best_of_n/score",
    "best_of_n/win_rate",
    "win_rate",
    "win_rate_reward",
    "reward_before",
    "reward_after",
    "kl",
)
_EVERY_S = 2.0


class Show:
    """Writes what happens; one line per event as JSON, or short lines for a person."""

    def __init__(self, *, is_json: bool) -> None:
        self.is_json = is_json
        self._is_terminal = sys.stderr.isatty()
        self._has_open_line = False
        self._title = ""
        self._clock = _Clock()
        self._last_shown = 0.0

    def event(self, event: Event) -> None:
        """Show one event of a job."""
        if self.is_json:
            self.json({"event": type(event).__name__, **dataclasses.asdict(event)})
            return
        match event:
            case Started():
                self._title, self._clock = event.title, _Clock()
                self._line(event.title)
            case Progress():
                self._progress(event)
            case Step():
                self._step(event)
            case Finished():
                self._finished(event)
            case _:
                if line := _said(event):
                    self._line(f"  {line}")

    def result(self, values: Mapping[str, object], text: str = "") -> None:
        """Show what a command gives: as JSON, or as `text`."""
        if self.is_json:
            self.json({"event": "Result", **values})
        elif text:
            self._end_line()
            print(text, flush=True)

    def json(self, values: Mapping[str, object]) -> None:
        """One JSON line on stdout."""
        self._end_line()
        print(json.dumps(_plain(values), ensure_ascii=False), flush=True)

    def note(self, text: str) -> None:
        """A line for a person, on stderr in any case."""
        self._end_line()
        print(text, file=sys.stderr, flush=True)

    def problem(self, error: WorkbenchError) -> None:
        """A sentence about what went wrong."""
        if self.is_json:
            self.json({"event": "Error", "message": error.message, "hint": error.hint})
        self.note(f"rlhf-workbench: {error}")

    def _finished(self, event: Finished) -> None:
        if event.error is None:
            self._line(f"  {event.outcome} after {_span(self._clock.elapsed)}")
            return
        self._line(f"{self._title}: {event.error.message} {event.error.hint}".rstrip())
        if event.error.traceback:
            self.note(event.error.traceback)

    def _step(self, event: Step) -> None:
        left = self._clock.left(event.step, event.total)
        self._line(f"  {event.step}/{event.total}  {_figures(event.metrics)}{left}")

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        is_last = event.total > 0 and event.done >= event.total
        if now - self._last_shown < (0.1 if self._is_terminal else _EVERY_S) and not is_last:
            return
        self._last_shown = now
        count = f" {event.done}/{event.total}" if event.total else ""
        text = f"  {event.note or self._title}{count}{self._clock.left(event.done, event.total)}"
        if not self._is_terminal:
            self._line(text)
            return
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
        self._has_open_line = True

    def _line(self, text: str) -> None:
        self.note(text)

    def _end_line(self) -> None:
        if self._has_open_line:
            print(file=sys.stderr, flush=True)
            self._has_open_line = False


class _Clock:
    """Time left, from how long the steps since the first seen one took."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first: tuple[int, float] | None = None

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def left(self, done: int, total: int) -> str:
        """As text; empty while nothing can be said, or when another count has begun."""
        now = time.monotonic()
        if self._first is None or done < self._first[0] or not total:
            self._first = (done, now)
            return ""
        first, began = self._first
        if done == first or done >= total:
            return ""
        return f"  {_span((now - began) / (done - first) * (total - done))} left"


def _said(event: Event) -> str:
    """A line for what needs no more than one; empty for what is not shown."""
    match event:
        case Evaluated():
            return f"measured: {_figures(event.metrics)}"
        case Saved():
            return f"saved {event.kind.replace('_', ' ')}: {event.path}"
        case Warned():
            return f"note: {event.message} {event.hint}".rstrip()
        case Marked():
            return f"at update {event.step}: {event.text}"
        case _:
            return ""


def _figures(metrics: Mapping[str, float]) -> str:
    return "  ".join(
        f"{name.split('/')[-1]} {metrics[name]:.3g}" for name in _SHOWN if name in metrics
    )


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f}:{seconds % 60:02.0f} min"


def _plain(value: Any) -> Any:
    """JSON values; NaN and infinity, which JSON has not, become null."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool | None) else str(value)
