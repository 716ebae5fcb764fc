"""One worker thread that runs jobs one after the other: one model in memory, one worker.

A job is a generator of events. Pause, stop and cancel are ordinary control flow round `next()`,
and whatever happens inside, the last event is exactly one `Finished`. Nothing here collects
garbage: a cyclic collection in this thread could destroy Qt objects of the window.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping

from workbench.cancel import CancelToken
from workbench.errors import Cancelled
from workbench.events import Event, Finished, Outcome, Started
from workbench.jobs.reports import report

log = logging.getLogger(__name__)

Work = Callable[[CancelToken], Iterator[Event]]
# The same with a result, which becomes `Finished.result`.
Working = Generator[Event, None, Mapping[str, object]]
Sink = Callable[[Event], None]


class Job:
    """One submitted piece of work and the events it has told so far.

    Attributes:
        id: Number within this session.
        title: What the user sees.
        kind: load, import, change, generate, simulate, reward, policy, evaluation, export,
            serve or tour.
        run_id: The run in the experiment that it belongs to, if any.
        token: Cancel, stop and pause it through this.
        outcome: How it ended; None before.
        started_at: `time.monotonic()` when it left the queue; None before.
        finished: Its last event; None before.
    """

    def __init__(self, id: int, title: str, kind: str, work: Work, run_id: int | None) -> None:
        self.id = id
        self.title = title
        self.kind = kind
        self.run_id = run_id
        self.token = CancelToken()
        self.started_at: float | None = None
        self.finished: Finished | None = None
        self._work = work
        self._sink: Sink | None = None
        self._total = 0
        self._unit = "steps"
        self._events: deque[Event] = deque()
        self._arrived = threading.Condition()
        self._done = threading.Event()

    @property
    def outcome(self) -> Outcome | None:
        """How it ended, None while it has not."""
        return self.finished.outcome if self.finished else None

    def drain(self) -> list[Event]:
        """All events since the last drain. One consumer only: the window or the command line."""
        events: list[Event] = []
        while self._events:
            events.append(self._events.popleft())
        return events

    def follow(self, timeout: float | None = None) -> Iterator[Event]:
        """Events as they come, blocking, up to and including `Finished`.

        Args:
            timeout: Longest wait for one event in seconds; None waits for ever.

        Raises:
            TimeoutError: No event came in time.
        """
        while True:
            with self._arrived:
                if not self._arrived.wait_for(lambda: self._events, timeout):
                    raise TimeoutError(f"{self.title} told nothing for {timeout} s.")
            for event in self.drain():
                yield event
                if isinstance(event, Finished):
                    return

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it has ended, after waiting for at most `timeout` seconds."""
        return self._done.wait(timeout)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Finished):
            self.finished = event
        with self._arrived:
            self._events.append(event)
            self._arrived.notify_all()
        if isinstance(event, Finished):
            self._done.set()


class JobRunner:
    """A queue of jobs and the daemon thread that works it off, first in first out."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._current: Job | None = None
        self._is_closing = False
        self._thread: threading.Thread | None = None

    @property
    def current(self) -> Job | None:
        """The job that runs now."""
        return self._current

    @property
    def is_closed(self) -> bool:
        """Whether nothing can be submitted any more."""
        return self._is_closing

    @property
    def queued(self) -> list[Job]:
        """Jobs that wait, the next one first."""
        with self._changed:
            return list(self._queue)

    @property
    def jobs(self) -> list[Job]:
        """The job that runs now and those that wait, at one moment: none is between the two."""
        with self._changed:
            running = [] if self._current is None else [self._current]
            return [*running, *self._queue]

    def submit(
        self,
        title: str,
        kind: str,
        work: Work,
        *,
        run_id: int | None = None,
        sink: Sink | None = None,
        total: int = 0,
        unit: str = "steps",
    ) -> Job:
        """Put work at the end of the queue and return at once.

        Args:
            title: What the user sees.
            kind: See `Job.kind`.
            work: Called in the worker thread; its generator's return value, when it is a
                mapping, becomes `Finished.result`.
            run_id: The run it belongs to.
            sink: Gets every event in order, in the worker thread, before anybody else. An
                error in it ends the job as failed.
            total: Planned steps for `Started`; 0 when unknown.
            unit: What `total` counts.

        Raises:
            RuntimeError: The runner is closed.
        """
        job = Job(next(self._ids), title, kind, work, run_id)
        job._sink, job._total, job._unit = sink, total, unit
        with self._changed:
            if self._is_closing:
                raise RuntimeError("The job runner is closed.")
            self._queue.append(job)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work_off, name="jobs", daemon=True)
                self._thread.start()
            self._changed.notify_all()
        return job

    def cancel(self, job: Job) -> None:
        """Cancel a job; one that still waits in the queue ends at once, without starting."""
        job.token.cancel()
        with self._changed:
            is_waiting = job in self._queue
            if is_waiting:
                self._queue.remove(job)
        if is_waiting:
            _finish(job, Finished("cancelled"))

    def close(self, timeout: float = 1.0) -> bool:
        """Cancel everything and wait; False when the thread still runs after `timeout` seconds."""
        with self._changed:
            self._is_closing = True
            if self._current is not None:
                self._current.token.cancel()
            self._changed.notify_all()
        for job in self.queued:
            self.cancel(job)
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _work_off(self) -> None:
        while (job := self._next()) is not None:
            run(job)
            with self._changed:
                self._current = None

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._is_closing)
            if not self._queue:
                return None
            self._current = self._queue.popleft()
            return self._current


def run(job: Job) -> None:
    """Do a job's work here and now, from `Started` to exactly one `Finished`."""
    if job.token.is_cancelled:
        _finish(job, Finished("cancelled"))
        return
    job.started_at = time.monotonic()
    try:
        _emit(job, Started(job.title, job._total, job._unit, job.run_id))
        result = _pump(job)
        finished = Finished(_outcome(job.token), result=result)
    except Cancelled:
        finished = Finished("cancelled")
    except BaseException as error:  # noqa: BLE001 - the one place where a bug becomes a report
        finished = Finished("failed", report(error))
        # As text: a kept exception keeps its frames, and they keep tensors.
        log.warning("%s failed\n%s", job.title, "".join(traceback.format_exception(error)))
    _finish(job, finished)


def _outcome(token: CancelToken) -> Outcome:
    if token.is_cancelled:
        return "cancelled"
    return "stopped" if token.should_stop else "done"


def _pump(job: Job) -> Mapping[str, object]:
    """Draw every event of the job; closed on the way out, so that its `finally` blocks run."""
    events = iter(job._work(job.token))
    try:
        while True:
            job.token.wait_while_paused()
            job.token.raise_if_cancelled()
            try:
                event = next(events)
            except StopIteration as end:
                return end.value if isinstance(end.value, Mapping) else {}
            _emit(job, event)
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _emit(job: Job, event: Event) -> None:
    if job._sink is not None:
        job._sink(event)
    job._tell(event)


def _finish(job: Job, finished: Finished) -> None:
    """Tell the end; a sink that cannot write it turns it into a failure, but never loses it."""
    try:
        if job._sink is not None:
            job._sink(finished)
    except Exception as error:
        log.warning("the end of %s could not be recorded", job.title, exc_info=error)
        finished = Finished("failed", finished.error or report(error), finished.result)
    job._work = _nothing
    job._sink = None
    job._tell(finished)


def _nothing(_token: CancelToken) -> Iterator[Event]:
    return iter(())
