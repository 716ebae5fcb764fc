"""The program as its users start it: a process of its own, from an empty home."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests import tinymodels
from tests.e2e.forks import LIMIT_S, Ended, Forks, Running, start

REPOSITORY = Path(__file__).resolve().parents[2]
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


@pytest.fixture(scope="session")
def forks(tmp_path_factory) -> Iterator[Forks | None]:
    """What children are forked from, where that can be done."""
    if not hasattr(os, "fork"):
        yield None
        return
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    opened = Forks(environment, tmp_path_factory.mktemp("forks"))
    yield opened
    opened.close()


@pytest.fixture
def begin(forks, environment, tmp_path) -> Iterator[Callable[..., Running]]:
    """A command, or the worker, that goes on while the test watches it."""
    begun: list[Running] = []

    def run(
        *arguments: str | Path,
        module: str = "workbench",
        dies_at: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> Running:
        words = [str(argument) for argument in arguments]
        err = tmp_path / f"stderr-{len(begun)}"
        place = ({**environment, **(variables or {})}, tmp_path, err)
        if forks is None:
            begun.append(start(module, words, *place))
        else:
            begun.append(forks.start(module, words, *place, dies_at=dies_at))
        return begun[-1]

    yield run
    for running in begun:
        running.close()


def parse(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]
