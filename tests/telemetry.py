"""Batches for tests of stores and frames, written shortly."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from forewarn.domain.inventory import Kind
from forewarn.store.base import DEVICES, ROWS, SAMPLES, Batch

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)


def samples(component: str, metric: str, values: Iterable[tuple[datetime, float]]) -> pa.Table:
    rows = [{"time": time, "component": component, "metric": metric, "value": value} for time, value in values]
    return pa.Table.from_pylist(rows, schema=SAMPLES)


def device(
    component: str, host: str, first: datetime, last: datetime, *, kind: Kind = Kind.DISK, model: str = "M"
) -> Mapping[str, object]:
    name = component.rpartition("/")[2].rpartition(":")[2]
    row = {"component": component, "kind": str(kind), "host": host, "device": name, "model": model}
    return {**row, "first_seen": first, "last_seen": last}


def devices(*rows: Mapping[str, object]) -> pa.Table:
    return pa.Table.from_pylist([dict(row) for row in rows], schema=DEVICES)


def batch(
    component: str,
    metric: str,
    values: Sequence[tuple[datetime, float]],
    *,
    until_marked: bool = False,
    host: str = "host01",
) -> Batch:
    """Samples of one series together with the device that they come from."""
    kind = Kind(component.partition(":")[0])
    times = [time for time, _ in values]
    seen = [device(component, host, min(times), max(times), kind=kind)] if times else []
    return Batch(samples(component, metric, values), devices(*seen), until_marked)


def rows(*asked: tuple[datetime, str]) -> pa.Table:
    return pa.Table.from_pylist([{"time": time, "component": name} for time, name in asked], schema=ROWS)


def every(start: datetime, step: timedelta, values: Iterable[float]) -> list[tuple[datetime, float]]:
    return [(start + number * step, value) for number, value in enumerate(values)]
