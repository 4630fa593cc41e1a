"""What a cycle found is kept in the telemetry store."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import pytest

from forewarn.assemble.write_back import RISK, WriteBack
from forewarn.store.duckdb import DuckDBStore
from tests.shown import NOW, snapshot_of
from tests.support import eventually


@pytest.fixture
def store() -> Iterator[DuckDBStore]:
    with closing(DuckDBStore(None)) as made:
        yield made


def test_the_embedded_store_keeps_the_risk_of_each_part(store: DuckDBStore) -> None:
    snapshot = snapshot_of()
    written = WriteBack(store, "1.0", {})
    written.tell(snapshot)
    written.close()
    known = [one for one in snapshot.forecasts if not one.unknown_because]
    assert known
    for forecast in known[::20]:
        found = store.series(forecast.component, RISK, NOW - timedelta(days=400), NOW + timedelta(days=400))
        [risk] = found.column("value").to_numpy()
        assert 0.0 < risk < 1.0


def test_a_store_that_fails_ends_nothing(store: DuckDBStore, caplog: pytest.LogCaptureFixture) -> None:
    written = WriteBack(store, "1.0", {})
    store.close()
    written.tell(snapshot_of())
    eventually(lambda: "is not kept in the telemetry store" in caplog.text, deadline=20)
    written.close()
