"""The part that calls a Python function of the user, in another process and within a time limit."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from workbench.cancel import CancelToken
from workbench.config.judge import KEY_VARIABLE
from workbench.config.reward_parts.kinds import FunctionPart
from workbench.data.records import Message
from workbench.errors import EnvironmentProblem, UserError
from workbench.rewards.judge_question import prompt_text
from workbench.rewards.parts.answers import Answers

_START_S = 60.0  # a file may import torch
_POLL_S = 0.05
_ENDING_S = 5.0
_LAST_LINES = 20


class UserFunction:
    """Asks the function answer by answer; its process starts with the first one.

    Raises:
        UserError: The user has not allowed exactly this file.
    """

    def __init__(
        self,
        part: FunctionPart,
        file: Path,
        may_run: Callable[[str], bool],
        cancel: CancelToken,
    ) -> None:
        content = file.read_bytes()
        if not may_run(hashlib.sha256(content).hexdigest()):
            raise UserError(
                f"its file {Path(part.file).name} is not allowed to run on this machine.",
                "Read the file, then allow it: rlhf-workbench reward allow FILE, or on the page.",
            )
        # What is run is what was checked, whatever happens to the file meanwhile.
        self._source = content.decode("utf-8", "replace")
        self._part = part
        self._path = file
        self._cancel = cancel
        self._process: _Process | None = None

    def values(self, answers: Answers) -> list[float]:
        """One number per answer.

        Raises:
            UserError: It failed, took too long, or gave no number; nothing of it is left running.
            Cancelled: The run was cancelled or stopped meanwhile.
        """
        try:
            if self._process is None:
                self._process = self._started()
            return [
                self._value(self._process, prompt, text)
                for prompt, text in zip(answers.prompts, answers.texts, strict=True)
            ]
        except BaseException:
            self.close()
            raise

    def prefixes(self, _answers: Answers) -> None:
        """It is asked about whole answers only."""

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.end()
            self._process = None

    def _started(self) -> _Process:
        process = _Process(self._cancel)
        self._process = process
        name = self._part.function
        process.ask({"source": self._source, "path": self._part.file, "name": name})
        reply = process.reply(_START_S)
        if reply is None:
            raise UserError(f"its file was not ready after {_START_S:g} s.", "Import less in it.")
        _number(reply, "its file")
        return process

    def _value(self, process: _Process, prompt: list[Message] | Any, text: str) -> float:
        process.ask([prompt_text(prompt), text])
        reply = process.reply(self._part.timeout)
        if reply is None:
            raise UserError(
                f"its function took longer than {self._part.timeout:g} s on one answer and was "
                "ended.",
                "Make it faster, or raise its time limit.",
            )
        return _number(reply, "its function")


def _number(reply: dict[str, Any], who: str) -> float:
    if "error" in reply:
        # The last line of a traceback says what; the one before it with a number says where.
        told = [line.strip() for line in str(reply["error"]).splitlines() if line.strip()]
        where = next((line for line in reversed(told) if line.startswith("File ")), "")
        raise UserError(f"{who} failed: {told[-1]}{where and f' ({where})'}")
    if "other" in reply:
        raise UserError(f"{who} gave {reply['other']}, which is not a number.")
    return float(reply["value"])


class _Process:
    """The other process: JSON lines to and fro."""

    def __init__(self, cancel: CancelToken) -> None:
        # Without the secrets that are this program's own.
        environment = {k: v for k, v in os.environ.items() if k not in (KEY_VARIABLE, _TOKEN)}
        script = Path(__file__).with_name("user_process.py")
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(script)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                encoding="utf-8",
                errors="replace",
                cwd=tempfile.gettempdir(),
                env=environment,
            )
        except OSError as error:
            raise EnvironmentProblem(f"its process could not be started: {error}.") from error
        self._cancel = cancel
        self._replies: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._printed: deque[str] = deque(maxlen=_LAST_LINES)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        # Both pipes are read all the time: a full one would stop the function.
        self._readers = [
            threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._keep, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def ask(self, question: object) -> None:
        """Send one line; a process that has ended tells it at the reply."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except OSError:
            return

    def reply(self, timeout: float) -> dict[str, Any] | None:
        """The next line; None when it does not come in time.

        Raises:
            UserError: The process has ended by itself.
            Cancelled: The run was cancelled or stopped.
        """
        end = time.monotonic() + timeout
        while (left := end - time.monotonic()) > 0:
            self._cancel.raise_if_stopping()
            try:
                line = self._replies.get(timeout=min(_POLL_S, left))
            except queue.Empty:
                continue
            if line is None:
                raise UserError(f"its process ended by itself.{self._last_words()}")
            reply: dict[str, Any] = json.loads(line)
            return reply
        return None

    def end(self) -> None:
        """End it at once, and let go of its pipes."""
        self._process.kill()
        self._process.wait()
        for reader in self._readers:
            reader.join(_ENDING_S)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                _close(pipe)

    def _last_words(self) -> str:
        self._readers[1].join(_ENDING_S)
        return f" It said: {self._printed[-1].strip()}" if self._printed else ""

    def _listen(self, pipe: IO[str]) -> None:
        for line in pipe:
            self._replies.put(line)
        self._replies.put(None)

    def _keep(self, pipe: IO[str]) -> None:
        for line in pipe:
            if line.strip():
                self._printed.append(line[:_LONGEST_LINE])


def _close(pipe: IO[str]) -> None:
    try:
        pipe.close()
    except OSError:
        return  # what could not be sent any more


_LONGEST_LINE = 500
_TOKEN = "RLHF_WORKBENCH_TOKEN"
