import threading
from pathlib import Path

import pytest

from workbench.data.folders import atomic_folder
from workbench.errors import EnvironmentProblem
from workbench.events import (
    ErrorReport,
    Evaluated,
    Finished,
    Progress,
    Sample,
    Saved,
    Started,
    Step,
    Warned,
)
from workbench.jobs.journal import Journal, RunRecorder
from workbench.store.experiment import Experiment


@pytest.fixture
def experiment(tmp_path: Path):
    with Experiment.create(tmp_path / "experiment") as experiment:
        yield experiment


@pytest.fixture
def journal(experiment):
    journal = Journal(experiment)
    yield journal
    journal.close()


@pytest.fixture
def run_id(experiment) -> int:
    return experiment.runs.create("policy", "ppo", "PPO 1", {}, {})


def step(n: int) -> Step:
    return Step(n, 10, {"objective/kl": float(n)}, 0.1)


def test_events_reach_the_store_within_a_second_without_a_flush(
    experiment, journal, run_id, monkeypatch
):
    written = threading.Event()
    append = experiment.runs.append_events

    def telling(*args):
        append(*args)
        written.set()

    monkeypatch.setattr(experiment.runs, "append_events", telling)
    journal.put(run_id, step(1))
    assert written.wait(5)
    assert experiment.runs.metrics(run_id) == {"objective/kl": [(1, 1.0)]}


def test_many_events_become_few_transactions(experiment, journal, run_id, monkeypatch):
    batches = []
    append = experiment.runs.append_events

    def counting(run, events):
        batches.append(len(events))
        append(run, events)

    monkeypatch.setattr(experiment.runs, "append_events", counting)
    for n in range(1000):
        journal.put(run_id, step(n))
    journal.flush()
    assert sum(batches) == 1000
    assert len(batches) <= 10
    assert len(experiment.runs.metrics(run_id)["objective/kl"]) == 1000


def test_close_writes_what_waits(experiment, run_id):
    journal = Journal(experiment)
    journal.put(run_id, step(1))
    journal.close()
    assert experiment.runs.metrics(run_id)["objective/kl"] == [(1, 1.0)]


def test_a_batch_that_cannot_be_written_fails_the_run(experiment, journal, run_id, monkeypatch):
    def full(*_):
        raise EnvironmentProblem("The disk is full.")

    monkeypatch.setattr(experiment.runs, "append_events", full)
    journal.put(run_id, step(1))
    with pytest.raises(EnvironmentProblem, match="disk is full"):
        journal.flush()
    monkeypatch.undo()
    journal.put(run_id, step(2))
    journal.flush()
    assert experiment.runs.metrics(run_id)["objective/kl"] == [(2, 2.0)]


def test_a_recorder_follows_a_run_from_start_to_end(experiment, journal, run_id):
    record = RunRecorder(experiment, journal, run_id)
    record(Started("PPO 1", 10, "updates", run_id))
    assert experiment.runs.get(run_id).status == "running"
    folder = experiment.path / "adapters" / "run-0001" / "adapter"
    with atomic_folder(folder) as partial:
        (partial / "adapter_config.json").write_text("{}")
    events = [
        Progress(1, 2),
        step(1),
        Sample(1, 7, "text", 0.5, 1.0, 3, True),
        Warned("careful", "hint"),
        Evaluated(1, {"win_rate": 0.75}),
        Saved(1, "adapter", str(folder)),
        Finished("done", result={"n": 3}),
    ]
    for event in events:
        record(event)
    run = experiment.runs.get(run_id)
    assert run.status == "done"
    assert run.results == {"win_rate": 0.75, "n": 3}
    assert experiment.runs.metrics(run_id)["objective/kl"] == [(1, 1.0)]
    assert experiment.runs.samples(run_id)[0].text == "text"
    assert experiment.runs.warnings(run_id) == [Warned("careful", "hint")]
    written = experiment.artifacts.for_run(run_id)
    assert [(a.kind, a.path) for a in written] == [("adapter", "adapters/run-0001/adapter")]
    assert written[0].digest


@pytest.mark.parametrize(
    ("finished", "status", "error"),
    [
        (Finished("stopped"), "stopped", ""),
        (Finished("cancelled"), "stopped", ""),
        (Finished("failed", ErrorReport("Bad.", "Better.")), "failed", "Bad. Better."),
        (Finished("failed", ErrorReport("Bug.", "", "Trace")), "failed", "Bug.\n\nTrace"),
    ],
)
def test_every_outcome_has_its_status(experiment, journal, run_id, finished, status, error):
    RunRecorder(experiment, journal, run_id)(finished)
    run = experiment.runs.get(run_id)
    assert (run.status, run.error) == (status, error)


def test_a_failed_run_keeps_what_it_told(experiment, journal, run_id):
    record = RunRecorder(experiment, journal, run_id)
    for event in (Started("PPO 1", 10), step(1), Finished("failed", ErrorReport("Bad."))):
        record(event)
    assert experiment.runs.metrics(run_id)["objective/kl"] == [(1, 1.0)]


def test_a_journal_that_cannot_write_makes_the_run_failed(experiment, journal, run_id, monkeypatch):
    def full(*_):
        raise EnvironmentProblem("The disk is full.", "Free some.")

    record = RunRecorder(experiment, journal, run_id)
    monkeypatch.setattr(experiment.runs, "append_events", full)
    record(step(1))
    record(Finished("done"))
    run = experiment.runs.get(run_id)
    assert (run.status, run.error) == ("failed", "The disk is full. Free some.")
