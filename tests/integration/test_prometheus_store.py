"""Prometheus as the telemetry store: a real one is started, asked, refused by, and ended."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from forewarn.clock import RealClock
from forewarn.domain.feature import Catalog
from forewarn.domain.inventory import Kind
from forewarn.store.base import Batch, TelemetryStore
from forewarn.store.http import HttpSettings
from forewarn.store.prometheus import Prometheus
from forewarn.store.remote import RemoteStore
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


@pytest.mark.parametrize("through", ["one store", "another store than the one that wrote"])
def test_a_prometheus_keeps_the_contract_of_stores(tmp_path: Path, stack: ExitStack, through: str) -> None:
    made: list[str] = []

    def store() -> TelemetryStore:
        url = stack.enter_context(databases.prometheus(tmp_path / str(len(made)))).url
        made.append(url)
        return prometheus_store(url) if through == "one store" else Elsewhere(lambda: prometheus_store(url))

    check_store(store)
    assert len(made) == 5
