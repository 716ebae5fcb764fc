from __future__ import annotations

import os
import subprocess
import sys

import pytest

from workbench.data.processes import is_alive


def test_living_and_dead_processes_are_told_apart() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.communicate(b"\n")
    assert not is_alive(process.pid)
    assert is_alive(os.getpid())


@pytest.mark.parametrize("pid", [0, -1])
def test_ids_that_mean_groups_of_processes_are_no_process(pid: int) -> None:
    assert not is_alive(pid)
