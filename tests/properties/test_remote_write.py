"""What is written is read back, and no bytes of a stranger raise anything but the codec's own error."""

import math
import random
import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import cramjam
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from forewarn import event_lines
from forewarn.domain.telemetry import Sample
from forewarn.errors import EventError, RemoteWriteError
from forewarn.remote_write import STALE, Limits, decode, encode

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
SAMPLES = st.builds(
    Sample,
    name=TEXTS,
    labels=st.dictionaries(TEXTS.filter(lambda name: name != "__name__"), TEXTS, max_size=5),
    value=st.floats(allow_nan=False),
    time=st.integers(0, 10**12).map(lambda ms: NOON + timedelta(milliseconds=ms)),
)
BODY = encode([Sample("up", {"a": str(n), "b": "x" * n}, float(n), NOON) for n in range(40)], {"instance": "host03"})


def outcome(read: Callable[[], object]) -> str:
    try:
        read()
    except (RemoteWriteError, EventError) as refused:
        return refused.code
    return "read"


def key(sample: Sample) -> str:
    return repr((sample.name, sorted(sample.labels.items()), sample.time, sample.value))


@given(st.lists(SAMPLES, max_size=20))
def test_what_is_written_is_read_back(samples: list[Sample]) -> None:
    again = decode(encode(samples, {}), Limits())
    assert sorted(map(key, again)) == sorted(map(key, samples))


@given(st.binary(max_size=300))
@example(b"\xff\xff\xff\xff\x0f")
@example(b"\x80" * 11)
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    for announced in (body, bytes(cramjam.snappy.compress_raw(body))):
        assert outcome(lambda sent=announced: decode(sent, Limits())) in ("read", "malformed", "too_large")  # type: ignore[misc]


def test_a_body_that_was_cut_or_changed_is_read_or_refused_and_stays_within_limits() -> None:
    chance, message = random.Random(7), bytes(cramjam.snappy.decompress_raw(BODY))
    limits = Limits(bytes_max=2 * len(message), samples_max=60)
    refused = 0
    for _ in range(3000):
        mutated = bytearray(message if chance.random() < 0.5 else BODY)
        whole = len(mutated) == len(message)
        for _ in range(chance.randint(1, 4)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        del mutated[chance.randint(len(mutated) // 2, len(mutated)) :]
        try:
            sent = bytes(cramjam.snappy.compress_raw(mutated)) if whole else bytes(mutated)
            assert len(decode(sent, limits)) <= 60
        except RemoteWriteError:
            refused += 1
    assert refused > 1000


def raw(*fields: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(b"".join(fields)))


def part(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def label(name: bytes, value: bytes) -> bytes:
    return part(1, part(1, name) + part(2, value))


UP = label(b"__name__", b"up")


def point(bits: int, time: bytes = b"\x10\x01") -> bytes:
    return part(2, b"\x09" + struct.pack("<Q", bits) + time)


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"", "malformed", "without an end"),
        (b"\xff\xff\xff\xff\x0f", "too_large", "4294967295 bytes"),
        (b"\x80\x80\x40" + b"a", "malformed", "cannot hold"),
        (b"\x05\x00a", "malformed", "snappy"),
        (raw(b"\x0a"), "malformed", "without an end"),
        (raw(b"\x0a\x09a"), "malformed", "a field of 9 bytes where 1 are left"),
        (raw(b"\x0b"), "malformed", "wire type 3"),
        (raw(b"\x02\x00"), "malformed", "no field 0"),
        (raw(b"\x08\x01"), "malformed", "bytes are expected"),
        (raw(part(1, point(0))), "malformed", "without __name__"),
        (raw(part(1, UP + UP)), "malformed", "two labels '__name__'"),
        (raw(part(1, part(1, part(2, b"x")))), "malformed", "without a name"),
        (raw(part(1, label(b"a", b"\xff"))), "malformed", "not UTF-8"),
        (raw(part(1, label(b"a" * 20, b"x"))), "too_large", "20 bytes"),
        (raw(part(1, UP + label(b"a", b"x") + label(b"b", b"x"))), "too_large", "2 labels"),
        (raw(part(1, UP + point(0) + point(0) + point(0))), "too_large", "2 samples"),
        (raw(part(1, UP), part(1, UP), part(1, UP)), "too_large", "2 series"),
        (raw(part(1, UP + part(2, b"\x08\x01"))), "malformed", "wire type 0"),
        (raw(part(1, UP + part(2, b"\x11" + bytes(8)))), "malformed", "wire type 1"),
        (raw(part(1, UP + point(0, b"\x10" + b"\xff" * 9 + b"\x01"))), "malformed", "-1 ms"),
        (raw(part(1, UP + point(0, b"\x10" + b"\xff" * 9 + b"\x7f"))), "malformed", "more than 64 bits"),
    ],
)
def test_what_is_wrong_is_told_in_words_and_a_code(body: bytes, code: str, words: str) -> None:
    limits = Limits(bytes_max=1 << 20, series_max=2, samples_max=2, labels_max=2, label_bytes_max=15)
    with pytest.raises(RemoteWriteError, match=words) as refused:
        decode(body, limits)
    assert refused.value.code == code


def test_a_marker_of_the_end_is_no_sample_and_another_nan_is_one() -> None:
    nan = struct.unpack("<Q", struct.pack("<d", math.nan))[0]
    [sample] = decode(raw(part(1, UP + point(STALE) + point(nan))), Limits())
    assert math.isnan(sample.value)


def test_unknown_fields_are_skipped_and_labels_come_sorted() -> None:
    odd = b"\x79" + bytes(8) + b"\x7d" + bytes(4) + b"\x78\x05"
    series = label(b"z", b"1") + label(b"empty", b"") + UP + label(b"a", b"2") + point(0)
    [sample] = decode(raw(odd, part(3, b"metadata"), part(1, series + odd)), Limits())
    assert (sample.name, list(sample.labels.items())) == ("up", [("a", "2"), ("z", "1")])


def test_a_sample_without_a_time_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="has no time"):
        encode([Sample("up", {}, 1.0)], {})


@given(
    st.one_of(st.binary(max_size=200), st.recursive(st.none() | st.text(), st.lists).map(lambda v: repr(v).encode()))
)
def test_any_bytes_are_events_or_refused(body: bytes) -> None:
    codes = ("read", "malformed", "too_large", "invalid_request")
    assert outcome(lambda: event_lines.decode(body, event_lines.Limits())) in codes
