"""Processes that cost no start: forked from one that has imported all that a run needs.

Where there is no fork, they are started.
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

LIMIT_S = 240
# A keeper beside each child waits for it and tells its exit code; the process itself goes on to
# the next request, so that children can run side by side.
_FORKS = """
import importlib, json, os, signal, socket, sys
import peft
from transformers import AutoTokenizer, LlamaForCausalLM
from workbench import cli, worker
from workbench.training import ilql, kto, online_dpo, ppo, reward_model

MAINS = {"workbench": "workbench.cli", "workbench.worker": "workbench.worker"}

class Watched:
    def __init__(self, step):
        self.step = step
        self.line = ""

    def write(self, text):
        self.line += text
        while "\\n" in self.line:
            line, self.line = self.line.split("\\n", 1)
            event = json.loads(line)
            if event["event"] == "Step" and event["step"] == self.step:
                os.kill(os.getpid(), signal.SIGKILL)

    def flush(self):
        pass

def work(module, arguments, environment, folder, dies_at):
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if dies_at:
        sys.stdout = Watched(dies_at)
    return importlib.import_module(MAINS[module]).main(arguments)

channel = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    request, descriptors, *_ = socket.recv_fds(channel, 1 << 16, 3)
    while request and not request.endswith(b"\\n"):
        request += channel.recv(1 << 16)
    if not request:
        break
    if os.fork() == 0:
        channel.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        child = os.fork()
        for i in (1, 2):
            os.dup2(descriptors[i - 1], i)
            os.close(descriptors[i - 1])
        if child == 0:
            os.close(descriptors[2])
            sys.exit(work(*json.loads(request)))
        os.closerange(0, 3)
        os.write(descriptors[2], f"{child}\\n".encode())
        _, status = os.waitpid(child, 0)
        os.write(descriptors[2], f"{os.waitstatus_to_exitcode(status)}\\n".encode())
        os._exit(0)
    for descriptor in descriptors:
        os.close(descriptor)
"""


@dataclass
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def imported(self) -> set[str]:
        """Of the libraries that take long, those that it took in, where it told them."""
        return set(self.err.rsplit("imported:", 1)[-1].split())


class Running:
    """A process that goes on while a test watches what it says."""

    def __init__(
        self, stdout: TextIO, err: Path, send_signal: Callable[[int], None], wait: Callable[[], int]
    ) -> None:
        self.stdout = stdout
        self.send_signal = send_signal
        self._err, self._wait = err, wait
        self._code: int | None = None

    @property
    def err(self) -> str:
        """What it has written to the standard error so far."""
        return self._err.read_text(encoding="utf-8")

    def wait(self) -> int:
        """Wait for its end, and give its exit code."""
        if self._code is None:
            self._code = self._wait()
        return self._code

    def end(self) -> Ended:
        """Read what it still says, and wait for its end."""
        out = self.stdout.read()
        return Ended(self.wait(), out, self.err)

    def close(self) -> None:
        """Kill it if it still runs."""
        if self._code is None:
            self.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        self.wait()
        self.stdout.close()


class Forks:
    """The process that children are forked from."""

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._channel, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-u", "-c", _FORKS, str(theirs.fileno())],
                env=environment,
                cwd=folder,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        err: Path,
        dies_at: int = 0,
    ) -> Running:
        """Fork a child that calls `main` of a module; `dies_at` the step after it kills itself."""
        read_out, write_out = os.pipe()
        read_told, write_told = os.pipe()
        request = json.dumps([module, list(arguments), dict(environment), str(folder), dies_at])
        with err.open("wb") as file:
            descriptors = [write_out, file.fileno(), write_told]
            first, rest = request[:1], request[1:]
            socket.send_fds(self._channel, [first.encode()], descriptors)
            self._channel.sendall(rest.encode() + b"\n")
        os.close(write_out)
        os.close(write_told)
        told = os.fdopen(read_told)
        child = int(told.readline())

        def wait() -> int:
            with told:
                return int(told.readline())

        return Running(os.fdopen(read_out), err, functools.partial(os.kill, child), wait)

    def close(self) -> None:
        """End it; its children have ended before."""
        self._channel.close()
        assert self._process.wait(60) == 0


def start(
    module: str, arguments: Sequence[str], environment: Mapping[str, str], folder: Path, err: Path
) -> Running:
    """The same as a process of its own."""
    with err.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            env=environment,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
        )
    assert process.stdout is not None
    return Running(process.stdout, err, process.send_signal, process.wait)
