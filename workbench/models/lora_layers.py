"""The layers that carry LoRA adapters, and which adapter each computes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


def lora_layers(model: nn.Module) -> list[BaseTunerLayer]:
    """Every layer with adapters on it, in the order of the model's modules."""
    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]


def switch(model: nn.Module, adapters: Sequence[Sequence[str]]) -> None:
    """Choose adapters layer by layer; which parameters are trainable stays as it was."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    for layer, names in zip(lora_layers(model), adapters, strict=True):
        layer.set_adapter(list(names), inference_mode=True)
    for parameter, is_trainable in flags:
        parameter.requires_grad_(is_trainable)


@contextmanager
def active(model: nn.Module, name: str | None) -> Iterator[None]:
    """Compute with one adapter, or with none. Outside of it none is active."""
    before = [list(layer.active_adapters) for layer in lora_layers(model)]
    switch(model, [[name] if name else []] * len(before))
    try:
        yield
    finally:
        switch(model, before)
