"""The layers that carry LoRA adapters, which adapter each computes with, and how.

M rows, I and O numbers into and out of a linear layer, r the rank of an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora import Linear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def lora_layers(model: nn.Module) -> list[BaseTunerLayer]:
    """Every layer with adapters on it, in the order of the model's modules."""
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def switch(layers: Sequence[BaseTunerLayer], adapters: Sequence[Sequence[str]]) -> None:
    """Choose adapters layer by layer; which parameters are trainable stays as it was.

    PEFT's `set_adapter` flips `requires_grad` on the way, and putting that right costs as much as
    a short forward of a small model. Forwards read this attribute alone.
    """
    for layer, names in zip(layers, adapters, strict=True):
        layer._active_adapter = list(names)


def chosen(layers: Sequence[BaseTunerLayer]) -> list[list[str]]:
    """The adapters that each layer computes with now."""
    return [list(layer.active_adapters) for layer in layers]


@contextmanager
def choosing(layers: Sequence[BaseTunerLayer], adapters: Sequence[Sequence[str]]) -> Iterator[None]:
    """Compute with these adapters layer by layer, and afterwards with those of before."""
    before = chosen(layers)
    switch(layers, adapters)
    try:
        yield
    finally:
        switch(layers, before)


@contextmanager
def active(model: nn.Module, name: str | None) -> Iterator[None]:
    """Compute with one adapter, or with none. Outside of it none is active."""
    layers = lora_layers(model)
    with choosing(layers, [[name] if name else []] * len(layers)):
        yield


def fuse(layers: Sequence[BaseTunerLayer]) -> None:
    """Let PEFT's linear layers compute base and adapter in one step; others stay as they are."""
    for layer in layers:
        if type(layer) is Linear:
            layer.__class__ = FusedLinear


class FusedLinear(Linear):
    """PEFT's layer in all but how a plain adapter is computed: y = base(x) + s·B(A(x))."""

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """The base's output with that of the adapter added where it lies."""
        names = [name for name in self.active_adapters if name in self.lora_A]
        result: Tensor
        if not names:
            result = self.base_layer(x, *args, **kwargs)
        elif args or kwargs or not self._is_plain(names):
            result = super().forward(x, *args, **kwargs)
        else:
            a, b = self.lora_A[names[0]].weight, self.lora_B[names[0]].weight
            scale = self.scaling[names[0]]
            result = _FusedLinear.apply(  # type: ignore[no-untyped-call]
                x, a, b, scale, self.base_layer
            )
        return result

    def _is_plain(self, names: list[str]) -> bool:
        """One adapter of A and B alone, on weights that do not learn."""
        name, base = names[0], self.base_layer
        return (
            len(names) == 1
            and not (self.disable_adapters or self.merged or self.lora_bias[name])
            and name not in self.lora_variant  # DoRA and the like
            and isinstance(self.lora_dropout[name], nn.Identity)
            and not (base.weight.requires_grad or getattr(base.bias, "requires_grad", False))
        )


class _FusedLinear(torch.autograd.Function):
    """The sum is formed in the base's output, and nothing is kept but x and x·Aᵀ.

    With g = s·dy·B: ∂/∂x = dy·W + g·A, ∂/∂A = gᵀ·x, ∂/∂B = s·dyᵀ·(x·Aᵀ). The adapter's part is
    computed in its own dtype (float32), whatever the base's.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (..., I)
        a: Tensor,  # (r, I)
        b: Tensor,  # (O, r)
        scale: float,
        base: nn.Module,
    ) -> Tensor:  # (..., O)
        y: Tensor = base(x)
        down = _rows(x).to(a.dtype) @ a.t()
        if y.dtype == a.dtype:
            y.view(-1, y.shape[-1]).addmm_(down, b.t(), alpha=scale)
        else:
            y = torch.addmm(_rows(y).to(a.dtype), down, b.t(), alpha=scale).to(y.dtype).view_as(y)
        ctx.save_for_backward(x, down, a, b)
        ctx.scale, ctx.base = scale, base
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, down, a, b = ctx.saved_tensors
        dy = _rows(dy)
        wide = dy.to(a.dtype)
        g = (wide @ b).mul_(ctx.scale)
        dx = da = db = None
        if ctx.needs_input_grad[0]:
            weight, is_linear = ctx.base.weight, isinstance(ctx.base, nn.Linear)
            dx = dy @ (weight if is_linear else weight.t())  # GPT-2's Conv1D is transposed
            dx = dx.addmm_(g, a) if dx.dtype == a.dtype else dx.add_(g @ a)
            dx = dx.view(x.shape)
        if ctx.needs_input_grad[1]:
            da = g.t() @ _rows(x).to(a.dtype)
        if ctx.needs_input_grad[2]:
            db = (wide.t() @ down).mul_(ctx.scale)
        return dx, da, db, None, None


def _rows(x: Tensor) -> Tensor:  # (..., N) -> (M, N)
    return x.reshape(-1, x.shape[-1])
