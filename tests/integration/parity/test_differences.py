"""What stores honestly differ in: each difference is bounded here, and stands in docs/influxdb.md.

The embedded store's way is beside each. The parity test keeps these out of its samples.
"""

import math
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pytest

from forewarn.clock import RealClock
from forewarn.remote_write import STALE
from forewarn.store import write_body
from forewarn.store.http import HttpSettings
from forewarn.store.influxdb import InfluxDB
from forewarn.store.prometheus import Prometheus
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings, Source
from forewarn.store.victoriametrics import VictoriaMetrics
from forewarn.store.windows import HOUR, MINUTE, microseconds
from tests import databases

pytestmark = pytest.mark.integration

AT = microseconds(datetime(2026, 1, 5, 12, tzinfo=UTC))
HEAT: Key = ("heat", (("instance", "h1:9100"),))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def readings(*samples: tuple[int, float]) -> Readings:
    times = np.array([AT + after for after, _ in samples], np.int64)
    return Readings((HEAT,), np.zeros(len(samples), np.int64), times, np.array([value for _, value in samples]))


def write_raw(url: str, marker: int, *samples: tuple[int, float]) -> None:
    """As a stranger's remote write, without our source's care."""
    body = write_body.body(readings(*samples), marker)
    answer = httpx.post(f"{url}/api/v1/write", content=body, headers=write_body.HEADERS)
    assert answer.status_code in (200, 204, 400), answer.text


def shown(source: Source) -> list[tuple[int, float | None]]:
    found = source.read(["heat"], AT - HOUR, AT + HOUR).ordered()
    rows = zip((found.time - AT).tolist(), found.value.tolist(), strict=True)
    return [(after, None if math.isnan(value) else value) for after, value in rows]


def test_of_two_values_of_one_time_a_prometheus_keeps_the_first(tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(databases.prometheus(tmp_path / "db")).url
    write_raw(url, STALE, (0, 1.0))
    write_raw(url, STALE, (0, 2.0))
    assert shown(Prometheus(HttpSettings(url), RealClock())) == [(0, 1.0)]


def test_of_two_values_of_one_time_a_victoriametrics_keeps_both(tmp_path: Path, stack: ExitStack) -> None:
    url = stack.enter_context(databases.victoria_metrics(tmp_path / "db")).url
    write_raw(url, STALE, (0, 1.0))
    write_raw(url, STALE, (0, 2.0))
    httpx.get(f"{url}/internal/force_flush").raise_for_status()
    assert sorted(shown(VictoriaMetrics(HttpSettings(url), RealClock()))) == [(0, 1.0), (0, 2.0)]


def test_of_two_values_of_one_time_an_influxdb_keeps_the_later(tmp_path: Path, stack: ExitStack) -> None:
    source = InfluxDB(HttpSettings(stack.enter_context(databases.influxdb(tmp_path / "db")).url), RealClock())
    source.write(readings((0, 1.0)))
    source.write(readings((0, 2.0)))
    assert shown(source) == [(0, 2.0)]


def test_a_stale_marker_is_seen_in_all_but_a_prometheus(tmp_path: Path, stack: ExitStack) -> None:
    """There a value stands until its hold limit instead: at most `hold_s` longer."""
    prom = stack.enter_context(databases.prometheus(tmp_path / "prometheus")).url
    victoria = stack.enter_context(databases.victoria_metrics(tmp_path / "victoria")).url
    influx = InfluxDB(HttpSettings(stack.enter_context(databases.influxdb(tmp_path / "influx")).url), RealClock())
    samples = ((0, 1.0), (MINUTE, math.nan))
    write_raw(prom, STALE, *samples)
    write_raw(victoria, STALE, *samples)
    httpx.get(f"{victoria}/internal/force_flush").raise_for_status()
    influx.write(readings(*samples))
    assert shown(Prometheus(HttpSettings(prom), RealClock())) == [(0, 1.0)]
    assert shown(VictoriaMetrics(HttpSettings(victoria), RealClock())) == [(0, 1.0), (MINUTE, None)]
    assert shown(influx) == [(0, 1.0), (MINUTE, None)]


def test_times_are_kept_in_milliseconds_but_by_an_influxdb(tmp_path: Path, stack: ExitStack) -> None:
    prom = Prometheus(HttpSettings(stack.enter_context(databases.prometheus(tmp_path / "prometheus")).url), RealClock())
    influx = InfluxDB(HttpSettings(stack.enter_context(databases.influxdb(tmp_path / "influx")).url), RealClock())
    for source, kept in ((prom, 1000), (influx, 1999)):
        source.write(readings((1999, 1.0)))
        assert shown(source) == [(kept, 1.0)]


def test_a_victoriametrics_rounds_to_some_digits(tmp_path: Path, stack: ExitStack) -> None:
    """Within 1e-6 beside values of like size; the others keep all digits."""
    url = stack.enter_context(databases.victoria_metrics(tmp_path / "db")).url
    values = [math.pi * 10**power for power in range(6)]
    write_raw(url, STALE, *((number * MINUTE, value) for number, value in enumerate(values)))
    httpx.get(f"{url}/internal/force_flush").raise_for_status()
    found = [value for _, value in shown(VictoriaMetrics(HttpSettings(url), RealClock())) if value is not None]
    assert np.allclose(found, values, rtol=1e-6, atol=0)


def test_an_influxdb_refuses_infinite_values_and_the_others_keep_them(tmp_path: Path, stack: ExitStack) -> None:
    influx = InfluxDB(HttpSettings(stack.enter_context(databases.influxdb(tmp_path / "influx")).url), RealClock())
    prom = Prometheus(HttpSettings(stack.enter_context(databases.prometheus(tmp_path / "prometheus")).url), RealClock())
    assert (influx.write(readings((0, math.inf))), shown(influx)) == (1, [])
    assert (prom.write(readings((0, math.inf))), shown(prom)) == (0, [(0, math.inf)])
