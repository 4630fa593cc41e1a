"""What waits on disk: bounded, in order, and readable after whatever happened to its files."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from forewarn.clock import SimulatedClock
from forewarn.collect.agent import AgentSettings
from forewarn.collect.buffer import Buffer, BufferSettings
from forewarn.collect.push import PushSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError
from forewarn.remote_write import encode

BEAT_S = AgentSettings().interval_s
WEEK_END_ROUNDS = int(64 * 3600 / BEAT_S)  # from Friday evening to Monday morning


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(datetime(2026, 1, 5, tzinfo=UTC))


@pytest.fixture
def buffer(tmp_path: Path, clock: SimulatedClock) -> Iterator[Buffer]:
    opened = Buffer(tmp_path, BufferSettings(bytes_max=100, segments_max=5, hours_max=1.0, damaged_max=1), clock)
    yield opened
    opened.close()


def reopened(buffer: Buffer, folder: Path, clock: SimulatedClock) -> Buffer:
    buffer.close()
    return Buffer(folder, BufferSettings(damaged_max=1), clock)


def drained(buffer: Buffer) -> list[bytes]:
    bodies = []
    while segment := buffer.oldest():
        bodies.append(segment.body)
        buffer.remove(segment)
    return bodies


def test_the_oldest_comes_first_and_stays_until_it_is_removed(buffer: Buffer) -> None:
    buffer.append(b"one", 1)
    buffer.append(b"two", 2)
    assert buffer.oldest() == buffer.oldest()
    assert drained(buffer) == [b"one", b"two"]
    assert (len(buffer), buffer.size_bytes, buffer.oldest()) == (0, 0, None)


def test_what_waits_survives_the_process(buffer: Buffer, tmp_path: Path, clock: SimulatedClock) -> None:
    buffer.append(b"one", 1)
    buffer.append(b"two", 2)
    (tmp_path / "000000000009-0-1.segment.tmp").write_bytes(b"half")
    again = reopened(buffer, tmp_path, clock)
    again.append(b"three", 3)
    assert drained(again) == [b"one", b"two", b"three"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lock"]
    again.close()


def test_a_full_buffer_gives_up_the_oldest_and_counts_it(buffer: Buffer, tmp_path: Path) -> None:
    for number in range(4):
        buffer.append(bytes([number]) * 40, 10)
    assert buffer.dropped["full"] == 20
    assert buffer.size_bytes == sum(path.stat().st_size for path in tmp_path.glob("*.segment")) == 88
    assert [body[0] for body in drained(buffer)] == [2, 3]


def test_the_number_of_files_is_bounded_and_what_never_fits_is_counted(buffer: Buffer) -> None:
    for number in range(7):
        buffer.append(bytes([number]), 1)
    buffer.append(b"x" * 200, 9)
    assert (len(buffer), buffer.dropped["full"]) == (5, 2 + 9)


def test_what_has_got_too_old_is_given_up(buffer: Buffer, clock: SimulatedClock) -> None:
    buffer.append(b"old", 3)
    clock.sleep(3601)
    buffer.append(b"new", 1)
    assert drained(buffer) == [b"new"]
    assert buffer.dropped["too_old"] == 3


@pytest.mark.parametrize("damage", [b"", b"\x00", b"garbage that was never written by us", None])
def test_a_damaged_segment_is_set_aside_and_never_blocks_the_rest(
    buffer: Buffer, tmp_path: Path, clock: SimulatedClock, damage: bytes | None
) -> None:
    for body in (b"first", b"second", b"third"):
        buffer.append(body, 1)
    first, second, _ = sorted(tmp_path.glob("*.segment"))
    for path in (first, second):
        path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    assert drained(buffer) == [b"third"]
    assert buffer.damaged == 2
    assert [path.stem for path in tmp_path.glob("*.damaged")] == [second.stem]
    again = reopened(buffer, tmp_path, clock)
    assert again.oldest() is None
    again.close()


def test_a_segment_that_vanished_or_has_a_foreign_name_costs_only_itself(
    buffer: Buffer, tmp_path: Path, clock: SimulatedClock
) -> None:
    buffer.append(b"first", 1)
    buffer.append(b"second", 1)
    min(tmp_path.glob("*.segment")).unlink()
    (tmp_path / "notes.segment").write_text("not ours")
    again = reopened(buffer, tmp_path, clock)
    assert drained(again) == [b"second"]
    assert again.damaged == 1
    again.close()


def test_a_folder_in_use_or_unusable_is_refused(buffer: Buffer, tmp_path: Path, clock: SimulatedClock) -> None:
    buffer.append(b"one", 1)
    with pytest.raises(ConfigurationError, match="another agent"):
        Buffer(tmp_path, BufferSettings(), clock)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        Buffer(tmp_path / "file", BufferSettings(), clock)


def test_what_cannot_be_written_is_counted(buffer: Buffer, tmp_path: Path) -> None:
    (tmp_path / "lock").unlink()
    tmp_path.rmdir()
    buffer.append(b"one", 4)
    assert (buffer.dropped["not_written"], buffer.oldest()) == (4, None)


def test_a_week_end_is_kept_and_replayed_in_order(tmp_path: Path, clock: SimulatedClock) -> None:
    kept = Buffer(tmp_path, BufferSettings(), clock)
    for hour in range(64):
        kept.append(bytes([hour]), 1)
        clock.sleep(3600.0)
    assert drained(kept) == [bytes([hour]) for hour in range(64)]
    assert kept.dropped.total() == kept.damaged == 0
    kept.close()


def test_a_week_end_of_a_large_server_fits_within_the_bound() -> None:
    """Six thousand series under a hundred names, each with a value of its own."""
    time, chance = datetime(2026, 1, 5, tzinfo=UTC), random.Random(1)
    series = [
        (f"node_disk_some_quantity_{name}_total", {"device": f"sd{part}"}) for name in range(100) for part in range(60)
    ]
    samples = [Sample(name, labels, float(chance.randrange(10**9)), time) for name, labels in series]
    body = encode(samples, {"job": "forewarn", "instance": "host03.example.com"})
    settings = BufferSettings()
    assert len(samples) <= PushSettings().samples_max
    assert len(body) * WEEK_END_ROUNDS < settings.bytes_max
    assert settings.segments_max > WEEK_END_ROUNDS
