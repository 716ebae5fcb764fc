"""The one thread that writes run events into the experiment, in batches.

A row a step would cost a disk sync a step. Events wait here for at most a second; what a run
writes at its end is on disk before anybody is told that it ended.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from workbench.data.folders import digest_folder
from workbench.data.records import RunStatus
from workbench.errors import WorkbenchError
from workbench.events import (
    ErrorReport,
    Evaluated,
    Event,
    Finished,
    Marked,
    Outcome,
    Sample,
    Saved,
    Started,
    Step,
    Warned,
)
from workbench.store.experiment import Experiment

log = logging.getLogger(__name__)

_MAX_WAIT_S = 1.0
_MAX_EVENTS = 500
_KEPT = (Step, Sample, Evaluated, Warned, Marked)
_STATUS: Mapping[Outcome, RunStatus] = {
    "done": "done",
    "stopped": "stopped",
    "cancelled": "stopped",
    "failed": "failed",
}


class Journal:
    """Collects the events of runs and writes them once a second, or every 500 events."""

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self._waiting: list[tuple[int, Event]] = []
        self._changed = threading.Condition()
        self._writing = threading.Lock()
        self._problem: WorkbenchError | None = None
        self._is_closing = False
        self._thread: threading.Thread | None = None

    def put(self, run_id: int, event: Event) -> None:
        """Take an event of a run.

        Raises:
            WorkbenchError: An earlier batch could not be written; the run should end.
        """
        with self._changed:
            self._raise_problem()
            self._waiting.append((run_id, event))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self) -> None:
        """Write everything that waits, in the calling thread.

        Raises:
            WorkbenchError: It cannot be written.
        """
        self._write()
        with self._changed:
            self._raise_problem()

    def close(self) -> None:
        """Write what waits and end the thread."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._write()

    def _raise_problem(self) -> None:
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._is_closing)
                if self._is_closing:
                    return
                until = time.monotonic() + _MAX_WAIT_S
                self._changed.wait_for(
                    lambda: len(self._waiting) >= _MAX_EVENTS or self._is_closing,
                    max(0.0, until - time.monotonic()),
                )
            self._write()

    def _write(self) -> None:
        with self._writing:
            with self._changed:
                batch, self._waiting = self._waiting, []
            by_run: dict[int, list[Event]] = {}
            for run_id, event in batch:
                by_run.setdefault(run_id, []).append(event)
            try:
                for run_id, events in by_run.items():
                    self._experiment.runs.append_events(run_id, events)
            except WorkbenchError as problem:
                log.warning("%d events of runs could not be written", len(batch), exc_info=problem)
                with self._changed:
                    self._problem = problem


class RunRecorder:
    """The sink of one run's job: status, metrics, samples and artefacts, each where it belongs."""

    def __init__(self, experiment: Experiment, journal: Journal, run_id: int) -> None:
        self._experiment = experiment
        self._journal = journal
        self._run_id = run_id
        self._evaluated: dict[str, object] = {}

    def __call__(self, event: Event) -> None:
        """Record one event; called in the worker thread."""
        match event:
            case Started():
                self._experiment.runs.set_status(self._run_id, "running")
            case Saved():
                self._register(event)
            case Finished():
                self._finish(event)
            case _ if isinstance(event, _KEPT):
                if isinstance(event, Evaluated):
                    self._evaluated |= event.metrics
                self._journal.put(self._run_id, event)

    def _register(self, saved: Saved) -> None:
        # A run that goes on from here must find the figures up to here.
        self._journal.flush()
        path = Path(saved.path)
        root = self._experiment.path
        relative = path.relative_to(root) if path.is_relative_to(root) else path
        self._experiment.artifacts.add(
            self._run_id, saved.kind, relative.as_posix(), digest_folder(path)
        )

    def _finish(self, finished: Finished) -> None:
        error = finished.error
        try:
            self._journal.flush()
        except WorkbenchError as problem:
            error = error or ErrorReport(problem.message, problem.hint)
        status = "failed" if error is not None else _STATUS[finished.outcome]
        self._experiment.runs.finish(
            self._run_id, status, {**self._evaluated, **finished.result}, _sentence(error)
        )


def _sentence(error: ErrorReport | None) -> str:
    if error is None:
        return ""
    parts = [f"{error.message} {error.hint}".strip(), error.traceback]
    return "\n\n".join(part for part in parts if part)
