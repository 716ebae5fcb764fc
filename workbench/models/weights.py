"""How weights come in: with progress, with a chance to cancel, in four bits when asked."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from transformers import BitsAndBytesConfig
from transformers.utils import logging as hf_logging

from workbench.cancel import CancelToken
from workbench.errors import UserError

OnProgress = Callable[[int, int, str], None]
Quantise = Literal["none", "nf4"]


def nf4(device: str, dtype: torch.dtype) -> dict[str, Any]:
    """Options for weights in 4-bit NormalFloat, their scales quantised again (QLoRA, section 3).

    Dettmers et al. 2023, arXiv:2305.14314. The output head stays as it is.
    """
    if torch.device(device).type != "cuda":
        raise UserError(
            "4-bit weights need a CUDA card, and the model is to be on another device.",
            "Load it without 4-bit weights.",
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(
            "4-bit weights need the package bitsandbytes, which is not installed.",
            'Install it with: pip install "rlhf-workbench[gpu]"',
        )
    make: Any = BitsAndBytesConfig
    config = make(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    return {"quantization_config": config, "device_map": {"": device}}


@contextmanager
def weights_progress(cancel: CancelToken, on_progress: OnProgress) -> Iterator[None]:
    """Turn transformers' progress bar into ours, and its every tick into a chance to cancel."""

    def hook(_factory: Any, args: Any, kwargs: Any) -> Any:
        items = args[0] if args else kwargs.get("iterable", ())
        return _Ticks(items, kwargs.get("total"))

    class _Ticks:
        def __init__(self, items: Any, total: int | None) -> None:
            self.items = items
            self.total = total or (len(items) if hasattr(items, "__len__") else 0)

        def __iter__(self) -> Iterator[Any]:
            for done, item in enumerate(self.items):
                cancel.raise_if_cancelled()
                on_progress(done, self.total, "Loading weights")
                yield item

        def __enter__(self) -> _Ticks:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, _n: int = 1) -> None:
            cancel.raise_if_cancelled()

        def close(self) -> None:
            on_progress(self.total, self.total, "Loading weights")

    previous = hf_logging.set_tqdm_hook(hook)
    try:
        yield
    finally:
        hf_logging.set_tqdm_hook(previous)
