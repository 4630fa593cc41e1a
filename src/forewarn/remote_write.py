"""The body of Prometheus remote write 1.0: samples to bytes and back. Pure; no network, no clock.

A body is the protobuf message `prometheus.WriteRequest` in snappy's block format. The reader takes what strangers send:
it looks at the announced size before it decompresses, stops at the first sample past a limit, skips fields that it does
not know (metadata, exemplars, histograms), and raises nothing but RemoteWriteError.
Source: https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

import math
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import cramjam

from forewarn.domain.telemetry import Sample
from forewarn.errors import RemoteWriteError

NAME = "__name__"
STALE = 0x7FF0000000000002  # the bits of the NaN by which Prometheus says that a series has ended

LABELS_REMEMBERED = 4096  # as written; the series of a large host share some 1,000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)
_MS_MAX = (datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH) // _MS
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXPANSION_MAX = 64  # no element of a snappy block stands for more bytes than this


@dataclass(frozen=True)
class Limits:
    """What a body may hold."""

    bytes_max: int = 16 << 20
    """Size of the message once it is decompressed."""
    series_max: int = 50_000
    """Series in one body."""
    samples_max: int = 50_000
    """Samples in one body."""
    labels_max: int = 64
    """Labels of one series."""
    label_bytes_max: int = 2048
    """Size of a label's name or value."""


# --- Writing ----------------------------------------------------------------------------------------------------------


def encode(samples: Iterable[Sample], labels: Mapping[str, str], time: datetime | None = None) -> bytes:
    """The body for samples; `time` is that of those which say none themselves.

    `labels` go to every series, and stand before what a sample itself says. Raises ValueError where there is no time.

    >>> sample = Sample("up", {"a": "b"}, 1.0, datetime(2026, 1, 1, tzinfo=UTC))
    >>> [again] = decode(encode([sample], {"instance": "host03"}), Limits())
    >>> again.name, again.labels, again.value, again.time == sample.time
    ('up', {'a': 'b', 'instance': 'host03'}, 1.0, True)
    """
    series: dict[bytes, list[tuple[int, float]]] = {}
    for sample in samples:
        when = sample.time or time
        if when is None:
            raise ValueError(f"a sample of {sample.name} has no time")
        named = {**sample.labels, **labels, NAME: sample.name}
        series.setdefault(_labels(named), []).append(((when - _EPOCH) // _MS, sample.value))
    message = bytearray()
    for head in tuple(series):  # what is written is let go: the agent that sends this is to stay small
        points = sorted(series.pop(head), key=lambda point: point[0])
        message += _field(1, head + b"".join([_field(2, _point(*point)) for point in points]))
    return bytes(cramjam.snappy.compress_raw(message))


def _labels(named: Mapping[str, str]) -> bytes:
    """The labels of a series in the order of their names; an empty one is none."""
    return b"".join([_label(name, value) for name, value in sorted(named.items()) if value])


@lru_cache(LABELS_REMEMBERED)
def _label(name: str, value: str) -> bytes:
    return _field(1, _field(1, _text(name)) + _field(2, _text(value)))


def _point(time: int, value: float) -> bytes:
    return b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(time & 0xFFFFFFFFFFFFFFFF)


def _text(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


# --- Reading ----------------------------------------------------------------------------------------------------------


def decode(body: bytes, limits: Limits) -> list[Sample]:
    """The samples in a body, without those that only say that a series has ended.

    Raises RemoteWriteError: `too_large` for a body past a limit, `malformed` for anything else that is wrong.
    """
    message = memoryview(_decompressed(body, limits.bytes_max))
    found: list[Sample] = []
    series = 0
    for number, kind, value in _fields(message):
        if number != 1:
            continue
        series += 1
        if series > limits.series_max:
            raise RemoteWriteError(f"more than {limits.series_max} series", "too_large")
        _read_series(_content(kind, value), limits, found)
    return found


def _decompressed(body: bytes, bytes_max: int) -> bytes:
    size, _ = _read_varint(memoryview(body), 0)
    if size > bytes_max:
        raise RemoteWriteError(f"{size} bytes when decompressed; at most {bytes_max} are taken", "too_large")
    if size > len(body) * _EXPANSION_MAX:
        raise RemoteWriteError(f"{len(body)} bytes cannot hold {size}")
    try:
        message = bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise RemoteWriteError(f"not a snappy block: {error}") from error
    if len(message) != size:
        raise RemoteWriteError(f"{len(message)} bytes where {size} were announced")
    return message


def _read_series(content: memoryview, limits: Limits, found: list[Sample]) -> None:
    labels: dict[str, str] = {}
    points: list[tuple[int, float]] = []
    for number, kind, value in _fields(content):
        if number == 1:
            _read_label(_content(kind, value), limits, labels)
        elif number == 2:
            points.append(_read_point(_content(kind, value)))
            if len(found) + len(points) > limits.samples_max:
                raise RemoteWriteError(f"more than {limits.samples_max} samples", "too_large")
    labels = {name: labels[name] for name in sorted(labels) if labels[name]}
    name = labels.pop(NAME, "")
    if not name:
        raise RemoteWriteError(f"a series without {NAME}")
    found += [Sample(name, labels, value, _EPOCH + time * _MS) for time, value in points if not _ends(value)]


def _ends(value: float) -> bool:
    return math.isnan(value) and struct.unpack("<Q", struct.pack("<d", value))[0] == STALE


def _read_label(content: memoryview, limits: Limits, labels: dict[str, str]) -> None:
    name = value = ""
    for number, kind, found in _fields(content):
        if number == 1:
            name = _read_text(_content(kind, found), limits.label_bytes_max)
        elif number == 2:
            value = _read_text(_content(kind, found), limits.label_bytes_max)
    if not name:
        raise RemoteWriteError("a label without a name")
    if name in labels:
        raise RemoteWriteError(f"two labels {name!r} in one series")
    if len(labels) >= limits.labels_max:
        raise RemoteWriteError(f"more than {limits.labels_max} labels of one series", "too_large")
    labels[name] = value


def _read_text(content: memoryview, bytes_max: int) -> str:
    if len(content) > bytes_max:
        raise RemoteWriteError(f"a label of {len(content)} bytes; at most {bytes_max} are taken", "too_large")
    try:
        return str(content, "utf-8")
    except UnicodeDecodeError as error:
        raise RemoteWriteError(f"a label that is not UTF-8: {error.reason}") from error


def _read_point(content: memoryview) -> tuple[int, float]:
    time, value = 0, 0.0
    for number, kind, found in _fields(content):
        if number == 1:
            if kind != _FIXED64 or not isinstance(found, memoryview):
                raise RemoteWriteError(f"a value of wire type {kind}")
            (value,) = struct.unpack("<d", found)
        elif number == 2:
            if kind != _VARINT or not isinstance(found, int):
                raise RemoteWriteError(f"a time of wire type {kind}")
            time = found - (1 << 64) if found >> 63 else found
    if not 0 <= time <= _MS_MAX:
        raise RemoteWriteError(f"{time} ms is no time of a sample")
    return time, value


def _content(kind: int, value: int | memoryview) -> memoryview:
    if kind != _BYTES or not isinstance(value, memoryview):
        raise RemoteWriteError(f"wire type {kind} where bytes are expected")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Each field of a message: its number, its wire type, and its number or its bytes."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise RemoteWriteError(f"there is no field {number}")
        if kind == _VARINT:
            value, at = _read_varint(message, at)
            yield number, kind, value
            continue
        size, at = _size(message, at, kind)
        if size > end - at:
            raise RemoteWriteError(f"a field of {size} bytes where {end - at} are left")
        yield number, kind, message[at : at + size]
        at += size


def _size(message: memoryview, at: int, kind: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _read_varint(message, at)
    if kind in (_FIXED64, _FIXED32):
        return (8 if kind == _FIXED64 else 4), at
    raise RemoteWriteError(f"there is no wire type {kind}")


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message) and shift < 70:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                raise RemoteWriteError("a number of more than 64 bits")
            return value, at
        shift += 7
    raise RemoteWriteError("a number without an end")
