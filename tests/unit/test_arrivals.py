"""What the store does not take stays, goes with what comes next, and is bounded."""

import resource
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from forewarn.domain.telemetry import Sample
from forewarn.errors import StoreUnavailable, TelemetryError
from forewarn.store.arrivals import Arrivals, ArrivalSettings
from forewarn.store.duckdb import DuckDBSettings, DuckDBStore
from forewarn.store.mapping import Mapper
from tests.telemetry import NOON

LATER = NOON + timedelta(minutes=1)
START, END = NOON - timedelta(days=1), NOON + timedelta(days=1)


def bad_sectors(device: str, value: float) -> Sample:
    labels = {"device": device, "attribute_id": "5", "attribute_value_type": "raw"}
    return Sample("smartctl_device_attribute", labels, value, NOON)


def available(value: float) -> Sample:
    return Sample("node_memory_MemAvailable_bytes", {}, value, LATER)


def kept(store: DuckDBStore, component: str, metric: str) -> list[object]:
    return store.series(component, metric, START, END).column("value").to_pylist()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "telemetry.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[DuckDBStore]:
    opened = DuckDBStore(path, DuckDBSettings(batch_max=1000))
    yield opened
    opened.close()


@contextmanager
def no_room(path: Path) -> Iterator[None]:
    """No file of this process may grow past what the store's log has already."""
    log = path.with_name(f"{path.name}.wal")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size if log.exists() else 0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_what_had_waited_and_was_not_taken_is_stored_with_what_comes_next(store: DuckDBStore, path: Path) -> None:
    arrivals = Arrivals(Mapper(), store)
    arrivals.take({"a": [bad_sectors("sda", 8.0)]}, NOON, whole=False)
    assert kept(store, "disk:a/sda", "smart_5") == []  # it waits for a serial, and its turn comes with another's body
    with no_room(path), pytest.raises(StoreUnavailable):
        arrivals.take({"b": [available(1.0)]}, LATER, whole=False)
    assert arrivals.metrics() == {"forewarn_samples_waiting": 2.0, "forewarn_samples_lost_total": 0.0}
    arrivals.take({"c": [available(2.0)]}, LATER, whole=False)
    assert kept(store, "disk:a/sda", "smart_5") == [8.0]
    assert kept(store, "host:b", "memory_available") == [1.0]
    assert kept(store, "host:c", "memory_available") == [2.0]
    assert arrivals.metrics() == {"forewarn_samples_waiting": 0.0, "forewarn_samples_lost_total": 0.0}


def test_past_what_may_be_kept_the_oldest_are_lost_and_counted(store: DuckDBStore, path: Path) -> None:
    arrivals = Arrivals(Mapper(), store, ArrivalSettings(kept_max=2))
    with no_room(path):
        for host in ("a", "b", "c", "d"):
            with pytest.raises(StoreUnavailable):
                arrivals.take({host: [available(1.0)]}, LATER, whole=True)
    assert arrivals.metrics() == {"forewarn_samples_waiting": 2.0, "forewarn_samples_lost_total": 2.0}
    arrivals.finish()
    assert [len(kept(store, f"host:{host}", "memory_available")) for host in "abcd"] == [0, 0, 1, 1]


def test_what_can_never_be_stored_is_not_tried_for_ever(store: DuckDBStore) -> None:
    arrivals = Arrivals(Mapper(), store)
    with pytest.raises(TelemetryError, match="at most 1000"):
        arrivals.take({f"host{number}": [available(1.0)] for number in range(1001)}, LATER, whole=True)
    assert arrivals.metrics() == {"forewarn_samples_waiting": 0.0, "forewarn_samples_lost_total": 1001.0}
    arrivals.take({"a": [available(1.0)]}, LATER, whole=True)
    assert kept(store, "host:a", "memory_available") == [1.0]


def test_bodies_that_come_at_once_are_all_stored_when_their_senders_are_answered(store: DuckDBStore) -> None:
    arrivals = Arrivals(Mapper(), store)

    def send(number: int) -> list[object]:
        arrivals.take({f"host{number}": [available(float(number))]}, LATER, whole=False)
        return kept(store, f"host:host{number}", "memory_available")

    with ThreadPoolExecutor(8) as senders:
        assert list(senders.map(send, range(64))) == [[float(number)] for number in range(64)]
    assert arrivals.waiting == 0
