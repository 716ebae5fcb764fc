import errno
import gc
import threading
import weakref
from collections.abc import Iterator

import pytest

from workbench.cancel import CancelToken
from workbench.errors import UserError
from workbench.events import Event, Finished, Progress, Started, Warned
from workbench.jobs.progress import with_progress
from workbench.jobs.runner import Job, JobRunner

WAIT = 10.0


@pytest.fixture
def runner() -> Iterator[JobRunner]:
    runner = JobRunner()
    yield runner
    assert runner.close(WAIT)


def counting(n: int):
    def work(cancel: CancelToken) -> Iterator[Event]:
        for i in range(n):
            if cancel.should_stop:
                return {"reached": i}
            yield Progress(i, n)
        return {"reached": n}

    return work


class Gate:
    """Work that tells one event and then waits until the test opens it."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.entered = threading.Event()
        self.is_closed = False

    def __call__(self, _cancel: CancelToken) -> Iterator[Event]:
        try:
            self.entered.set()
            yield Progress(0, 2)
            self.opened.wait(WAIT)
            yield Progress(1, 2)
        finally:
            self.is_closed = True


def all_events(job: Job) -> list[Event]:
    return list(job.follow(WAIT))


def test_events_come_in_order_between_started_and_one_finished(runner):
    job = runner.submit("count", "load", counting(3), total=3, unit="answers", run_id=None)
    assert all_events(job) == [
        Started("count", 3, "answers", None),
        *(Progress(i, 3) for i in range(3)),
        Finished("done", result={"reached": 3}),
    ]
    assert job.outcome == "done"
    assert job.wait(0)


def test_drain_loses_and_repeats_nothing_while_the_worker_tells(runner):
    job = runner.submit("count", "load", counting(20_000))
    seen: list[Event] = []
    while not (seen and isinstance(seen[-1], Finished)):
        seen += job.drain()
    assert [e.done for e in seen if isinstance(e, Progress)] == list(range(20_000))
    assert sum(isinstance(e, Finished) for e in seen) == 1


def test_jobs_run_one_after_the_other_in_one_thread(runner):
    gate, threads = Gate(), []

    def work(cancel: CancelToken) -> Iterator[Event]:
        threads.append(threading.current_thread())
        assert first.outcome == "done"
        yield Progress(0, 0)

    first = runner.submit("first", "load", gate)
    second = runner.submit("second", "load", work)
    assert gate.entered.wait(WAIT)
    assert runner.current is first
    assert runner.queued == [second]
    gate.opened.set()
    assert second.wait(WAIT)
    assert second.outcome == "done"
    assert threads[0].daemon


class OutOfMemoryError(RuntimeError):
    pass


OutOfMemoryError.__module__ = "torch"


@pytest.mark.parametrize(
    ("error", "words", "has_traceback"),
    [
        (UserError("The file is empty.", "Choose another."), "The file is empty.", False),
        (OutOfMemoryError("CUDA out of memory"), "graphics card ran out of memory", False),
        (MemoryError(), "computer ran out of memory", False),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 1 bytes"),
            "computer ran",
            False,
        ),
        (OSError(errno.ENOSPC, "No space left"), "disk is full", False),
        (OSError(errno.EIO, "Input/output error"), "OSError", True),
        (ZeroDivisionError("1/0"), "ZeroDivisionError", True),
        (SystemExit(3), "SystemExit", True),
    ],
)
def test_every_error_ends_in_exactly_one_finished(runner, error, words, has_traceback):
    def work(cancel: CancelToken) -> Iterator[Event]:
        yield Progress(0, 0)
        raise error

    events = all_events(runner.submit("fails", "policy", work))
    assert [type(e) for e in events] == [Started, Progress, Finished]
    finished = events[-1]
    assert finished.outcome == "failed"
    assert words in finished.error.message
    assert bool(finished.error.traceback) is has_traceback
    after = runner.submit("goes on", "load", counting(1))
    assert after.wait(WAIT)
    assert after.outcome == "done"


def test_memory_trouble_says_what_to_lower(runner):
    def work(cancel: CancelToken) -> Iterator[Event]:
        raise OutOfMemoryError
        yield

    error = all_events(runner.submit("fails", "policy", work))[-1].error
    assert "micro-batch" in error.hint


def test_cancel_closes_the_generator(runner):
    gate = Gate()
    job = runner.submit("gate", "load", gate)
    assert gate.entered.wait(WAIT)
    job.token.cancel()
    gate.opened.set()
    assert job.wait(WAIT)
    assert job.outcome == "cancelled"
    assert gate.is_closed
    assert Progress(1, 2) in job.drain()


def test_a_waiting_job_that_is_cancelled_ends_at_once_and_never_starts(runner):
    gate, started = Gate(), []

    def work(cancel: CancelToken) -> Iterator[Event]:
        started.append(True)
        yield Progress(0, 0)

    runner.submit("first", "load", gate)
    second = runner.submit("second", "load", work)
    assert gate.entered.wait(WAIT)
    runner.cancel(second)
    assert all_events(second) == [Finished("cancelled")]
    assert runner.queued == []
    gate.opened.set()
    last = runner.submit("last", "load", counting(1))
    assert last.wait(WAIT)
    assert not started


def test_a_token_cancelled_in_the_queue_never_starts(runner):
    gate = Gate()
    runner.submit("first", "load", gate)
    second = runner.submit("second", "load", counting(1))
    assert gate.entered.wait(WAIT)
    second.token.cancel()
    gate.opened.set()
    assert all_events(second) == [Finished("cancelled")]


def test_stop_lets_the_generator_end_and_save(runner):
    seen = threading.Event()

    def work(cancel: CancelToken) -> Iterator[Event]:
        n = 0
        while not cancel.should_stop:
            yield Progress(n := n + 1, 0)
            seen.set()
        yield Warned("saved")
        return {"n": n}

    job = runner.submit("train", "policy", work)
    assert seen.wait(WAIT)
    job.token.request_stop()
    events = all_events(job)
    assert Warned("saved") in events
    assert events[-1].outcome == "stopped"
    assert events[-1].result["n"] >= 1


def test_pause_holds_between_steps_and_resume_goes_on(runner):
    paused_at: list[int] = []

    def work(cancel: CancelToken) -> Iterator[Event]:
        yield Progress(0, 2)
        cancel.pause()
        paused_at.append(0)
        yield Progress(1, 2)
        paused_at.append(1)
        yield Progress(2, 2)

    job = runner.submit("train", "policy", work)
    events = job.follow(WAIT)
    assert [next(events) for _ in range(3)][-1] == Progress(1, 2)
    assert not job.wait(0.05)
    assert paused_at == [0]
    job.token.resume()
    assert [type(e) for e in events] == [Progress, Finished]


def test_a_paused_job_can_be_cancelled(runner):
    def work(cancel: CancelToken) -> Iterator[Event]:
        cancel.pause()
        yield Progress(0, 2)
        yield Progress(1, 2)

    job = runner.submit("train", "policy", work)
    events = job.follow(WAIT)
    next(events), next(events)
    job.token.cancel()
    assert [e.outcome for e in events] == ["cancelled"]


def test_the_sink_gets_every_event_in_order_before_the_consumer(runner):
    told: list[Event] = []
    job = runner.submit("count", "policy", counting(50), sink=told.append)
    assert all_events(job) == told


def test_an_error_in_the_sink_fails_the_job_and_closes_the_generator(runner):
    gate = Gate()
    gate.opened.set()

    def sink(event: Event) -> None:
        if isinstance(event, Progress):
            raise UserError("The disk is full.")

    events = all_events(runner.submit("train", "policy", gate, sink=sink))
    assert [type(e) for e in events] == [Started, Finished]
    assert events[-1].error.message == "The disk is full."
    assert gate.is_closed


def test_an_error_in_the_sink_at_the_end_is_told_once(runner):
    def sink(event: Event) -> None:
        if isinstance(event, Finished):
            raise UserError("The disk is full.")

    events = all_events(runner.submit("train", "policy", counting(1), sink=sink))
    assert [e for e in events if isinstance(e, Finished)] == [events[-1]]
    assert events[-1].outcome == "failed"
    assert events[-1].error.message == "The disk is full."


def test_close_cancels_what_runs_and_what_waits():
    runner = JobRunner()
    gate = Gate()
    first = runner.submit("first", "load", gate)
    second = runner.submit("second", "load", counting(1))
    assert gate.entered.wait(WAIT)
    assert not runner.close(0.01)
    gate.opened.set()
    assert runner.close(WAIT)
    assert (first.outcome, second.outcome) == ("cancelled", "cancelled")
    with pytest.raises(RuntimeError):
        runner.submit("late", "load", counting(1))


def test_a_finished_job_keeps_nothing_of_its_work_alive(runner):
    class Model:
        pass

    model = Model()
    alive = weakref.ref(model)

    def work(cancel: CancelToken, model: Model = model) -> Iterator[Event]:
        yield Progress(0, 0)
        raise UserError("NaN")

    job = runner.submit("train", "policy", work)
    assert job.wait(WAIT)
    del work, model
    gc.collect()
    assert alive() is None


def test_progress_of_a_callback_becomes_events():
    def call(told):
        told(1, 2, "half")
        told(2, 2, "whole")
        return "model"

    told = with_progress(call)
    assert [next(told), next(told)] == [Progress(1, 2, "half"), Progress(2, 2, "whole")]
    with pytest.raises(StopIteration) as end:
        next(told)
    assert end.value.value == "model"


def test_progress_hands_over_the_error():
    def call(told):
        raise UserError("broken")

    with pytest.raises(UserError, match="broken"):
        list(with_progress(call))
