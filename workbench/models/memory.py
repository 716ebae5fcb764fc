"""How much memory is free, asked without importing torch."""

from __future__ import annotations

import functools
import logging
import shutil
import subprocess
import time
from pathlib import Path

import psutil

log = logging.getLogger(__name__)

_CGROUP = Path("/sys/fs/cgroup")
_FRESH_S = 10


def free_ram_bytes() -> int:
    """Memory that a new program may take, within the limit of a container if there is one."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = (_CGROUP / "memory.max").read_text().strip()
        used = int((_CGROUP / "memory.current").read_text())
        return min(free, int(limit) - used) if limit != "max" else free
    except (OSError, ValueError):
        return free


def free_cuda_bytes() -> int | None:
    """Free memory of the emptiest NVIDIA card; None without a card."""
    return _ask_nvidia_smi(int(time.monotonic()) // _FRESH_S)


@functools.lru_cache(maxsize=1)
def _ask_nvidia_smi(_moment: int) -> int | None:
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    command = [program, "--query-gpu=memory.free", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
        return max((int(line) << 20 for line in answer.stdout.split()), default=None)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        log.info("nvidia-smi did not answer: %s", error)
        return None
