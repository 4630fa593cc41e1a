"""What the store over a site's database reads, when it reads it again, and what it keeps of it."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Kind
from forewarn.errors import QueryTooLarge, StoreUnavailable
from forewarn.features.catalog import CATALOG
from forewarn.store.base import DEVICES, SAMPLES, Batch
from forewarn.store.remote import CacheSettings, RemoteStore
from forewarn.store.source import Readings
from forewarn.store.windows import DAY, HOUR, microseconds

NOW = datetime(2026, 3, 20, 12, 30, tzinfo=UTC)
PART = "network:host03/eth0"
SERIES = ("node_network_receive_errs_total", (("device", "eth0"), ("instance", "host03:9100")))


@dataclass
class Memory:
    """A database of one series in memory, that notes what it is asked."""

    name: str = "a database in memory"
    values: dict[int, float] = field(default_factory=dict)
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    samples_max: int = 10**9
    away: bool = False
    written: int = 0

    def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
        if self.away:
            raise StoreUnavailable("it is away")
        found = {time: value for time, value in sorted(self.values.items()) if start < time <= end}
        if len(found) > self.samples_max:
            raise QueryTooLarge("too much")
        self.asked.append((start, end, step))
        if step:
            found = {-(-time // step) * step: value for time, value in found.items()}
        if SERIES[0] not in names or not found:
            return Readings.none()
        time, value = np.array(list(found), np.int64), np.array(list(found.values()))
        return Readings((SERIES,), np.zeros(len(time), np.int64), time, value)

    def write(self, readings: Readings) -> int:
        if self.away:
            raise StoreUnavailable("it is away")
        self.written += len(readings)
        return 0

    def check(self) -> str:
        return self.name

    def close(self) -> None:
        """Nothing is open."""


def quarter_hours(days: float, until: datetime = NOW) -> dict[int, float]:
    """A sample each quarter of an hour, and one error more in each."""
    end = microseconds(until)
    number = int(days * 96)
    return {end - at * 900 * 10**6: float(number - at) for at in range(number)}


def errors(store: RemoteStore, window: str, now: datetime) -> float:
    [row] = store.features(CATALOG, Kind.NETWORK, [now]).to_pylist()
    return float(row[f"nic_receive_errors_increase_{window}"])


def test_history_is_read_once_and_then_the_newest_alone() -> None:
    clock, source = SimulatedClock(NOW), Memory(values=quarter_hours(10))
    store = RemoteStore(source, None, clock, CacheSettings(history_days=10.0, overlap_s=60.0))
    assert errors(store, "1h", NOW) == 4.0
    assert source.asked[0][0] == microseconds(NOW.replace(hour=0, minute=0)) - 10 * DAY
    assert [begin for begin, _, _ in source.asked[1:]] == [end for _, end, _ in source.asked[:-1]]
    read = len(source.asked)
    clock.sleep(60)
    source.values[microseconds(clock.now())] = 2000.0
    assert errors(store, "1h", clock.now()) > 1000.0
    assert source.asked[read:] == [(microseconds(NOW) - 60 * 10**6, microseconds(clock.now()), 0)]


def test_a_sample_that_comes_late_counts_once_its_hour_is_read_again() -> None:
    clock, source = SimulatedClock(NOW), Memory(values=quarter_hours(2))
    store = RemoteStore(source, None, clock, CacheSettings(history_days=2.0, late_s=3600.0))
    before = errors(store, "6h", NOW)
    source.values[microseconds(NOW) - 20 * 60 * 10**6] = 5000.0
    clock.sleep(600)
    assert errors(store, "6h", clock.now()) == before
    clock.sleep(5400)
    source.values[microseconds(clock.now())] = source.values[microseconds(NOW)]
    assert errors(store, "6h", clock.now()) > 4000.0


def test_a_cache_on_disk_spares_a_new_process_the_history(tmp_path: Path) -> None:
    clock, source = SimulatedClock(NOW), Memory(values=quarter_hours(5))
    settings = CacheSettings(history_days=5.0)
    first = RemoteStore(source, tmp_path, clock, settings)
    assert errors(first, "1h", NOW) == 4.0
    first.close()
    source.asked.clear()
    clock.sleep(300)
    second = RemoteStore(source, tmp_path, clock, settings)
    assert errors(second, "1h", clock.now()) == 4.0
    second.close()
    assert min(begin for begin, _, _ in source.asked) >= microseconds(NOW) - 2 * HOUR
    other = Memory(name="another database", values=quarter_hours(5))
    third = RemoteStore(other, tmp_path, clock, settings)
    errors(third, "1h", clock.now())
    third.close()
    assert min(begin for begin, _, _ in other.asked) <= microseconds(NOW) - 4 * DAY


def test_a_long_history_is_read_over_several_cycles() -> None:
    class Slow(Memory):
        def read(self, names: Collection[str], start: int, end: int, step: int = 0) -> Readings:
            clock.sleep(20)
            if end - start > DAY:
                raise QueryTooLarge("more than a day")
            return super().read(names, start, end, step)

    clock = SimulatedClock(NOW)
    source = Slow(values=quarter_hours(20))
    store = RemoteStore(source, None, clock, CacheSettings(history_days=20.0, budget_s=45.0))
    with pytest.raises(StoreUnavailable, match=r"still being read: \d+\.\d days to go"):
        errors(store, "1h", NOW)
    for _ in range(50):
        try:
            assert errors(store, "1h", NOW) == 4.0
            break
        except StoreUnavailable:
            continue
    else:
        raise AssertionError("the history was never read")


def test_a_question_that_is_too_large_is_cut() -> None:
    clock, source = SimulatedClock(NOW), Memory(values=quarter_hours(6), samples_max=50)
    store = RemoteStore(source, None, clock, CacheSettings(history_days=6.0))
    assert errors(store, "1h", NOW) == 4.0
    assert max(end - begin for begin, end, _ in source.asked) <= 13 * HOUR


def test_old_history_may_be_read_in_steps() -> None:
    clock, source = SimulatedClock(NOW), Memory(values=quarter_hours(10))
    store = RemoteStore(source, None, clock, CacheSettings(history_days=10.0, history_step_s=3600.0))
    assert errors(store, "1h", NOW) == 4.0
    border = microseconds(NOW.replace(hour=0, minute=0)) - 2 * DAY
    assert {step for begin, _, step in source.asked if begin < border} == {HOUR}
    assert {step for begin, _, step in source.asked if begin >= border} == {0}
    found = store.series(PART, "nic_receive_errors", NOW - timedelta(days=9), NOW - timedelta(days=4))
    assert found.num_rows == 5 * 24


def test_what_the_database_does_not_take_is_not_in_the_cache_either() -> None:
    clock, source = SimulatedClock(NOW), Memory(away=True)
    store = RemoteStore(source, None, clock)
    row = {"time": [NOW], "component": [PART], "metric": ["nic_up"], "value": [1.0]}
    batch = Batch(pa.table(row, schema=SAMPLES), DEVICES.empty_table())
    with pytest.raises(StoreUnavailable, match="away"):
        store.append(batch)
    source.away = False
    assert store.series(PART, "nic_up", NOW - timedelta(hours=1), NOW).num_rows == 0
    assert store.append(batch) == 1
    assert store.series(PART, "nic_up", NOW - timedelta(hours=1), NOW).num_rows == 1
