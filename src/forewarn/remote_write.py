"""The body of Prometheus remote write 1.0: samples to bytes and back. Pure; no network, no clock.

A body is the protobuf message `prometheus.WriteRequest` in snappy's block format. The reader takes what strangers send:
it looks at the announced size before it decompresses, stops at the first sample past a limit, skips fields that it does
not know (metadata, exemplars, histograms), and raises nothing but RemoteWriteError.

A sender names the same series again and again. A `Reader` remembers each by the bytes of its labels, so that it takes
them apart once, and afterwards one look-up tells the series.
Source: https://prometheus.io/docs/specs/prw/remote_write_spec/
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import cramjam

from forewarn.domain.telemetry import Sample, Series, Shown
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


# A sample behind the labels of its series, as everybody writes it: a field of 16 bytes, the value, and 6 bytes of time,
# which reach from 1971 to 2109.
_ONE = struct.Struct("<3sd7s")
_ONE_BYTES, _ONE_HEAD = 18, b"\x12\x10\x09"


def decode(body: bytes, limits: Limits) -> list[Sample]:
    """The samples in a body, without those that only say that a series has ended.

    Raises RemoteWriteError: `too_large` for a body past a limit, `malformed` for anything else that is wrong.
    """
    return list(Reader(limits).read(body))


class Reader:
    """Reads bodies, and remembers up to `remembered_max` series. Safe to use from several threads.

    `host_of` says of which host a series speaks, by its labels. Past what may be remembered, the half is forgotten that
    was not asked for again lately.
    """

    def __init__(
        self, limits: Limits, host_of: Callable[[Mapping[str, str]], str] | None = None, remembered_max: int = 100_000
    ) -> None:
        self._limits, self._host_of, self._half = limits, host_of, max(1, remembered_max // 2)
        self._known: dict[bytes, Series] = {}
        self._older: dict[bytes, Series] = {}

    @property
    def remembered(self) -> int:
        """How many series are remembered."""
        return len(self._known) + len(self._older)

    def read(self, body: bytes) -> Shown:
        """What is in a body; see `decode`."""
        message = _decompressed(body, self._limits.bytes_max)
        view, found = memoryview(message), _Found()
        at, end = 0, len(message)
        while at < end:
            at = self._read_known(message, at, found)
            if at < end:
                number, kind, value, at = _field_at(view, at, end)
                if number == 1:
                    self._read_series(_content(kind, value), found)
            found.check(self._limits)
        return Shown(found.series, found.times, found.values)

    def _read_known(self, message: bytes, at: int, found: "_Found") -> int:
        """Read on while series are known and have one sample each; returns where that ends."""
        known, stamps, unpack = self._known, found.stamps, _ONE.unpack_from
        series, times, values = found.series, found.times, found.values
        end, most = len(message) - _ONE_BYTES, self._limits.samples_max + 1
        while at < end and message[at] == 0x0A and len(values) < most:
            size, begin = message[at + 1], at + 2
            if size > 0x7F:
                if message[begin] > 0x7F:
                    break
                size, begin = size & 0x7F | message[begin] << 7, begin + 1
            stop = begin + size
            one = known.get(message[begin : stop - _ONE_BYTES])
            if one is None or stop - _ONE_BYTES > end:
                break
            head, value, stamp = unpack(message, stop - _ONE_BYTES)
            time = stamps[stamp]
            if head != _ONE_HEAD or time is None or value != value:  # whatever else it is, and a NaN of some kind
                break
            series.append(one)
            times.append(time)
            values.append(value)
            found.count += 1
            at = stop
        return at

    def _read_series(self, content: memoryview, found: "_Found") -> None:
        found.count += 1
        labels, points, at, end = [], 0, 0, len(content)
        while at < end:
            begin = at
            number, kind, value, at = _field_at(content, at, end)
            if number == 1:
                labels.append(content[begin:at])
                _content(kind, value)
            elif number == 2:
                time, shown = _read_point(_content(kind, value), found.stamps)
                points += 1
                if not _ends(shown):
                    found.times.append(time)
                    found.values.append(shown)
                if len(found.series) + points > self._limits.samples_max:
                    raise RemoteWriteError(f"more than {self._limits.samples_max} samples", "too_large")
        one = self._series(b"".join(labels))
        found.series += [one] * (len(found.values) - len(found.series))

    def _series(self, key: bytes) -> Series:
        """The series that labels name, as they stand in a message one behind the other."""
        one = self._known.get(key)
        if one is None:
            one = self._older.get(key) or self._learned(memoryview(key))
            if len(self._known) >= self._half:
                self._known, self._older = {}, self._known
            self._known[key] = one
        return one

    def _learned(self, content: memoryview) -> Series:
        labels: dict[str, str] = {}
        for _, kind, value in _fields(content):
            _read_label(_content(kind, value), self._limits, labels)
        labels = {name: labels[name] for name in sorted(labels) if labels[name]}
        host = self._host_of(labels) if self._host_of else ""
        name = labels.pop(NAME, "")
        if not name:
            raise RemoteWriteError(f"a series without {NAME}")
        return Series(name, labels, host)


class _Stamps(dict[bytes, datetime | None]):
    """The times of a message by their seven bytes, field and number; None where these are something else."""

    def __missing__(self, stamp: bytes) -> datetime | None:
        time, at = _read_varint(memoryview(stamp), 1) if stamp[0] == 0x10 and stamp[-1] < 0x80 else (0, 0)
        self[stamp] = found = _EPOCH + time * _MS if at == len(stamp) and time <= _MS_MAX else None
        return found


@dataclass
class _Found:
    """What has been read of a message."""

    series: list[Series] = field(default_factory=list)
    times: list[datetime] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    stamps: _Stamps = field(default_factory=_Stamps)
    count: int = 0  # of series, those without samples too

    def check(self, limits: Limits) -> None:
        if self.count > limits.series_max:
            raise RemoteWriteError(f"more than {limits.series_max} series", "too_large")
        if len(self.values) > limits.samples_max:
            raise RemoteWriteError(f"more than {limits.samples_max} samples", "too_large")


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


def _ends(value: float) -> bool:
    return value != value and struct.unpack("<Q", struct.pack("<d", value))[0] == STALE


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


def _read_point(content: memoryview, stamps: _Stamps) -> tuple[datetime, float]:
    if len(content) == _ONE_BYTES - 2 and content[0] == _ONE_HEAD[2]:
        _, value, stamp = _ONE.unpack(b"  " + content)
        if (known := stamps[stamp]) is not None:
            return known, value
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
    return _EPOCH + time * _MS, value


def _content(kind: int, value: int | memoryview) -> memoryview:
    if kind != _BYTES or not isinstance(value, memoryview):
        raise RemoteWriteError(f"wire type {kind} where bytes are expected")
    return value


def _fields(message: memoryview) -> Iterator[tuple[int, int, int | memoryview]]:
    """Each field of a message: its number, its wire type, and its number or its bytes."""
    at, end = 0, len(message)
    while at < end:
        number, kind, value, at = _field_at(message, at, end)
        yield number, kind, value


def _field_at(message: memoryview, at: int, end: int) -> tuple[int, int, int | memoryview, int]:
    """One field of a message, and where the next begins."""
    tag, at = _read_varint(message, at)
    number, kind = tag >> 3, tag & 7
    if not 0 < number < 1 << 29:
        raise RemoteWriteError(f"there is no field {number}")
    if kind == _VARINT:
        value, at = _read_varint(message, at)
        return number, kind, value, at
    size, at = _size(message, at, kind)
    if size > end - at:
        raise RemoteWriteError(f"a field of {size} bytes where {end - at} are left")
    return number, kind, message[at : at + size], at + size


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
