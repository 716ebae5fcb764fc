"""TensorBoard's event files, written without TensorBoard.

A file is a row of records: length (8 bytes), its masked CRC, the data, its masked CRC. The data are
protocol buffers `tensorflow.Event`, of which figures need five fields (event.proto and
summary.proto of TensorFlow; record_writer.cc).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

Point = tuple[int, str, float, float]  # step, name, value, seconds since 1970

_POLYNOMIAL = 0x82F63B78  # CRC-32C (Castagnoli), reflected
_MASK_DELTA = 0xA282EAD8


def write_events(folder: Path, points: Iterable[Point], began: float) -> Path:
    """Write an event file into a folder; the file.

    Args:
        folder: The run's log directory; TensorBoard calls the run after it.
        points: In the order of their steps. NaN and infinity are kept: TensorBoard marks them.
        began: When the run began, in seconds since 1970; it is part of the file's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(began):010d}.rlhf-workbench"
    with path.open("wb") as file:
        for data in _events(points, began):
            length = struct.pack("<Q", len(data))
            file.write(length + _masked(length) + data + _masked(data))
    return path


def _events(points: Iterable[Point], began: float) -> Iterator[bytes]:
    yield _double(1, began) + _bytes(3, b"brain.Event:2")
    for step, name, value, seconds in points:
        figure = _bytes(1, name.encode()) + _float(2, value)
        yield _double(1, seconds) + _integer(2, step) + _bytes(5, _bytes(1, figure))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    """Seven bits at a time, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF)


def _entry(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_TABLE = tuple(_entry(byte) for byte in range(256))
