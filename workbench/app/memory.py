"""What the program takes of the memory it computes in, and how much it may."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import psutil

from workbench.app.workspace import Workspace
from workbench.models.memory import free_cuda_bytes, free_ram_bytes


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Device, and bytes in use of all there are."""

    device: str
    used_bytes: int
    total_bytes: int


def memory(ws: Workspace) -> MemoryUse:
    """Memory of the card once a model lies on one, else of this process; asked in microseconds."""
    if (card := _card(ws)) is not None:
        free, total, _ = card
        return MemoryUse("cuda:0", total - free, total)
    return MemoryUse("cpu", psutil.Process().memory_info().rss, psutil.virtual_memory().total)


def room(ws: Workspace, free_on_card: int | None) -> MemoryUse:
    """Memory that a run may take in all, and what this program holds of it already.

    Args:
        ws: The experiment.
        free_on_card: What `free_cuda_bytes` said before a model lay on the card; None without one.
    """
    if (card := _card(ws)) is not None:
        free, _, held = card
        return MemoryUse("cuda:0", held, free + held)
    if free_on_card is not None:
        return MemoryUse("cuda:0", 0, free_on_card)
    held = psutil.Process().memory_info().rss
    return MemoryUse("cpu", held, free_ram_bytes() + held)


def free_on_card() -> int | None:
    """Free memory of the emptiest card, or None without one; it starts a program to ask."""
    return free_cuda_bytes()


def _card(ws: Workspace) -> tuple[int, int, int] | None:
    """Free and whole memory of the card that the model lies on, and what torch holds of it."""
    torch = sys.modules.get("torch")
    if torch is None or not ws.is_model_loaded or not torch.cuda.is_initialized():
        return None
    free, total = torch.cuda.mem_get_info()
    return free, total, torch.cuda.memory_reserved()
