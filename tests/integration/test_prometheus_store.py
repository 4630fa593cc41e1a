"""Prometheus and VictoriaMetrics as telemetry stores: real ones are started, asked, refused by, and ended."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pyarrow as pa
import pytest

from forewarn.clock import RealClock
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.store.base import Batch, TelemetryStore
from forewarn.store.http import HttpSettings
from forewarn.store.prometheus import Prometheus
from forewarn.store.remote import RemoteStore
from forewarn.store.source import Readings
from forewarn.store.victoriametrics import VictoriaMetrics
from forewarn.testing import check_store
from tests import databases

pytestmark = pytest.mark.integration


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


class Elsewhere:
    """A store that writes, and beside it for each question another one that has read nothing yet."""

    def __init__(self, make: Callable[[], RemoteStore]) -> None:
        self._make, self._writing = make, make()

    def append(self, batch: Batch) -> int:
        return self._writing.append(batch)

    def features(self, catalog: Catalog, kind: Kind, at: Sequence[datetime] | pa.Table) -> pa.Table:
        with closing(self._make()) as reading:
            return reading.features(catalog, kind, at)

    def series(self, component: str, metric: str, start: datetime, end: datetime) -> pa.Table:
        with closing(self._make()) as reading:
            return reading.series(component, metric, start, end)

    def devices(self, kind: Kind | None = None) -> pa.Table:
        with closing(self._make()) as reading:
            reading.series("", "", datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC))
            return reading.devices(kind)

    def roll_up(self, now: datetime) -> None:
        self._writing.roll_up(now)

    def close(self) -> None:
        self._writing.close()


def prometheus_store(url: str) -> RemoteStore:
    return RemoteStore(Prometheus(HttpSettings(url), RealClock()), None, RealClock())


class Flushed(VictoriaMetrics):
    """Asks VictoriaMetrics to show what was written at once, as it does by itself within seconds."""

    def __init__(self, url: str) -> None:
        super().__init__(HttpSettings(url), RealClock())
        self._url = url

    def write(self, readings: Readings) -> int:
        refused = super().write(readings)
        httpx.get(f"{self._url}/internal/force_flush", timeout=30).raise_for_status()
        return refused


def victoria_store(url: str) -> RemoteStore:
    return RemoteStore(VictoriaMetrics(HttpSettings(url), RealClock()), None, RealClock())


def flushed_store(url: str) -> RemoteStore:
    return RemoteStore(Flushed(url), None, RealClock())


def check_all(
    folder: Path,
    stack: ExitStack,
    start: Callable[[Path], AbstractContextManager[databases.Database]],
    make: Callable[[str], TelemetryStore],
) -> None:
    """The contract, each time with a database of its own."""
    made: list[str] = []

    def store() -> TelemetryStore:
        made.append(stack.enter_context(start(folder / str(len(made)))).url)
        return make(made[-1])

    check_store(store)
    assert len(made) == 5


def test_a_prometheus_keeps_the_contract_of_stores(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, databases.prometheus, prometheus_store)


def test_what_was_put_into_a_prometheus_another_store_finds_there(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, databases.prometheus, lambda url: Elsewhere(lambda: prometheus_store(url)))


def test_a_victoriametrics_keeps_the_contract_of_stores(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, databases.victoria_metrics, victoria_store)


def test_what_was_put_into_a_victoriametrics_another_store_finds_there(tmp_path: Path, stack: ExitStack) -> None:
    check_all(tmp_path, stack, databases.victoria_metrics, lambda url: Elsewhere(lambda: flushed_store(url)))
