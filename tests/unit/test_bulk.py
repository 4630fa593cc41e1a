"""What is mapped in columns is what is mapped scrape by scrape."""

import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from forewarn.domain.telemetry import Sample
from forewarn.store import bulk
from forewarn.store.base import Batch
from forewarn.store.label_rules import LabelRules
from forewarn.store.mapping import Mapper
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings
from forewarn.store.windows import microseconds

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
MINUTES = 30


def scrape(host: str, minute: int) -> Iterator[Sample]:
    """A host with two drives, of which one is swapped at half time, eight modes of two cores, and a sensor."""

    def sample(name: str, value: float, labels: Mapping[str, str]) -> Sample:
        return Sample(name, {"instance": f"{host}:9100", **labels}, value, START + timedelta(minutes=minute))

    serial = f"{host}-old" if minute < MINUTES // 2 else f"{host}-new"
    drive: dict[str, str] = {"device": "sda", "model_name": "M", "serial_number": serial}
    yield sample("smartctl_device", 1.0, drive)
    yield sample("smartctl_device", 1.0, {**drive, "device": "nvme0", "serial_number": f"{host}-nvme"})
    raw = {"attribute_value_type": "raw", "device": "sda"}
    yield sample("smartctl_device_attribute", float(minute // 7), {"attribute_id": "5", **raw})
    yield sample("smartctl_device_attribute", float(2**33 + minute), {"attribute_id": "9", **raw})
    for namespace in (1, 2):
        yield sample("node_disk_reads_completed_total", minute * 10.0, {"device": f"nvme0n{namespace}"})
    for core in ("0", "1"):
        for rank, mode in enumerate(("user", "system", "idle", "iowait")):
            value = math.nan if minute == 3 and mode == "user" else minute * 1.5 + rank + int(core)
            yield sample("node_cpu_seconds_total", value, {"cpu": core, "mode": mode})
    for number in range(3):
        yield sample("node_cpu_scaling_frequency_hertz", 1e9 + minute * number, {"cpu": str(number)})
    for fan in range(3):
        yield sample("ipmi_voltage_volts", 12 + 0.01 * minute * fan, {"name": f"PSU1 Vout {fan}", "id": str(fan)})
    yield sample("node_network_up", math.nan if minute % 2 else 1.0, {"device": "eth0"})
    yield sample("of_no_interest", 1.0, {})


def readings_of(samples: list[Sample]) -> Readings:
    numbers: dict[Key, int] = {}
    keys = [(one.name, tuple(sorted(one.labels.items()))) for one in samples]
    of = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
    time = np.array([microseconds(one.time) for one in samples if one.time], np.int64)
    return Readings(tuple(numbers), of, time, np.array([one.value for one in samples]))


def rows(batch: Batch) -> set[tuple[object, ...]]:
    weights = pa.chunked_array([]) if batch.weights is None else batch.weights
    columns = [column.to_pylist() for column in batch.samples.columns]
    shown = [repr(value) for value in columns[3]]
    return set(zip(columns[0], columns[1], columns[2], shown, weights.to_pylist(), strict=True))


def places(batches: list[Batch]) -> dict[tuple[str, ...], tuple[datetime, datetime]]:
    found: dict[tuple[str, ...], tuple[datetime, datetime]] = {}
    for row in (row for batch in batches for row in batch.devices.to_pylist()):
        key = tuple(str(row[name]) for name in ("component", "kind", "host", "device", "model"))
        first, last = found.get(key, (row["first_seen"], row["last_seen"]))
        found[key] = min(first, row["first_seen"]), max(last, row["last_seen"])
    return found


def test_a_span_in_columns_gives_what_its_scrapes_give_one_by_one() -> None:
    hosts = ("host01", "host02")
    one_by_one, in_columns, rules = Mapper(), Mapper(), LabelRules()
    samples: list[Sample] = []
    expected: list[Batch] = []
    for minute in range(MINUTES):
        for host in hosts:
            shown = list(scrape(host, minute))
            samples += shown
            expected.append(one_by_one.map(host, shown, START + timedelta(minutes=minute)))
    readings = readings_of(samples)
    shuffled = readings.where(np.random.default_rng(7).permutation(len(readings)))
    found = bulk.mapped(in_columns, shuffled, [rules.locate(key) for key in shuffled.series])
    assert rows(found) == {row for batch in expected for row in rows(batch)}
    assert places([found]) == places(expected)
    assert {row[1] for row in rows(found)} >= {"disk:host01-old", "disk:host01-new", "disk:host02-nvme"}
    assert sum(row[4] == 0 for row in rows(found)) == 2 * MINUTES // 2


def test_a_span_without_samples_of_interest_gives_an_empty_batch() -> None:
    samples = [Sample("of_no_interest", {"instance": "host01"}, 1.0, START)]
    readings = readings_of(samples)
    found = bulk.mapped(Mapper(), readings, [LabelRules().locate(key) for key in readings.series])
    assert (found.samples.num_rows, found.devices.num_rows) == (0, 0)
