from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from workbench.data.records import Message, NewPrompt
from workbench.errors import EnvironmentProblem, UserError
from workbench.events import Marked
from workbench.store import migrations
from workbench.store.backup import N_KEPT, back_up
from workbench.store.check import check
from workbench.store.database import Database
from workbench.store.experiment import DATABASE_NAME, Experiment
from workbench.store.lock import LOCK_NAME, ExperimentHeld

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """An experiment with one prompt, closed."""
    path = tmp_path / "experiment"
    with Experiment.create(path) as experiment:
        experiment.prompts.add_many([NewPrompt((Message("user", "hello"),))])
    return path


@pytest.fixture
def database(closed: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(closed / DATABASE_NAME, isolation_level=None)) as connection:
        yield connection


def test_create_refuses_what_is_not_empty(tmp_path: Path, closed: Path) -> None:
    with pytest.raises(UserError, match="already holds an experiment"):
        Experiment.create(closed)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(UserError, match="not an empty folder"):
        Experiment.create(tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["diary.txt"]


def test_open_needs_an_experiment(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no experiment in"):
        Experiment.open(tmp_path)
    with pytest.raises(UserError, match="no experiment in"):
        Experiment.open(tmp_path / "nowhere")


def test_every_commit_reaches_the_disk_and_rows_are_checked(closed: Path) -> None:
    with Experiment.open(closed) as experiment, experiment.database.write() as connection:

        def pragma(name: str) -> object:
            return connection.execute(f"PRAGMA {name}").fetchone()[0]

        assert pragma("synchronous") == 2  # FULL
        assert pragma("journal_mode") == "wal"
        assert pragma("foreign_keys") == 1
        assert pragma("busy_timeout") == 5000
        tables = connection.execute(
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND NOT strict"
            " AND schema = 'main' AND name NOT LIKE 'sqlite_%'"
        ).fetchall()
        assert tables == []


def test_without_write_ahead_log_a_rollback_journal_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.store.database._is_on_network", lambda _: True)
    with Experiment.create(tmp_path / "e") as experiment:
        experiment.prompts.add_many([NewPrompt((Message("user", "hello"),))])
        assert experiment.prompts.count() == 1
        assert experiment.database.value("PRAGMA journal_mode") == "delete"
    assert check(tmp_path / "e").is_whole


@pytest.mark.parametrize("version", [1, 2])
def test_the_files_of_all_versions_open(version: int, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(GOLDEN / f"experiment-v{version}.db", tmp_path / "old" / DATABASE_NAME)
    with Experiment.open(tmp_path / "old") as experiment:
        assert [p.language for p in experiment.prompts.list(search="奖励")] == ["zh"]
        assert [(p.chosen, p.annotator_kind) for p in experiment.judgements.preferences()] == [
            ("answer 1", "person"),
            ("answer 0", "simulated"),
        ]
        assert experiment.runs.metrics(1) == {"objective/kl": [(1, 0.5)]}
        [run] = experiment.runs.list("policy")
        assert (run.name, run.algorithm, run.status) == ("PPO 1", "ppo", "done")
        assert experiment.undo.undo() == "ranked A better"
        assert experiment.comparisons.counts("ada").pending == 1
    assert check(tmp_path / "old").is_whole


def test_every_kind_of_feedback_of_version_3_is_read(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(GOLDEN / "experiment-v3.db", tmp_path / "old" / DATABASE_NAME)
    with Experiment.open(tmp_path / "old") as experiment:
        hers = experiment.judgements.latest(2, "ada")
        assert hers is not None
        assert (hers.verdict, hers.strength, hers.is_revealed) == ("second", 1, True)
        [ranking] = experiment.rankings.list()
        assert (ranking.annotator, ranking.places) == ("bob", ((4,), (3,)))
        [repeat] = experiment.repeats.list()
        assert (repeat.verdict, repeat.is_swapped) == ("tie", True)
        assert [(r.kind, r.value) for r in experiment.remarks.of_prompt(1)] == [
            ("rating", "4"),
            ("tag", "词"),
        ]
        assert experiment.drafts.load(1, "ada") == {"text": "begun"}
    assert check(tmp_path / "old").is_whole


def test_what_happened_in_a_run_of_version_4_is_read(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(GOLDEN / "experiment-v4.db", tmp_path / "old" / DATABASE_NAME)
    with Experiment.open(tmp_path / "old") as experiment:
        assert experiment.runs.marks(1) == [Marked(1, "labels", "8 labels")]
        experiment.runs.rewind(1, 0)
        assert experiment.runs.marks(1) == []


def test_samples_of_version_5_have_tokens_and_older_ones_none(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    shutil.copy(GOLDEN / "experiment-v5.db", tmp_path / "old" / DATABASE_NAME)
    with Experiment.open(tmp_path / "old") as experiment:
        [(number, sample)] = experiment.runs.numbered_samples(1)
        assert (sample.text, sample.is_watched) == ("词", True)
        assert experiment.runs.tokens_of(number) == (("词", "<eos>"), {"logp": (-0.5, -0.25)})
    (tmp_path / "older").mkdir()
    shutil.copy(GOLDEN / "experiment-v4.db", tmp_path / "older" / DATABASE_NAME)
    with closing(sqlite3.connect(tmp_path / "older" / DATABASE_NAME)) as old:
        old.execute(
            "INSERT INTO samples (run_id, step, prompt_id, text, reward, kl, n_tokens,"
            " is_finished) VALUES (1, 1, 1, 'text', 0.5, 0.1, 3, 1)"
        )
        old.commit()
    with Experiment.open(tmp_path / "older") as experiment:
        [(number, sample)] = experiment.runs.numbered_samples(1)
        assert (sample.text, sample.is_watched) == ("text", False)
        assert experiment.runs.tokens_of(number) == ((), {})


def test_a_newer_version_is_refused_and_not_touched(
    closed: Path, database: sqlite3.Connection
) -> None:
    database.execute("PRAGMA user_version = 99")
    database.close()
    before = (closed / DATABASE_NAME).read_bytes()
    for is_read_only in (False, True):
        with pytest.raises(EnvironmentProblem, match="newer version of RLHF Workbench") as caught:
            Experiment.open(closed, is_read_only=is_read_only)
        assert "Update this program" in caught.value.hint
    assert (closed / DATABASE_NAME).read_bytes() == before


@pytest.mark.parametrize("is_read_only", [False, True])
def test_a_file_that_is_not_a_database(closed: Path, is_read_only: bool) -> None:
    (closed / DATABASE_NAME).write_bytes(b"Dear diary, today I ranked nothing. " * 200)
    with pytest.raises(EnvironmentProblem, match="is not a database") as caught:
        Experiment.open(closed, is_read_only=is_read_only)
    assert "backups" in caught.value.hint
    assert (closed / DATABASE_NAME).read_bytes().startswith(b"Dear diary")
    assert not check(closed).is_whole


def test_a_database_of_another_program(closed: Path) -> None:
    (closed / DATABASE_NAME).unlink()
    with closing(sqlite3.connect(closed / DATABASE_NAME)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    with pytest.raises(EnvironmentProblem, match="but not one of RLHF Workbench"):
        Experiment.open(closed)


def _damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 20_000] = b"\xa5" * 20_000
    path.write_bytes(content)


def test_a_damaged_database_is_told_with_the_copy_to_use(closed: Path) -> None:
    _damage(closed / DATABASE_NAME)
    with pytest.raises(EnvironmentProblem, match="is damaged") as caught:
        Experiment.open(closed)
    [copy] = (closed / "backups").iterdir()
    assert copy.name in caught.value.hint
    shutil.copy(copy, closed / DATABASE_NAME)
    with Experiment.open(closed) as experiment:
        assert experiment.prompts.count() == 1


def test_a_damaged_database_never_replaces_a_good_copy(closed: Path) -> None:
    [good] = (closed / "backups").iterdir()
    before = good.read_bytes()
    with closing(sqlite3.connect(closed / DATABASE_NAME)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    database = Database(
        closed / DATABASE_NAME, None, f"{(closed / DATABASE_NAME).as_uri()}?mode=ro"
    )
    _damage(closed / DATABASE_NAME)
    assert back_up(database, closed / "backups") is None
    database.close()
    assert [p.name for p in (closed / "backups").iterdir()] == [good.name]
    assert good.read_bytes() == before


def test_backups_roll_and_a_session_without_changes_makes_none(closed: Path) -> None:
    for i in range(N_KEPT + 2):
        with Experiment.open(closed) as experiment:
            experiment.settings.set("session", i)
    copies = sorted((closed / "backups").iterdir())
    assert len(copies) == N_KEPT
    with Experiment.open(closed):
        pass
    assert sorted((closed / "backups").iterdir()) == copies
    with closing(sqlite3.connect(copies[-1])) as connection:
        [(value,)] = connection.execute("SELECT value FROM settings WHERE key = 'session'")
    assert json.loads(value) == N_KEPT + 1


def _steps(*more: str) -> tuple[migrations.Migration, ...]:
    newest = migrations.known()[-1].version
    return (*migrations.known(), migrations.Migration(newest + 1, "next", more))


def test_a_migration_is_preceded_by_a_copy(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = _steps("CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT")
    monkeypatch.setattr(migrations, "known", lambda: steps)
    with pytest.raises(EnvironmentProblem, match="older format"):
        Experiment.open(closed, is_read_only=True)
    with Experiment.open(closed) as experiment:
        assert experiment.database.value("PRAGMA user_version") == steps[-1].version
        assert experiment.database.value("SELECT count(*) FROM notes") == 0
        assert experiment.prompts.count() == 1
    with closing(
        sqlite3.connect(closed / "backups" / f"before-format-{steps[-1].version}.db")
    ) as copy:
        assert copy.execute("PRAGMA user_version").fetchone()[0] == steps[-2].version
        assert copy.execute("SELECT count(*) FROM prompts").fetchone()[0] == 1


def test_a_failing_migration_leaves_all_as_it_was(
    closed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = _steps("CREATE TABLE notes (id INTEGER PRIMARY KEY) STRICT", "INSERT INTO nowhere")
    with monkeypatch.context() as patched:
        patched.setattr(migrations, "known", lambda: steps)
        with pytest.raises(EnvironmentProblem, match="could not be brought to format"):
            Experiment.open(closed)
    with Experiment.open(closed) as experiment:
        assert experiment.prompts.count() == 1
        assert not experiment.database.rows("SELECT 1 FROM sqlite_schema WHERE name = 'notes'")


def test_the_second_opener_is_told_who_holds_it_and_can_read(closed: Path) -> None:
    with Experiment.open(closed) as first:
        with pytest.raises(ExperimentHeld, match=f"process {os.getpid()} on this computer") as held:
            Experiment.open(closed)
        assert "read-only" in held.value.hint
        assert held.value.holder.host == socket.gethostname()
        with Experiment.open(closed, is_read_only=True) as second:
            first.prompts.add_many([NewPrompt((Message("user", "new"),))])
            assert second.prompts.count() == 2  # sees what the first one commits
            assert second.comparisons.next_pending("ada") is None
            assert second.comparisons.counts("ada").total == 0
            with pytest.raises(EnvironmentProblem, match="open read-only"):
                second.prompts.delete([1])
        assert first.prompts.count() == 2
    assert not (closed / LOCK_NAME).exists()
    Experiment.open(closed).close()


def test_the_lock_of_a_process_that_died_is_taken_over(closed: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path\n"
        "from workbench.store.experiment import Experiment\n"
        "experiment = Experiment.open(Path(sys.argv[1]))\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(closed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(ExperimentHeld, match=f"process {process.pid} on this computer"):
            Experiment.open(closed)
        process.kill()
    assert json.loads((closed / LOCK_NAME).read_text())["pid"] == process.pid
    with Experiment.open(closed) as experiment:
        assert experiment.prompts.count() == 1


def test_a_lock_of_another_computer_is_respected(closed: Path) -> None:
    lock = {"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00Z"}
    (closed / LOCK_NAME).write_text(json.dumps(lock))
    with pytest.raises(ExperimentHeld, match="process 1 on elsewhere") as caught:
        Experiment.open(closed)
    assert f"delete {closed / LOCK_NAME}" in caught.value.hint
    (closed / LOCK_NAME).write_text("not what we write")
    Experiment.open(closed).close()


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no write bit there")
def test_a_read_only_folder_can_be_read_and_says_so() -> None:
    """As another user, since nothing is read-only to the superuser."""
    script = (
        "import fcntl, os, sys; from pathlib import Path\n"
        "from workbench.store.experiment import Experiment\n"
        "from workbench.errors import EnvironmentProblem\n"
        "path = Path(sys.argv[1])\n"
        "if os.geteuid() == 0:\n"
        "    os.setuid(65534)\n"
        "for action in (Experiment.open, lambda p: Experiment.create(p / 'new' / 'one')):\n"
        "    try:\n"
        "        action(path)\n"
        "    except EnvironmentProblem as problem:\n"
        "        print(problem)\n"
        "with Experiment.open(path, is_read_only=True) as experiment:\n"
        "    print(experiment.prompts.list()[0].text)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "experiment"
        with Experiment.create(path) as experiment:
            experiment.prompts.add_many([NewPrompt((Message("user", "hello"),))])
        Path(folder).chmod(0o755)
        path.chmod(0o555)
        told = subprocess.run(
            [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        path.chmod(0o755)
    assert "is read-only for this user" in told[0]
    assert "is read-only for this user" in told[1]
    assert told[2] == "hello"


def test_check_finds_what_is_wrong(closed: Path, database: sqlite3.Connection) -> None:
    assert check(closed).facts["prompts"] == 1
    (closed / "adapters" / ".run-1.999999999-0123abcd.partial").mkdir()
    database.execute("PRAGMA foreign_keys = 0")
    database.execute(
        "INSERT INTO runs (id, kind, algorithm, name, status, settings, inputs, created_at)"
        " VALUES (1, 'policy', 'ppo', 'PPO 1', 'done', '{}', '{}', '')"
    )
    database.execute(
        "INSERT INTO artifacts (run_id, kind, path, digest, created_at)"
        " VALUES (1, 'adapter', 'adapters/run-1', 'd', ''), (7, 'adapter', 'logs', 'd', '')"
    )
    database.execute("INSERT INTO annotators (name) VALUES ('ada')")
    database.execute("INSERT INTO queue (annotator_id, comparison_id) VALUES (1, 5)")
    database.execute("INSERT INTO prompt_search (rowid, text) VALUES (77, 'x')")
    report = check(closed)
    text = "\n".join(report.problems)
    assert not report.is_whole
    for sentence in (
        "refers to a missing row of runs",
        "ranking queue and the judgements differ (entries: 1)",
        "search index knows 2 of 1 prompts",
        "adapter adapters/run-1 is gone",
        "logs is not complete",
        "run-1.999999999-0123abcd.partial was left half-written",
    ):
        assert sentence in text
    with pytest.raises(UserError):
        check(closed.parent)
