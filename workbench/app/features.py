"""Numbers that a model gives for answers, kept in the experiment: only what is new is computed."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.data.folders import write_atomic
from workbench.data.records import Message
from workbench.events import Progress

log = logging.getLogger(__name__)

CACHE = "cache"
_AT_ONCE = 32

Floats = NDArray[np.float64]
Answers = Sequence[tuple[Sequence[Message], str]]
Compute = Callable[[Answers], NDArray[Any]]


def cached(
    ws: Workspace, name: str, answers: Answers, compute: Compute, cancel: CancelToken
) -> Generator[Progress, None, Floats]:
    """Numbers (A, D) of answers, from the cache or computed; a cancel loses only the last few.

    Args:
        ws: The experiment, whose folder keeps them.
        name: What they are of: model and kind of number.
        answers: Prompt and text of each; equal ones are computed once.
        compute: Gives (n, D) for some of them.
        cancel: Looked at between two lots.
    """
    folder = ws.path / CACHE / name
    keys = [_key(*answer) for answer in answers]
    known = _read(folder)
    missing = list({k: i for i, k in enumerate(keys) if k not in known}.values())
    for start in range(0, len(missing), _AT_ONCE):
        cancel.raise_if_cancelled()
        yield Progress(start, len(missing), "Reading answers")
        lot = missing[start : start + _AT_ONCE]
        # Half precision on the disk, and so for everybody: an order is the same when it is
        # worked out from the cache.
        values = np.clip(compute([answers[i] for i in lot]), -65504, 65504).astype(np.float16)
        _write(folder, [keys[i] for i in lot], values)
        known.update(zip((keys[i] for i in lot), values, strict=True))
    return np.array([known[key] for key in keys], dtype=np.float64)


def _key(prompt: Sequence[Message], text: str) -> bytes:
    said = [[m.role, m.content] for m in prompt]
    return hashlib.sha256(json.dumps([said, text]).encode()).digest()


def _read(folder: Path) -> dict[bytes, NDArray[np.float16]]:
    known: dict[bytes, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                keys, values = file["keys"], file["values"]
            known.update((key.tobytes(), row) for key, row in zip(keys, values, strict=True))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            log.warning("%s is damaged and computed again: %s", path, error)
    return known


def _write(folder: Path, keys: Sequence[bytes], values: NDArray[np.float16]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    digests = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), -1)
    np.savez(content, keys=digests, values=values)
    name = hashlib.sha256(b"".join(keys)).hexdigest()[:16]
    write_atomic(folder / f"{name}.npz", content.getvalue())
