"""A user's function in its own process: whatever it does ends in a number or in a sentence."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.close import EXACT, assert_close
from workbench.cancel import CancelToken
from workbench.config.judge import KEY_VARIABLE
from workbench.config.reward_parts.kinds import FunctionPart
from workbench.data.records import Message
from workbench.errors import Cancelled, UserError
from workbench.rewards.parts.answers import Answers
from workbench.rewards.parts.user_function import UserFunction

SOURCE = """
import json, os, sys
n = 0
print("starting")
def reward(prompt, answer):
    global n
    n += 1
    print("x" * 100_000)
    return len(prompt) * 100 + len(answer) * 10 + n
class Number:
    def __float__(self): return 1.5
def number(prompt, answer): return Number()
def text(prompt, answer): return "3"
def boolean(prompt, answer): return True
def boom(prompt, answer): return 1 / 0
def out(prompt, answer): sys.exit(0)
def gone(prompt, answer): os.write(2, b"last words\\n"); os._exit(3)
def hang(prompt, answer):
    while True: pass
def nan(prompt, answer): return float("nan")
def key(prompt, answer): return float("RLHF_WORKBENCH_JUDGE_KEY" in os.environ)
def module(prompt, answer): return float("workbench" in sys.modules)
"""
BATCH = Answers([(Message("user", "你好"),)] * 2, ["", "çé"], [[], []])


@pytest.fixture
def called(tmp_path: Path) -> Iterator[Callable[..., UserFunction]]:
    made: list[UserFunction] = []

    def call(name: str, source: str = SOURCE, *, timeout: float = 20.0) -> UserFunction:
        file = tmp_path / "mine.py"
        file.write_text(source, encoding="utf-8")
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        part = FunctionPart(file=str(file), function=name, timeout=timeout)
        made.append(UserFunction(part, file, {digest}.__contains__, CancelToken()))
        return made[-1]

    yield call
    for function in made:
        function.close()


def test_it_is_called_with_prompt_and_answer_whatever_it_prints(
    called: Callable[..., UserFunction],
) -> None:
    function = called("reward")
    assert_close(function.values(BATCH), [201, 222], EXACT)
    assert_close(function.values(BATCH), [203, 224], EXACT)  # the same process


def test_numbers_of_libraries_are_numbers(
    called: Callable[..., UserFunction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    assert called("number").values(BATCH) == [1.5, 1.5]
    assert called("key").values(BATCH) == called("module").values(BATCH) == [0.0, 0.0]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("text", r"its function gave '3', which is not a number"),
        ("boolean", r"its function gave True, which is not a number"),
        ("boom", r"its function failed: ZeroDivisionError: division by zero \(File .*mine.py"),
        ("out", r"its function failed: SystemExit: 0"),
        ("gone", r"its process ended by itself\. It said: last words"),
        ("missing", r"its file failed: KeyError: 'missing'"),
    ],
)
def test_what_goes_wrong_is_said(
    name: str, sentence: str, called: Callable[..., UserFunction]
) -> None:
    with pytest.raises(UserError, match=sentence):
        called(name).values(BATCH)


def test_one_that_hangs_is_ended(called: Callable[..., UserFunction]) -> None:
    before = threading.active_count()
    function = called("hang", timeout=0.2)
    with pytest.raises(UserError, match=r"took longer than 0\.2 s on one answer and was ended"):
        function.values(BATCH)
    assert threading.active_count() == before, "nothing is left behind"


def test_a_cancel_ends_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE, encoding="utf-8")
    cancel = CancelToken()
    part = FunctionPart(file=str(file), function="hang", timeout=1000.0)
    function = UserFunction(part, file, lambda _: True, cancel)
    timer = threading.Timer(0.3, cancel.cancel)
    timer.start()
    with pytest.raises(Cancelled):
        function.values(BATCH)
    timer.join()


def test_only_the_file_that_was_allowed_runs(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(SOURCE, encoding="utf-8")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    part = FunctionPart(file=str(file))
    allowed = UserFunction(part, file, {digest}.__contains__, CancelToken())
    file.write_text("def reward(prompt, answer): return -1.0\n", encoding="utf-8")
    with pytest.raises(UserError, match="is not allowed to run on this machine"):
        UserFunction(part, file, {digest}.__contains__, CancelToken())
    # What was read when it was allowed is what runs.
    assert_close(allowed.values(BATCH), [201, 222], EXACT)
    allowed.close()
