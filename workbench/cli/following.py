"""Following a job to its end on the command line; Ctrl+C stops and saves, then cancels."""

from __future__ import annotations

import enum
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from workbench.cancel import CancelToken
from workbench.cli.show import Show
from workbench.events import Event, Finished, Paused

if TYPE_CHECKING:
    from workbench.jobs.runner import Job


class Outcome(enum.Enum):
    """How a command ended; STUCK: all is written, but the worker does not end."""

    DONE = enum.auto()
    FAILED = enum.auto()
    STUCK = enum.auto()


def follow(job: Job, show: Show) -> Outcome:
    """Show a job's events to its end. Ctrl+C stops and saves, a second one cancels."""
    with interruptible(lambda: job, show):
        for event in job.follow():
            show.event(event)
            stop_if_paused(event, job.token, show)
    return outcome_of(job.finished)


def stop_if_paused(event: Event, token: CancelToken, show: Show | None) -> None:
    """A run that pauses itself asks somebody; where nobody can answer it is stopped and saved."""
    if isinstance(event, Paused):
        token.request_stop()
        if show is not None:
            show.note(
                "Stopping and saving: nobody is here to say that it may go on. --resume does."
            )


def outcome_of(finished: Finished | None) -> Outcome:
    """Done when the job was done, or stopped and saved."""
    is_good = finished is not None and finished.outcome in ("done", "stopped")
    return Outcome.DONE if is_good else Outcome.FAILED


@contextmanager
def interruptible(current: Callable[[], Job | None], show: Show) -> Iterator[None]:
    """While open, Ctrl+C asks the current job to stop and save, a second one to end at once."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        job = current()
        if job is None:
            raise KeyboardInterrupt
        if job.token.should_stop:
            job.token.cancel()
            show.note("Cancelling.")
        else:
            job.token.request_stop()
            show.note("Stopping and saving. Press Ctrl+C again to cancel.")

    names = ("SIGINT", "SIGTERM")
    before = {n: signal.signal(getattr(signal, n), interrupt) for n in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
