"""`judge --ai` from the command line, against a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests import chat_server
from tests.e2e.conftest import REPOSITORY
from workbench.app import labelling
from workbench.app.workspace import Workspace
from workbench.cli import main
from workbench.cli.judging import JUDGE, read
from workbench.cli.parser import parse
from workbench.config.judge import KEY_VARIABLE, JudgeSettings
from workbench.data.records import Message, NewCompletion, NewPrompt

SECRET = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def _no_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line never asks for it: a keyring may open a dialog."""
    import keyring

    def refuse(*_: str) -> None:
        raise AssertionError("the keyring was asked")

    monkeypatch.setattr(keyring, "get_password", refuse)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Twelve pairs whose longer answer the person likes, and three that are not judged."""
    ws = Workspace.open(tmp_path / "experiment", create=True)
    for i in range(15):
        [prompt] = ws.experiment.prompts.add_many([NewPrompt((Message("user", f"p{i}"),))])
        texts = ("long answer", "short") if i % 2 else ("brief", "lengthy answer")
        ids = ws.experiment.completions.add_many([NewCompletion(prompt, t) for t in texts])
        ws.experiment.comparisons.add_many([(prompt, *ids)])
    for i in ws.experiment.comparisons.pending_ids("nobody")[:12]:
        labelling.judge(ws, i, "second" if i % 2 else "first", 1.0)
    assert ws.close(10.0)
    return tmp_path / "experiment"


def run(experiment: Path, server: chat_server.Server, *flags: str) -> int:
    return main(
        [
            *("judge", "--ai", "--experiment", str(experiment), "--json"),
            *("--judge-url", server.url, "--judge-model", chat_server.MODEL),
            *("--judge-template", chat_server.TEMPLATE, "--judge-retries", "0"),
            *flags,
        ]
    )


def last(out: str) -> dict[str, Any]:
    return dict(json.loads(out.splitlines()[-1]))


def test_it_is_tried_first_and_then_judges_the_rest(
    experiment: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with chat_server.serving(key=SECRET) as server:
        assert run(experiment, server) == 2
        assert "not known yet" in capsys.readouterr().out
        assert run(experiment, server, "--which", "agree-check") == 1
        assert "wants a key" in capsys.readouterr().out
        monkeypatch.setenv(KEY_VARIABLE, SECRET)
        assert run(experiment, server, "--which", "agree-check") == 0
        out, err = capsys.readouterr()
        kappa = last(out)["kappa"]
        assert (kappa["value"], kappa["high"], kappa["n"]) == (1.0, 1.0, 12)
        assert 0.0 < kappa["low"] < 1.0
        assert run(experiment, server) == 0
        out, err = capsys.readouterr()
        assert last(out)["result"]["n_judged"] == 3
        assert SECRET not in out + err
    ws = Workspace.open(experiment)
    kinds = [p.judgement.annotator_kind for p in ws.experiment.judgements.list()]
    assert ws.close(10.0)
    assert kinds.count("ai") == 15


def test_a_person_reads_sentences(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with chat_server.serving() as server:
        arguments = ["--judge-url", server.url, "--judge-model", chat_server.MODEL]
        arguments += ["--judge-template", chat_server.TEMPLATE, "--which", "agree-check"]
        assert main(["judge", "--ai", "--experiment", str(experiment), *arguments]) == 0
    out, _ = capsys.readouterr()
    assert "The judge agrees with you on 12 of 12 pairs." in out
    assert "Kappa 1.00, 95 % interval" in out


def test_where_follows_from_what_is_given() -> None:
    judge = ["judge", "--ai"]
    assert read(parse(judge)) == JudgeSettings()
    url = ["--judge-url", "http://127.0.0.1:1/v1", "--judge-model", "m"]
    assert read(parse([*judge, *url])).where == "endpoint"
    assert read(parse([*judge, "--judge-model", "m"])).where == "folder"
    explicit = [*judge, *url, "--judge-where", "loaded"]
    assert read(parse(explicit)).where == "loaded"


def test_every_setting_is_a_flag_that_gives_its_own_default_back() -> None:
    arguments = []
    for name, value in JudgeSettings():
        arguments += [f"--judge-{name.replace('_', '-')}", str(value)]
    assert JUDGE.read(parse(["judge", "--ai", *arguments])) == JudgeSettings()


def test_there_is_no_flag_for_a_key(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["judge", "--help"])
    out, _ = capsys.readouterr()
    assert KEY_VARIABLE in out
    assert "--judge-key" not in out
    assert "Which answer is better" not in out  # of a long default only the beginning


def test_after_a_kill_nothing_that_was_answered_is_asked_again(
    experiment: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_before = 7
    reached = threading.Event()

    def hang(handler: chat_server.Handler) -> None:
        reached.set()
        handler.hang(60.0)

    with chat_server.serving() as server:
        server.script.extend([lambda h: h.reply(h.answer())] * n_before)
        server.script.append(hang)
        program = "import sys; from workbench.cli import main; sys.exit(main(sys.argv[1:]))"
        arguments = ["judge", "--ai", "--experiment", str(experiment), "--which", "agree-check"]
        arguments += ["--judge-url", server.url, "--judge-model", chat_server.MODEL]
        arguments += ["--judge-template", chat_server.TEMPLATE, "--judge-retries", "0"]
        child = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert reached.wait(60.0)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait(10.0)
        assert run(experiment, server, "--which", "agree-check") == 0
        out, _ = capsys.readouterr()
        asked = [a.body["messages"][0]["content"] for a in server.asked]
    assert last(out)["kappa"]["n"] == 12
    assert len(asked) == 24 + 1
    assert len(set(asked)) == 24
