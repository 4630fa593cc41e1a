"""Bodies of Prometheus remote write 1.0, made of columns: the agent's codec is for samples one by one.

A sample of our time takes 18 bytes of the message, always at the same places, so that a body is filled in by columns.
Source: https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

from collections.abc import Iterator
from functools import lru_cache

import cramjam
import numpy as np
from numpy.typing import NDArray

from forewarn.remote_write import NAME
from forewarn.store.index import Numbers
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings

HEADERS = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
_MS = 1000  # microseconds
_SIX_BYTES = (1 << 35, 1 << 42)  # the times, in milliseconds, that take six bytes: 1971 to 2109
_POINT = np.frombuffer(b"\x12\x10\x09" + bytes(8) + b"\x10" + bytes(6), np.uint8)  # field 2: value, time


def chunks(readings: Readings, samples_max: int) -> Iterator[Readings]:
    """Parts of ordered readings in the order of time, each of at most `samples_max` samples."""
    order = np.argsort(readings.time, kind="stable")
    for begin in range(0, len(readings), samples_max):
        yield readings.where(order[begin : begin + samples_max]).ordered()


def bearable(readings: Readings) -> NDArray[np.bool_]:
    """Which samples have a time that can be written: from 1971 to 2109."""
    ms = readings.time // _MS
    chosen: NDArray[np.bool_] = (ms >= _SIX_BYTES[0]) & (ms < _SIX_BYTES[1])
    return chosen


def body(readings: Readings, marker: int) -> bytes:
    """The body for ordered readings of bearable times; NaN is written with the bits `marker`."""
    points = _points(readings.time // _MS, readings.value, marker)
    begins = np.flatnonzero(np.r_[True, readings.of[1:] != readings.of[:-1]][: len(readings)])
    ends = np.r_[begins[1:], len(readings)]
    message = []
    for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
        series = _labels(readings.series[int(readings.of[begin])]) + points[begin:end].tobytes()
        message += [b"\x0a", _varint(len(series)), series]
    return bytes(cramjam.snappy.compress_raw(b"".join(message)))


def _points(ms: Numbers, value: NDArray[np.float64], marker: int) -> NDArray[np.uint8]:
    rows = np.tile(_POINT, (len(ms), 1))
    bits = np.where(np.isnan(value), np.uint64(marker), value.astype("<f8").view(np.uint64))
    rows[:, 3:11] = bits.astype("<u8").view(np.uint8).reshape(-1, 8)
    for at in range(6):
        rows[:, 12 + at] = (ms >> (7 * at)) & 0x7F | (0x80 if at < 5 else 0)
    return rows


@lru_cache(maxsize=200_000)
def _labels(key: Key) -> bytes:
    name, pairs = key
    labels = sorted([(NAME, name), *pairs])
    parts = []
    for label, text in labels:
        content = _bytes(0x0A, label) + _bytes(0x12, text)
        parts.append(b"\x0a" + _varint(len(content)) + content)
    return b"".join(parts)


def _bytes(tag: int, text: str) -> bytes:
    content = text.encode("utf-8", "replace")
    return bytes((tag,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)
