"""What is acknowledged is there, after kill -9 and after a disk that filled up."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from workbench.errors import EnvironmentProblem
from workbench.store.check import check
from workbench.store.experiment import Experiment

_WRITER = """
import sys
from pathlib import Path
from workbench.store.experiment import Experiment

experiment = Experiment.open(Path(sys.argv[1]))
pairs = experiment.comparisons.pending_ids("ada")
while True:
    for comparison_id in pairs:
        judgement = experiment.judgements.add(comparison_id, "first", "ada", "person", 1.0)
        print(judgement.id, flush=True)
"""


@pytest.mark.parametrize("n_acknowledged", [1, 7, 60])
def test_kill_9_loses_no_acknowledged_judgement(
    experiment: Experiment, pairs: list[int], n_acknowledged: int
) -> None:
    path = experiment.path
    experiment.close()
    acknowledged = []
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        while len(acknowledged) < n_acknowledged:
            acknowledged.append(int(writer.stdout.readline()))
        writer.kill()
        acknowledged += [int(line) for line in writer.stdout if line.endswith(b"\n")]
    with Experiment.open(path) as opened:
        stored = {row.judgement.id for row in opened.judgements.list(limit=100_000)}
        assert stored.issuperset(acknowledged)
        assert len(stored) <= len(acknowledged) + 1
        assert opened.database.value("PRAGMA integrity_check") == "ok"
        assert opened.undo.undo() == "ranked A better"
        assert opened.judgements.count() == len(stored) - 1
    assert check(path).is_whole


def test_a_full_disk_is_told_and_the_experiment_goes_on_when_there_is_space(
    experiment: Experiment, pairs: list[int]
) -> None:
    experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    with experiment.database.write() as connection:
        n_pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {n_pages}")
    before = experiment.judgements.count()
    long_text = "a long note " * 5000
    with pytest.raises(EnvironmentProblem, match="The disk is full") as caught:
        experiment.settings.set("note", long_text)
    assert "Everything saved before is safe" in caught.value.hint
    with experiment.database.write() as connection:
        connection.execute("PRAGMA max_page_count = 1000000")
    assert experiment.judgements.count() == before
    experiment.settings.set("note", long_text)
    assert experiment.settings.get("note") == long_text


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limit there")
def test_a_write_that_the_system_refuses_is_told_and_undone(
    experiment: Experiment, pairs: list[int]
) -> None:
    import resource

    wal = experiment.path / "experiment.db-wal"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (wal.stat().st_size + 100, hard))
    try:
        with pytest.raises(EnvironmentProblem, match=r"could not be read or written|disk is full"):
            experiment.judgements.add(pairs[0], "first", "ada", "person", 1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert experiment.judgements.count() == 0
    assert experiment.comparisons.next_pending("ada").id == pairs[0]  # type: ignore[union-attr]
    experiment.judgements.add(pairs[0], "second", "ada", "person", 1.0)
    assert experiment.judgements.count() == 1
    path = experiment.path
    experiment.close()
    assert check(path) == check(path)
    assert check(path).is_whole


def test_a_close_without_space_for_the_backup_still_closes(
    experiment: Experiment, pairs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise EnvironmentProblem("The disk is full.")

    monkeypatch.setattr("workbench.store.experiment.back_up", full)
    path: Path = experiment.path
    experiment.close()
    with Experiment.open(path) as again:
        assert len(again.comparisons.pending_ids("ada")) == 10
