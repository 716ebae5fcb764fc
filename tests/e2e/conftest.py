"""The program as its users start it: a process of its own, from an empty home."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels

REPOSITORY = Path(__file__).resolve().parents[2]
LIMIT_S = 240
# Runs a command and tells whether it took Qt or torch in.
_RUN = """
import sys
from workbench.cli import main
try:
    code = main(sys.argv[1:])
except SystemExit as end:
    code = end.code
names = {name.split(".")[0] for name in sys.modules}
print("imported:", *sorted(names & {"PySide6", "pyqtgraph", "torch"}), file=sys.stderr)
sys.exit(code)
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
        return set(self.err.rsplit("imported:", 1)[-1].split())


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    """A Llama of a few thousand random weights that knows seventeen words."""
    return tinymodels.write(tmp_path_factory.mktemp("models") / "random-llama", "llama")


@pytest.fixture
def environment(home) -> dict[str, str]:
    return {
        **os.environ,
        "RLHF_WORKBENCH_HOME": str(home),
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONUNBUFFERED": "1",
    }


@pytest.fixture
def command(environment, tmp_path) -> Callable[..., Ended]:
    def run(*arguments: str | Path) -> Ended:
        done = subprocess.run(
            [sys.executable, "-c", _RUN, *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        events = parse(done.stdout) if "--json" in arguments else []
        return Ended(done.returncode, done.stdout, done.stderr, events)

    return run


@pytest.fixture
def start(environment, tmp_path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """A command that goes on while the test watches it."""
    started: list[subprocess.Popen[str]] = []

    def run(*arguments: str | Path) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "workbench", *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def parse(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]
