"""What the program takes of the memory it computes in."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil

from workbench.app.workspace import Workspace


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Device, and bytes in use of all there are."""

    device: str
    used_bytes: int
    total_bytes: int


def memory(ws: Workspace) -> MemoryUse:
    """Memory of the card once a model lies on one, else of this process; asked in microseconds."""
    torch = sys.modules.get("torch")
    if torch is not None and ws.is_model_loaded and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info()
        return MemoryUse("cuda:0", total - free, total)
    return MemoryUse("cpu", psutil.Process().memory_info().rss, psutil.virtual_memory().total)
