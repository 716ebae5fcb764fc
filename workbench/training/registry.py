"""Which module trains which algorithm; imported when it is needed, since torch takes seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

from workbench.cancel import CancelToken
from workbench.config.algorithms import find
from workbench.events import Event
from workbench.training.inputs import Inputs

Train = Callable[[Any, Inputs, CancelToken], Iterator[Event]]


def trainer(algorithm: str) -> Train:
    """The `train(settings, inputs, cancel)` of an algorithm; the reward model is one of them.

    Raises:
        UserError: There is no such algorithm.
    """
    name = find(algorithm).module
    train: Train = importlib.import_module(f"workbench.training.{name}").train
    return train
