"""Heads of weight files, read without loading a weight: safetensors and GGUF."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

_MAX_HEADER = 100_000_000  # the limit of the safetensors library itself
_SAFETENSORS_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I8": "int8",
    "U8": "uint8",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
# Scalar kinds of GGUF values by their number: struct letter.
_GGUF_SCALARS = {
    0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
}  # fmt: skip
_GGUF_STRING, _GGUF_ARRAY = 8, 9
_N_SAMPLES, _SAMPLE = 64, 4096


class BrokenHeaderError(Exception):
    """The file is not what its name says, or is not all there; the text is half a sentence."""


@dataclass(frozen=True, slots=True)
class WeightFile:
    """What the head of one weight file says."""

    n_parameters: int
    dtype: str
    tensor_names: frozenset[str]


def read_safetensors(path: Path) -> WeightFile:
    """Names, sizes and kinds of the tensors, checked against the length of the file.

    Raises:
        BrokenHeaderError: The file is cut off or no safetensors file.
    """
    size = path.stat().st_size
    header, start = _safetensors_header(path, size)
    n_by_dtype: Counter[str] = Counter()
    end = 0
    try:
        tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}
        for entry in tensors.values():
            n_by_dtype[entry["dtype"]] += math.prod(entry["shape"])
            end = max(end, entry["data_offsets"][1])
    except (TypeError, KeyError, IndexError) as error:
        raise BrokenHeaderError("its list of weights cannot be read") from error
    if start + end != size:
        missing = start + end - size
        what = f"{missing:,} bytes are missing" if missing > 0 else "it is longer than it says"
        raise BrokenHeaderError(what)
    commonest = max(n_by_dtype, key=lambda dtype: n_by_dtype[dtype], default="")
    dtype = _SAFETENSORS_DTYPES.get(commonest, commonest.lower())
    return WeightFile(n_by_dtype.total(), dtype, frozenset(tensors))


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shape of each tensor, by its name.

    Raises:
        BrokenHeaderError: The file is no safetensors file.
    """
    header, _ = _safetensors_header(path, path.stat().st_size)
    try:
        return {n: tuple(entry["shape"]) for n, entry in header.items() if n != "__metadata__"}
    except (TypeError, KeyError) as error:
        raise BrokenHeaderError("its list of weights cannot be read") from error


def _safetensors_header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, _MAX_HEADER):
            raise BrokenHeaderError("it ends before its list of weights does")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise BrokenHeaderError("its list of weights cannot be read") from error
    if not isinstance(header, dict):
        raise BrokenHeaderError("its list of weights cannot be read")
    return header, 8 + length


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """Scalars of a GGUF file's metadata, and how many weights it holds."""

    values: dict[str, object]
    n_parameters: int

    def text(self, key: str) -> str:
        """A value as text; empty when the file does not have it."""
        return str(self.values.get(key, ""))


def read_gguf(path: Path) -> GgufHeader:
    """The metadata of a GGUF file; arrays (the vocabulary) are skipped.

    The gguf package builds an object per vocabulary entry, which takes seconds; a list of
    models must not.

    Raises:
        BrokenHeaderError: The file is cut off or no GGUF file.
    """
    with path.open("rb") as file:
        magic, version = file.read(4), _number(file, "I") if path.stat().st_size >= 24 else 0
        if magic != b"GGUF":
            raise BrokenHeaderError("it is no GGUF file")
        if version not in (2, 3):
            raise BrokenHeaderError(f"it is of GGUF version {version}, which is not read here")
        n_tensors, n_values = _number(file, "Q"), _number(file, "Q")
        values: dict[str, object] = {}
        for _ in range(n_values):
            key, value = _string(file), _value(file, _number(file, "I"))
            if value is not None:
                values[key] = value
        n_parameters = sum(_tensor_size(file) for _ in range(n_tensors))
    return GgufHeader(values, n_parameters)


def _number(file: BinaryIO, letter: str) -> int:
    size = struct.calcsize("<" + letter)
    block = file.read(size)
    if len(block) < size:
        raise BrokenHeaderError("it ends before its list of weights does")
    value: int = struct.unpack("<" + letter, block)[0]
    return value


def _string(file: BinaryIO) -> str:
    length = _number(file, "Q")
    if length > _MAX_HEADER:
        raise BrokenHeaderError("its metadata cannot be read")
    return file.read(length).decode("utf-8", "replace")


def _value(file: BinaryIO, kind: int) -> object:
    if kind in _GGUF_SCALARS:
        return _number(file, _GGUF_SCALARS[kind])
    if kind == _GGUF_STRING:
        return _string(file)
    if kind != _GGUF_ARRAY:
        raise BrokenHeaderError("its metadata cannot be read")
    inner, length = _number(file, "I"), _number(file, "Q")
    if inner in _GGUF_SCALARS:
        file.seek(length * struct.calcsize("<" + _GGUF_SCALARS[inner]), 1)
    else:
        for _ in range(length):
            _value(file, inner)
    return None


def _tensor_size(file: BinaryIO) -> int:
    _string(file)
    shape = [_number(file, "Q") for _ in range(_number(file, "I"))]
    file.seek(4 + 8, 1)
    return math.prod(shape)


def sampled_digest(path: Path) -> str:
    """SHA-256 over the size of a large file and over evenly spaced blocks of it.

    Sixty-four blocks of 4 KiB with the head tell versions of a model apart in a millisecond,
    where a digest of the whole takes seconds per gigabyte.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(1 << 20))
        for i in range(_N_SAMPLES):
            file.seek(max(0, (size - _SAMPLE) * i // (_N_SAMPLES - 1)))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()


def full_digest(path: Path, on_block: Callable[[int], None] = lambda _: None) -> str:
    """SHA-256 of a whole file; `on_block` gets the number of bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
            done += len(block)
            on_block(done)
    return digest.hexdigest()
