"""The layers that carry LoRA adapters, and which adapter each computes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn


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
