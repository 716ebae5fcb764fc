"""Numbers that a model gives for answers, kept in the experiment: only what is new is computed."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.app.workspace import Workspace
from workbench.cancel import CancelToken
from workbench.data.folders import write_atomic
from workbench.data.records import Message
from workbench.events import Progress

if TYPE_CHECKING:
    from workbench.models.loading import LoadedModel

log = logging.getLogger(__name__)

CACHE = "cache"
_ABOUT = "about.json"
_AT_ONCE = 32

Floats = NDArray[np.float64]
Answers = Sequence[tuple[Sequence[Message], str]]
Compute = Callable[[Answers], NDArray[Any]]


class States(NamedTuple):
    """What some layers of the base make of answers."""

    values: NDArray[np.float32]  # (A, L, 2, H), in the order of `rewards.features.POOLINGS`
    layers: tuple[int, ...]


def states(
    ws: Workspace, model: LoadedModel, answers: Answers, cancel: CancelToken
) -> Generator[Progress, None, States]:
    """States of answers after several layers, kept in the experiment."""
    layers = tuple(depths(model.n_layers))
    flat = yield from cached(ws, _name(model.info.digest), answers, _reader(model), cancel)
    shape = (len(answers), len(layers), 2, -1)
    folder = ws.path / CACHE / _name(model.info.digest)
    if answers and not (folder / _ABOUT).is_file():
        write_atomic(folder / _ABOUT, json.dumps({"layers": layers}).encode())
    return States(flat.astype(np.float32).reshape(shape), layers)


def last_states(
    ws: Workspace, model: LoadedModel, answers: Answers, cancel: CancelToken
) -> Generator[Progress, None, Floats]:
    """Those after the last layer, (A, 2H); the others are kept beside them."""
    part = slice(-2 * model.hidden_size, None)
    found = yield from cached(ws, _name(model.info.digest), answers, _reader(model), cancel, part)
    return found.astype(np.float64)


def known_states(ws: Workspace, digest: str, answers: Answers) -> States | int:
    """As `states`, without the model; when some are not kept yet, how many."""
    folder = ws.path / CACHE / _name(digest)
    known = _read(folder)
    keys = [_key(*answer) for answer in answers]
    try:
        layers = tuple(json.loads((folder / _ABOUT).read_text(encoding="utf-8"))["layers"])
    except (OSError, ValueError, KeyError):
        return len(keys)
    if n_missing := len({key for key in keys if key not in known}):
        return n_missing
    values = np.array([known[key] for key in keys], dtype=np.float32)
    return States(values.reshape(len(keys), len(layers), 2, -1), layers)


def depths(n_layers: int) -> Sequence[int]:
    """The layers whose states are kept, the lowest layer being 1; the last is always there.

    From a third on: what is good or bad of an answer is not seen yet lower down.
    """
    return sorted({max(1, round(n_layers * part / 6)) for part in range(2, 7)})


def _name(digest: str) -> str:
    return f"states-{digest[:16]}"


def _reader(model: LoadedModel) -> Compute:
    def compute(answers: Answers) -> NDArray[Any]:
        from workbench.rewards.features import answer_features

        prompts, texts = [p for p, _ in answers], [text for _, text in answers]
        return answer_features(model, prompts, texts, depths(model.n_layers)).reshape(
            len(answers), -1
        )

    return compute


def cached(
    ws: Workspace,
    name: str,
    answers: Answers,
    compute: Compute,
    cancel: CancelToken,
    part: slice = slice(None),
) -> Generator[Progress, None, NDArray[np.float16]]:
    """Numbers (A, D) of answers, from the cache or computed; a cancel loses only the last few.

    Args:
        ws: The experiment, whose folder keeps them.
        name: What they are of: model and kind of number.
        answers: Prompt and text of each; equal ones are computed once.
        compute: Gives (n, D) for some of them.
        cancel: Looked at between two lots.
        part: Which of the D numbers are given; all are kept.
    """
    folder = ws.path / CACHE / name
    keys = [_key(*answer) for answer in answers]
    known = _read(folder, part)
    missing = list({k: i for i, k in enumerate(keys) if k not in known}.values())
    for start in range(0, len(missing), _AT_ONCE):
        cancel.raise_if_cancelled()
        yield Progress(start, len(missing), "Reading answers")
        lot = missing[start : start + _AT_ONCE]
        # Half precision on the disk, and so for everybody: an order is the same when it is
        # worked out from the cache.
        values = np.clip(compute([answers[i] for i in lot]), -65504, 65504).astype(np.float16)
        _write(folder, [keys[i] for i in lot], values)
        known.update(zip((keys[i] for i in lot), values[:, part], strict=True))
    return np.array([known[key] for key in keys], dtype=np.float16)


def _key(prompt: Sequence[Message], text: str) -> bytes:
    said = [[m.role, m.content] for m in prompt]
    return hashlib.sha256(json.dumps([said, text]).encode()).digest()


def _read(folder: Path, part: slice = slice(None)) -> dict[bytes, NDArray[np.float16]]:
    known: dict[bytes, NDArray[np.float16]] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with np.load(path, allow_pickle=False) as file:
                keys, values = file["keys"], file["values"]
            rows = np.ascontiguousarray(values[:, part])
            known.update((key.tobytes(), row) for key, row in zip(keys, rows, strict=True))
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
