"""The blocks of a model, and how to leave some of them out of a forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

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
        attributes = {number: vars(self.modules[number]) for number in changes}
        # A module may have a forward of its own already: accelerate gives it one.
        before = {number: own.get("forward") for number, own in attributes.items()}
        for number, change in changes.items():
            attributes[number]["forward"] = self._forward(change)
        try:
            yield
        finally:
            for number, own in attributes.items():
                del own["forward"]
                if before[number] is not None:
                    own["forward"] = before[number]

    def _forward(self, change: Change) -> Callable[..., Any]:
        def forward(hidden_states: Tensor, *_: object, **_more: object) -> Any:
            states = change(hidden_states)
            n = self._n_outputs
            return states if n is None else (states, *[None] * (n - 1))

        return forward


def _longest_outermost_list(stack: nn.Module) -> tuple[str, list[nn.Module]]:
    """The blocks and what the architecture calls them; lists inside a block are its own."""
    lists: dict[str, list[nn.Module]] = {}
    for name, module in stack.named_modules():
        is_inner = any(name.startswith(outer + ".") for outer in lists)
        if isinstance(module, nn.ModuleList) and not is_inner:
            lists[name] = list(module)
    name = max(lists, key=lambda name: len(lists[name]))
    return name.rsplit(".", 1)[-1], lists[name]
