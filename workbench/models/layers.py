"""The blocks of a model: how to leave some out of a forward pass, or to compute them twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from workbench.models import lora_layers

Change = Callable[[Tensor], Tensor]


class Blocks:
    """The stack that a model's hidden states go through, lowest first.

    Attributes:
        name: Of the list that holds them, such as layers, h or block.
        modules: The blocks.
    """

    def __init__(self, stack: nn.Module) -> None:
        self.name, self.modules = _longest_outermost_list(stack)
        self._n_outputs: int | None = None  # of a tuple; None when a block returns states alone

    def __len__(self) -> int:
        return len(self.modules)

    @contextmanager
    def being_watched(self) -> Iterator[None]:
        """While open, a forward pass teaches whether blocks return a tuple or states alone."""

        def look(_module: object, _args: object, output: object) -> None:
            self._n_outputs = len(output) if isinstance(output, tuple) else None

        handle = self.modules[0].register_forward_hook(look)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def replaced(self, changes: Mapping[int, Change]) -> Iterator[None]:
        """While open, the blocks with these numbers do no more than the function given.

        Everything around them stays the architecture's own: embeddings, masks of each kind of
        layer, rotary angles, the last norm.
        """
        forwards = {self.modules[n]: self._forward(change) for n, change in changes.items()}
        with _forwards(forwards):
            yield

    @contextmanager
    def kept(self, numbers: Collection[int]) -> Iterator[dict[int, Tensor]]:
        """While open, the dictionary gets what comes out of the blocks with these numbers."""
        outputs: dict[int, Tensor] = {}

        def keep(number: int, _module: object, _args: object, output: Any) -> None:
            outputs[number] = output[0] if isinstance(output, tuple) else output

        handles = [self.modules[n].register_forward_hook(partial(keep, n)) for n in numbers]
        try:
            yield outputs
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def recomputed(self) -> Iterator[None]:
        """While open, a forward pass with gradients keeps no more of a block than its input.

        The backward pass computes the block again, with the adapters that were active in the
        forward pass: by then others may be (Chen et al. 2016, arXiv:1604.06174).
        """
        if not torch.is_grad_enabled():
            yield
            return
        with _forwards({block: _recomputing(block) for block in self.modules}):
            yield

    def _forward(self, change: Change) -> Callable[..., Any]:
        def forward(hidden_states: Tensor, *_: object, **_more: object) -> Any:
            states = change(hidden_states)
            n = self._n_outputs
            return states if n is None else (states, *[None] * (n - 1))

        return forward


@contextmanager
def _forwards(forwards: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    """While open, these modules compute with these functions."""
    # A module may have a forward of its own already: accelerate gives it one.
    before = {module: vars(module).get("forward") for module in forwards}
    for module, forward in forwards.items():
        vars(module)["forward"] = forward
    try:
        yield
    finally:
        for module, own in before.items():
            del vars(module)["forward"]
            if own is not None:
                vars(module)["forward"] = own


def _recomputing(block: nn.Module) -> Callable[..., Any]:
    """The block's forward as it is now, computed a second time in the backward pass."""
    forward, layers = block.forward, lora_layers.lora_layers(block)
    adapters = lora_layers.chosen(layers)

    def compute(*args: Any, **kwargs: Any) -> Any:
        with lora_layers.choosing(layers, adapters):
            return forward(*args, **kwargs)

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        # Nothing in a block is random: models are never in training mode.
        return checkpoint(compute, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    return recomputing


def _longest_outermost_list(stack: nn.Module) -> tuple[str, list[nn.Module]]:
    """The blocks and what the architecture calls them; lists inside a block are its own."""
    lists: dict[str, list[nn.Module]] = {}
    for name, module in stack.named_modules():
        is_inner = any(name.startswith(outer + ".") for outer in lists)
        if isinstance(module, nn.ModuleList) and not is_inner:
            lists[name] = list(module)
    name = max(lists, key=lambda name: len(lists[name]))
    return name.rsplit(".", 1)[-1], lists[name]
