"""Series as exporters name them become metrics of the parts that stand behind them."""

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import Identity
from forewarn.domain.telemetry import Combine, Metric, Sample
from forewarn.store.base import DEVICES, SAMPLES, TAKEN_BACK, Batch
from forewarn.store.mapping import OTHERS, Mapper, MappingSettings
from tests.exposed import parsed
from tests.telemetry import NOON


def values(batch: Batch) -> dict[tuple[str, str], float]:
    return {(row["component"], row["metric"]): row["value"] for row in batch.samples.to_pylist()}


def attribute(device: str, number: int, value: float, kind: str = "raw") -> Sample:
    labels = {"device": device, "attribute_id": str(number), "attribute_value_type": kind}
    return Sample("smartctl_device_attribute", labels, value)


def drive(device: str, serial: str, model: str = "ST4000") -> Sample:
    return Sample("smartctl_device", {"device": device, "serial_number": serial, "model_name": model}, 1.0)


def test_a_drive_is_known_by_the_serial_that_its_info_series_tells_even_if_that_comes_last() -> None:
    batch = Mapper().map("host03", [attribute("sda", 5, 8.0), drive("sda", "ZA1")], NOON)
    assert values(batch) == {("disk:ZA1", "smart_5"): 8.0}
    assert batch.devices.to_pylist() == [
        {
            "component": "disk:ZA1",
            "kind": "disk",
            "host": "host03",
            "device": "sda",
            "model": "ST4000",
            "first_seen": NOON,
            "last_seen": NOON,
        }
    ]


def test_an_identity_is_remembered_for_its_host_and_for_no_other() -> None:
    mapper = Mapper()
    mapper.map("host03", [drive("sda", "ZA1")], NOON)
    assert values(mapper.map("host03", [attribute("sda", 5, 8.0)], NOON)) == {("disk:ZA1", "smart_5"): 8.0}
    assert values(mapper.map("host04", [attribute("sda", 5, 8.0)], NOON)) == {("disk:host04/sda", "smart_5"): 8.0}


def test_a_replaced_drive_is_another_component_from_then_on() -> None:
    mapper = Mapper()
    mapper.map("host03", [drive("sda", "OLD"), attribute("sda", 5, 8.0)], NOON)
    later = NOON + timedelta(minutes=1)
    assert values(mapper.map("host03", [drive("sda", "NEW"), attribute("sda", 5, 0.0)], later)) == {
        ("disk:NEW", "smart_5"): 0.0
    }


def test_the_first_identity_of_the_table_has_the_last_word() -> None:
    info = Sample("node_disk_info", {"device": "sda", "serial": "WWN9", "model": "other"}, 1.0)
    for scrape in ([drive("sda", "ZA1"), info], [info, drive("sda", "ZA1")]):
        assert list(values(Mapper().map("h", [*scrape, attribute("sda", 5, 1.0)], NOON))) == [("disk:ZA1", "smart_5")]


@pytest.mark.parametrize("serial", ["", "   ", "00:00:00:00:00:00"])
def test_a_part_without_a_serial_is_known_by_its_place(serial: str) -> None:
    mapper = Mapper(identities=[Identity(Kind.DISK, "smartctl_device", "device", "serial_number")])
    assert list(values(mapper.map("h", [drive("sda", serial), attribute("sda", 5, 1.0)], NOON))) == [
        ("disk:h/sda", "smart_5")
    ]


def test_an_address_that_a_bond_shares_with_its_links_tells_none_of_them_apart() -> None:
    names = ("bond0", "eth0", "eth1")
    info = [Sample("node_network_info", {"device": name, "address": "aa:bb:cc:dd:ee:ff"}, 1.0) for name in names]
    up = [Sample("node_network_up", {"device": name}, 1.0) for name in names]
    assert {component for component, _ in values(Mapper().map("h", [*info, *up], NOON))} == {
        f"network:h/{name}" for name in names
    }


@pytest.mark.parametrize(
    ("combine", "expected"), [(Combine.SUM, 6.0), (Combine.MAX, 3.0), (Combine.MIN, 1.0), (Combine.AVG, 2.0)]
)
def test_several_series_of_a_device_become_one_value(combine: Combine, expected: float) -> None:
    mapper = Mapper([Metric("heat", Kind.CPU, "core_celsius", "heat", combine=combine)])
    scrape = [Sample("core_celsius", {"core": str(core)}, value) for core, value in enumerate([1.0, 2.0, 3.0])]
    assert values(mapper.map("h", scrape, NOON)) == {("cpu:h/cpu", "heat"): expected}


def test_a_sensor_without_a_reading_does_not_end_the_series_of_its_device() -> None:
    mapper = Mapper([Metric("heat", Kind.CPU, "core_celsius", "heat", combine=Combine.MAX)])
    cores = [Sample("core_celsius", {"core": "0"}, math.nan), Sample("core_celsius", {"core": "1"}, 40.0)]
    assert values(mapper.map("h", cores, NOON)) == {("cpu:h/cpu", "heat"): 40.0}
    gone = [Sample("core_celsius", {"core": name}, math.nan) for name in ("0", "1")]
    assert math.isnan(values(mapper.map("h", gone, NOON))["cpu:h/cpu", "heat"])


def test_what_no_metric_means_is_counted_by_name_and_not_kept() -> None:
    mapper = Mapper()
    batch = mapper.map("h", [attribute("sda", 5, 100.0, kind="value"), Sample("go_goroutines", {}, 9.0)], NOON)
    assert batch.samples.num_rows == batch.devices.num_rows == 0
    assert batch.samples.schema.equals(SAMPLES)
    assert batch.devices.schema.equals(DEVICES)
    assert mapper.unmapped == {"smartctl_device_attribute": 1, "go_goroutines": 1}


def test_supplies_are_told_apart_by_the_beginning_of_their_sensors_names() -> None:
    scrape = [
        Sample("ipmi_voltage_volts", {"name": "PSU1 Vout"}, 12.1),
        Sample("ipmi_voltage_volts", {"name": "PSU2 Vout"}, 11.9),
        Sample("ipmi_temperature_celsius", {"name": "Inlet Temp"}, 22.0),
        Sample("ipmi_voltage_volts", {"name": "P5V"}, 5.0),
    ]
    found = values(Mapper().map("h", scrape, NOON))
    assert found[("power:h/PSU1", "psu_output_volts")] == 12.1
    assert found[("power:h/PSU2", "psu_output_volts")] == 11.9
    assert {component for component, _ in found} == {"power:h/PSU1", "power:h/PSU2"}


def test_a_device_pattern_that_does_not_fit_or_a_missing_label_leaves_a_series_out() -> None:
    metric = Metric("volts", Kind.POWER, "volts", "volts", device_label="name", device_pattern="(PSU[0-9])")
    mapper = Mapper([metric, Metric("up", Kind.NETWORK, "up", "up", device_label="device")])
    batch = mapper.map("h", [Sample("volts", {"name": "rail"}, 1.0), Sample("up", {}, 1.0)], NOON)
    assert batch.samples.num_rows == 0


def test_metrics_of_the_host_belong_to_the_host_itself() -> None:
    found = values(Mapper().map("host03", [Sample("node_memory_MemTotal_bytes", {}, 64.0)], NOON))
    assert found == {("host:host03", "memory_total"): 64.0}


def test_samples_keep_their_own_times_and_the_scrapes_where_they_have_none() -> None:
    earlier = NOON - timedelta(minutes=5)
    up = [
        Sample("node_network_up", {"device": "eth0"}, 0.0, earlier),
        Sample("node_network_up", {"device": "eth0"}, 1.0),
    ]
    found = Mapper().map("h", up, NOON)
    assert {row["time"]: row["value"] for row in found.samples.to_pylist()} == {earlier: 0.0, NOON: 1.0}
    assert found.devices.column("first_seen").to_pylist() == [earlier, NOON]


def test_a_scrape_that_shows_other_series_than_the_last_is_mapped_as_it_is() -> None:
    mapper = Mapper()
    first = [attribute("sda", 5, 1.0), attribute("sdb", 5, 2.0)]
    assert len(values(mapper.map("h", first, NOON))) == 2
    assert values(mapper.map("h", first[1:], NOON)) == {("disk:h/sdb", "smart_5"): 2.0}
    assert values(mapper.map("h", first, NOON))["disk:h/sda", "smart_5"] == 1.0


def test_a_recorded_scrape_of_node_exporter_is_mapped_to_the_values_that_it_shows(recorded_fixtures: Path) -> None:
    scrape = parsed((recorded_fixtures / "node_exporter" / "e2e-output.txt").read_text())
    batch = Mapper().map("host01", scrape, NOON)
    found = values(batch)
    assert found["cpu:host01/cpu", "cpu_core_throttles"] == 14.0
    assert found["cpu:host01/cpu", "cpu_package_throttles"] == 36.0
    assert found["host:host01", "memory_total"] == 3.831959552e9
    assert found["memory:host01/mc0_csrow0_channel0", "dimm_uncorrected"] == 2.0
    busy = sum(
        sample.value
        for sample in scrape
        if sample.name == "node_cpu_seconds_total"
        and sample.labels["mode"] in ("user", "system", "nice", "irq", "softirq", "steal")
    )
    assert found["cpu:host01/cpu", "cpu_busy_seconds"] == pytest.approx(busy)
    assert set(batch.devices.column("host").to_pylist()) == {"host01"}


def test_an_nvme_drive_and_its_namespaces_are_one_part() -> None:
    info = Sample("node_disk_info", {"device": "nvme0n1", "serial": "PHL1", "model": "P4510"}, 1.0)
    reads = [Sample("node_disk_reads_completed_total", {"device": f"nvme0n{n}"}, 10.0 * n) for n in (1, 2)]
    errors = [Sample("smartctl_device_media_errors", {"device": f"nvme0n{n}"}, 7.0) for n in (1, 2)]
    batch = Mapper().map("h", [drive("nvme0", "PHL1"), info, *reads, *errors], NOON)
    assert values(batch) == {("disk:PHL1", "disk_reads"): 30.0, ("disk:PHL1", "nvme_media_errors"): 7.0}
    assert [row["device"] for row in batch.devices.to_pylist()] == ["nvme0"]


@pytest.mark.parametrize(
    ("number", "raw", "meant"), [(188, 0x1_0001_0002, 2.0), (9, 0x2A_0000_3039, 12345.0), (5, 70_000.0, 70_000.0)]
)
def test_of_packed_raw_values_the_count_is_taken(number: int, raw: float, meant: float) -> None:
    scrape = [drive("sda", "ZA1"), attribute("sda", number, float(raw))]
    assert values(Mapper().map("h", scrape, NOON)) == {("disk:ZA1", f"smart_{number}"): meant}


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("+12V", True),
        ("P12V_AUX", True),
        ("ATX-12V", True),
        ("12.0 V", True),
        ("-12V", False),
        ("N12V", False),
        ("+1.12V", False),
        ("VDD_112V", False),
        ("3VSB", False),
    ],
)
def test_the_rail_of_12_volts_is_found_by_its_sensors_label_wherever_that_stands(label: str, found: bool) -> None:
    at = {"chip": "platform_nct6775_656", "sensor": "in4"}
    volts, named = Sample("node_hwmon_in_volts", at, 12.1), Sample("node_hwmon_sensor_label", {**at, "label": label}, 1)
    for scrape in ([volts, named], [named, volts]):
        mapper = Mapper()
        assert (("power:h/power", "board_volts") in values(mapper.map("h", scrape, NOON))) is found
        assert mapper.unmapped["node_hwmon_sensor_label"] == 0


def test_a_sensor_that_gets_its_label_later_is_looked_up_anew() -> None:
    at = {"chip": "platform_nct6775_656", "sensor": "in4"}
    volts, mapper = Sample("node_hwmon_in_volts", at, 12.1), Mapper()
    assert values(mapper.map("h", [volts], NOON)) == {}
    mapper.map("h", [Sample("node_hwmon_sensor_label", {**at, "label": "+12V"}, 1.0)], NOON)
    assert values(mapper.map("h", [volts], NOON)) == {("power:h/power", "board_volts"): 12.1}


def core(number: int, value: float, time: datetime = NOON) -> Sample:
    return Sample("node_cpu_core_throttles_total", {"core": str(number)}, value, time)


def test_a_later_body_of_a_scrape_gives_the_value_of_all_that_came() -> None:
    mapper = Mapper()
    first = mapper.map("h", [core(0, 7.0)], NOON, whole=False)
    second = mapper.map("h", [core(1, 100.0)], NOON, whole=False)
    assert (values(first), values(second)) == (
        {("cpu:h/cpu", "cpu_core_throttles"): 7.0},
        {("cpu:h/cpu", "cpu_core_throttles"): 107.0},
    )
    assert [batch.weights.to_pylist() for batch in (first, second) if batch.weights is not None] == [[1], [2]]


@pytest.mark.parametrize(
    "limits", [MappingSettings(values_max=0), MappingSettings(host_scrapes_max=0), MappingSettings(host_series_max=0)]
)
def test_past_what_may_be_remembered_a_body_is_joined_with_nothing_and_what_waited_is_filed(
    limits: MappingSettings,
) -> None:
    mapper = Mapper(settings=limits)
    up = replace(Sample("node_network_up", {"device": "eth0"}, 1.0), time=NOON)
    found = values(mapper.map("h", [core(0, 7.0), up], NOON, whole=False))
    assert found == {("cpu:h/cpu", "cpu_core_throttles"): 7.0, ("network:h/eth0", "nic_up"): 1.0}
    assert values(mapper.map("h", [core(1, 100.0)], NOON, whole=False)) == {("cpu:h/cpu", "cpu_core_throttles"): 100.0}
    assert mapper.waiting().samples.num_rows == 0


def test_of_many_scrapes_the_ones_that_were_touched_last_are_remembered() -> None:
    mapper = Mapper(settings=MappingSettings(host_scrapes_max=2))
    times = [NOON + timedelta(seconds=15 * number) for number in range(3)]
    for time in times:
        mapper.map("h", [core(0, 7.0, time)], NOON, whole=False)
    found = [values(mapper.map("h", [core(1, 100.0, time)], NOON, whole=False)) for time in reversed(times)]
    assert [value for each in found for value in each.values()] == [107.0, 107.0, 100.0]


def test_what_a_new_device_shows_waits_for_its_serial_and_no_longer_than_may_be() -> None:
    mapper = Mapper(settings=MappingSettings(settle_s=10.0))
    reading, nameless = replace(attribute("sda", 5, 8.0), time=NOON), replace(attribute("sdb", 5, 1.0), time=NOON)
    assert values(mapper.map("h", [reading, nameless], NOON, whole=False)) == {}
    assert values(mapper.map("h", [replace(drive("sda", "ZA1"), time=NOON)], NOON, whole=False)) == {}
    soon, late = NOON + timedelta(seconds=9), NOON + timedelta(seconds=10)
    assert values(mapper.map("another", [], soon)) == {}
    found = mapper.map("another", [], late)
    assert values(found) == {("disk:ZA1", "smart_5"): 8.0, ("disk:h/sdb", "smart_5"): 1.0}
    assert set(found.devices.column("host").to_pylist()) == {"h"}
    assert values(mapper.map("h", [replace(reading, time=late)], late, whole=False)) == {("disk:ZA1", "smart_5"): 8.0}


def test_a_scrape_that_came_whole_takes_nothing_from_what_others_sent_of_the_host() -> None:
    mapper, late = Mapper(settings=MappingSettings(settle_s=10.0)), NOON + timedelta(seconds=10)
    reading = replace(attribute("sda", 5, 8.0), time=NOON)
    assert values(mapper.map("h", [core(0, 7.0), reading], NOON, whole=False)) == {
        ("cpu:h/cpu", "cpu_core_throttles"): 7.0
    }
    here = NOON + timedelta(seconds=1)  # the drive's reading waits still, and a new drive is news for every scrape
    assert values(mapper.map("h", [drive("sdb", "ZB1"), attribute("sda", 5, 9.0)], here)) == {}
    joined = values(mapper.map("h", [core(1, 100.0)], here, whole=False))
    assert joined == {("cpu:h/cpu", "cpu_core_throttles"): 107.0}
    found = mapper.map("another", [], late).samples.to_pylist()
    assert [(row["component"], row["value"], row["time"]) for row in found] == [
        ("disk:h/sda", 8.0, NOON),
        ("disk:h/sda", 9.0, here),
    ]


def test_a_replaced_drives_values_that_came_before_its_serial_are_taken_back_from_the_old_one() -> None:
    mapper, later = Mapper(), NOON + timedelta(minutes=1)
    mapper.map("h", [drive("sda", "OLD"), attribute("sda", 5, 8.0)], NOON)
    reading = replace(attribute("sda", 5, 0.0), time=later)
    assert values(mapper.map("h", [reading], later, whole=False)) == {("disk:OLD", "smart_5"): 0.0}
    mended = mapper.map("h", [replace(drive("sda", "NEW"), time=later)], later, whole=False)
    assert mended.weights is not None
    assert dict(zip(values(mended), mended.weights.to_pylist(), strict=True)) == {
        ("disk:NEW", "smart_5"): 1,
        ("disk:OLD", "smart_5"): TAKEN_BACK,
    }


def test_values_of_a_backlog_are_of_the_drive_that_was_there_at_their_time() -> None:
    earlier = NOON - timedelta(hours=1)
    scrape = [
        replace(sample, time=time)
        for time, serial in ((NOON, "NEW"), (earlier, "OLD"))
        for sample in (attribute("sda", 5, 8.0), drive("sda", serial))
    ]
    found = Mapper().map("h", scrape, NOON).samples.to_pylist()
    assert {row["component"]: row["time"] for row in found} == {"disk:NEW": NOON, "disk:OLD": earlier}


@pytest.mark.parametrize("words", [lambda n: drive(f"sd{n}", f"Z{n}"), lambda n: attribute(f"sd{n}", 5, 1.0)])
def test_devices_that_come_for_ever_make_what_is_remembered_of_their_host_begin_anew(
    words: Callable[[int], Sample],
) -> None:
    mapper = Mapper(settings=MappingSettings(host_series_max=20))
    sizes = []
    for number in range(100):
        mapper.map("h", [words(number), core(0, 1.0)], NOON + timedelta(seconds=number))
        sizes.append(mapper.size)
    assert 18 <= max(sizes) <= 20
    assert sizes.count(0) >= 3  # begun anew


def test_hosts_that_come_for_ever_make_the_one_longest_not_heard_of_forgotten() -> None:
    mapper = Mapper(settings=MappingSettings(series_max=10))
    for number in range(100):
        mapper.map("steady", [drive("sda", "ZA1")] if number == 0 else [core(0, 1.0)], NOON)
        mapper.map(f"host{number}", [core(0, 1.0)], NOON)
        assert mapper.size <= 10
    found = mapper.map("steady", [attribute("sda", 5, 1.0)], NOON)
    assert values(found) == {("disk:ZA1", "smart_5"): 1.0}


def test_names_that_nobody_means_are_counted_each_for_itself_up_to_a_limit() -> None:
    mapper = Mapper(settings=MappingSettings(unmapped_max=2))
    for name in ("a", "b", "c", "d", "a"):
        mapper.map("h", [Sample(name, {}, 1.0)], NOON)
    assert mapper.unmapped == {"a": 2, "b": 1, OTHERS: 2}
