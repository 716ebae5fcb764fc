"""The processes that train together under torchrun or accelerate; alone, rank 0 of 1.

Answers and gradients are computed in shares; everything else (advantages, orders, steps) every
process computes alike from the same numbers, so that one process and several take the same path
up to the order of floating-point sums. Settings mean the whole: a batch of 16 on two processes is
8 answers on each.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: Number of this process; only 0 writes.
        size: How many there are.
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def join(cls) -> Ranks:
        """Join the processes that torchrun or accelerate started, if they did.

        On cards each process takes the one of its local rank. Call `leave` at the end.
        """
        size = int(os.environ.get("WORLD_SIZE", "1"))
        if size == 1:
            return cls()
        has_card = torch.cuda.is_available()
        if has_card:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if has_card else "gloo")
        return cls(dist.get_rank(), size)

    def leave(self) -> None:
        """Part from the other processes."""
        if self.size > 1:
            dist.destroy_process_group()

    @property
    def is_main(self) -> bool:
        """Whether this process writes checkpoints and tells events."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Which of `n` rows in order are this process's; shares differ by one row at most."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def gathered(self, mine: T) -> list[T]:
        """What every process passed, in order of their ranks."""
        if self.size == 1:
            return [mine]
        everyone: list[T | None] = [None] * self.size
        dist.all_gather_object(everyone, mine)
        return [x for x in everyone if x is not None]

    def sum_gradients_(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in place.

        A process whose share of a minibatch was empty has none and adds 0.
        """
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            dist.all_reduce(parameter.grad)

    def summed(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Figures added up over all processes; a name may be missing in some."""
        total: dict[str, float] = {}
        for part in self.gathered(dict(figures)):
            for name, value in part.items():
                total[name] = total.get(name, 0.0) + value
        return total

    def any(self, flag: bool) -> bool:
        """Whether any process says yes: they must stop at the same step."""
        return any(self.gathered(flag))
