"""Series of other exporters, names and addresses lead to the hosts and parts that they are of."""

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pytest

from forewarn.store import bulk
from forewarn.store.label_rules import LabelRules, LabelSettings
from forewarn.store.mapping import Mapper
from forewarn.store.presets import PRESETS, Rename
from forewarn.store.scrapes import Key
from forewarn.store.source import Readings
from forewarn.store.windows import microseconds

NOON = microseconds(datetime(2026, 1, 5, 12, tzinfo=UTC))
Shown = list[tuple[str, Mapping[str, str], float]]


def values(shown: Shown, rules: LabelRules | None = None) -> dict[tuple[str, str], float]:
    """By component and metric, what becomes of series of one time."""
    rules = rules or LabelRules()
    series: tuple[Key, ...] = tuple((name, tuple(sorted(labels.items()))) for name, labels, _ in shown)
    of, time = np.arange(len(series)), np.full(len(series), NOON, np.int64)
    readings = Readings(series, of, time, np.array([value for _, _, value in shown]))
    rules.learn(series)
    batch = bulk.mapped(Mapper(), readings, [rules.locate(key) for key in series])
    return {(row["component"], row["metric"]): row["value"] for row in batch.samples.to_pylist()}


def test_telegraf_tells_of_all_that_its_plugins_measure() -> None:
    host = {"host": "host03"}
    disk = {**host, "device": "sda", "model": "M", "serial_no": "Z1"}
    found = values(
        [
            ("cpu_time_user", {**host, "cpu": "cpu0"}, 5.0),
            ("cpu_time_user", {**host, "cpu": "cpu1"}, 6.0),
            ("cpu_time_user", {**host, "cpu": "cpu-total"}, 11.0),
            ("cpu_time_idle", {**host, "cpu": "cpu0"}, 9.0),
            ("mem_total", host, 4e9),
            ("diskio_reads", {**host, "name": "sda"}, 100.0),
            ("diskio_reads", {**host, "name": "sda1"}, 60.0),
            ("diskio_read_time", {**host, "name": "sda"}, 2500.0),
            ("net_err_in", {**host, "interface": "eth0"}, 3.0),
            ("net_err_in", {**host, "interface": "all"}, 3.0),
            ("smart_attribute_raw_value", {**disk, "id": "5", "name": "Reallocated_Sector_Ct"}, 8.0),
            ("smart_device_health_ok", disk, 1.0),
            ("smart_device_temp_c", disk, 33.0),
            ("ipmi_sensor_value", {**host, "name": "psu1_vout", "unit": "volts"}, 12.1),
            ("ipmi_sensor_value", {**host, "name": "psu1_temp", "unit": "degrees_c"}, 41.0),
        ]
    )
    assert found == {
        ("cpu:host03/cpu", "cpu_busy_seconds"): 11.0,
        ("cpu:host03/cpu", "cpu_idle_seconds"): 9.0,
        ("host:host03", "memory_total"): 4e9,
        ("disk:Z1", "disk_reads"): 100.0,
        ("disk:Z1", "disk_read_seconds"): 2.5,
        ("network:host03/eth0", "nic_receive_errors"): 3.0,
        ("disk:Z1", "smart_5"): 8.0,
        ("disk:Z1", "smart_status"): 1.0,
        ("disk:Z1", "disk_temperature"): 33.0,
        ("power:host03/psu1", "psu_output_volts"): 12.1,
        ("power:host03/psu1", "psu_temperature"): 41.0,
    }


def test_the_libvirt_exporter_tells_a_vm_by_the_uuid_on_each_series() -> None:
    vm = {"domain": "web1", "instance": "host03:9177", "uuid": "0cf8"}
    found = values(
        [
            ("libvirt_domain_info_virtual_cpus", vm, 4.0),
            ("libvirt_domain_info_cpu_time_seconds_total", vm, 77.0),
            ("libvirt_domain_block_stats_read_requests_total", {**vm, "target_device": "vda"}, 5.0),
            ("libvirt_domain_block_stats_read_requests_total", {**vm, "target_device": "vdb"}, 6.0),
        ]
    )
    assert found == {("vm:0cf8", "vm_vcpus"): 4.0, ("vm:0cf8", "vm_cpu_seconds"): 77.0, ("vm:0cf8", "vm_reads"): 11.0}


def test_the_scripts_for_textfiles_tell_of_drives_by_their_files() -> None:
    sda = {"disk": "/dev/sda", "instance": "host03:9100", "type": "sat"}
    nvme = {"device": "/dev/nvme0n1", "instance": "host03:9100"}
    found = values(
        [
            ("smartmon_device_info", {**sda, "device_model": "M", "serial_number": "Z1"}, 1.0),
            ("smartmon_reallocated_sector_ct_raw_value", {**sda, "smart_id": "5"}, 8.0),
            ("smartmon_device_smart_healthy", sda, 1.0),
            ("node_nvme_info", {"device": "nvme0", "instance": "host03:9100", "model": "N", "serial": "Z2 "}, 1.0),
            ("nvme_percentage_used_ratio", nvme, 0.25),
        ]
    )
    assert found == {
        ("disk:Z1", "smart_5"): 8.0,
        ("disk:Z1", "smart_status"): 1.0,
        ("disk:Z2", "nvme_percentage_used"): 25.0,
    }


def test_smartctl_and_ipmi_exporters_speak_the_catalogues_own_words() -> None:
    drive = {"device": "sda", "instance": "host03:9633", "model_name": "M", "serial_number": "Z1"}
    raw = {"attribute_id": "197", "attribute_value_type": "raw", "device": "sda", "instance": "host03:9633"}
    sensor = {"id": "7", "instance": "host03:9290", "name": "PSU2 Vout", "type": "Voltage"}
    found = values(
        [("smartctl_device", drive, 1.0), ("smartctl_device_attribute", raw, 2.0), ("ipmi_voltage_volts", sensor, 12.0)]
    )
    assert found == {("disk:Z1", "smart_197"): 2.0, ("power:host03/PSU2", "psu_output_volts"): 12.0}


@pytest.mark.parametrize(
    ("settings", "labels", "host"),
    [
        (LabelSettings(), {"instance": "host03.example.org:9100"}, "host03.example.org"),
        (LabelSettings(cut_domain=True), {"instance": "host03.example.org:9100"}, "host03"),
        (LabelSettings(cut_domain=True), {"instance": "10.0.0.7:9100"}, "10.0.0.7"),
        (LabelSettings(hosts={"10.0.0.7": "host03"}), {"instance": "10.0.0.7:9100"}, "host03"),
        (LabelSettings(host_patterns={"bmc-(.+)": r"\1"}), {"instance": "bmc-host03"}, "host03"),
        (LabelSettings(host_labels=("node",)), {"instance": "x:1", "node": "host03"}, "host03"),
        (LabelSettings(), {"host": "host03"}, "host03"),
        (LabelSettings(), {"job": "node"}, ""),
    ],
)
def test_a_host_is_found_by_its_label(settings: LabelSettings, labels: Mapping[str, str], host: str) -> None:
    assert LabelRules(settings).host(labels) == host


def test_an_address_is_the_host_that_node_exporter_says_unless_two_say_the_same() -> None:
    def uname(address: str, name: str) -> Key:
        return "node_uname_info", (("instance", f"{address}:9100"), ("nodename", name))

    rules = LabelRules()
    assert rules.learn([uname("10.0.0.7", "host07"), uname("10.0.0.8", "host08"), uname("host09", "other")])
    assert not rules.learn([uname("10.0.0.7", "host07")])
    assert rules.host({"instance": "10.0.0.7:9633"}) == "host07"
    assert rules.host({"instance": "host09:9633"}) == "host09"
    rules.learn([uname("10.0.0.9", "host08")])
    assert rules.host({"instance": "10.0.0.8:9100"}) == "10.0.0.8"


def test_an_operators_rename_goes_before_a_preset() -> None:
    own = LabelSettings(renames=(Rename("mem_total", "node_memory_MemTotal_bytes", scale=1024.0),))
    shown: Shown = [("mem_total", {"host": "h"}, 2.0)]
    assert values(shown) == {("host:h", "memory_total"): 2.0}
    assert values(shown, LabelRules(own)) == {("host:h", "memory_total"): 2048.0}
    assert values(shown, LabelRules(LabelSettings(presets=("node_exporter",)))) == {}


@pytest.mark.parametrize("wrong", [{"presets": ("nothing",)}, {"host_patterns": {"(": "x"}}])
def test_rules_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"nothing|does not work"):
        LabelSettings(**wrong)  # type: ignore[arg-type]


def test_every_preset_leads_to_a_name_of_the_catalogue() -> None:
    known = Mapper().names
    assert [rename for preset in PRESETS.values() for rename in preset if rename.means not in known] == []
