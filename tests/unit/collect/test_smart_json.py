"""What one recorded answer of smartctl becomes, of every protocol, packed, odd and asleep."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.collect import exposition
from forewarn.collect.smart_attributes import unpack
from forewarn.collect.smart_json import parse
from forewarn.collect.smart_reading import UNREADABLE_MAX
from forewarn.domain.telemetry import Sample
from tests.frozen import find


def read(recordings: Path, name: str) -> tuple[list[Sample], list[str]]:
    return parse(name, json.loads((recordings / f"{name}.json").read_text()))


def test_an_ata_drive_tells_identity_health_and_errors(recordings: Path) -> None:
    samples, unreadable = read(recordings, "hdd-packed")
    assert unreadable == []
    (identity,) = [sample.labels for sample in samples if sample.name == "smartctl_device"]
    assert identity == {
        "device": "hdd-packed",
        "interface": "sat",
        "protocol": "ATA",
        "model_family": "Seagate Example HDD",
        "model_name": "ST4000EX0033",
        "serial_number": "Z1Z0EXAM",
        "ata_additional_product_id": "unknown",
        "firmware_version": "SN04",
        "ata_version": "ACS-2",
        "sata_version": "SATA 3.1",
        "form_factor": "3.5 inches",
        "scsi_vendor": "",
        "scsi_product": "",
        "scsi_revision": "",
        "scsi_version": "",
    }
    assert find(samples, "smartctl_device_smart_status") == {"device=hdd-packed": 0}
    assert find(samples, "smartctl_device_smartctl_exit_status") == {"device=hdd-packed": 64}
    assert find(samples, "smartctl_device_capacity_bytes") == {"device=hdd-packed": 4000787030016}
    assert find(samples, "smartctl_device_error_log_count") == {"device=hdd-packed error_log_type=summary": 3}
    assert find(samples, "smartctl_device_self_test_log_error_count") == {
        "device=hdd-packed self_test_log_type=standard": 1
    }
    assert find(samples, "smartctl_device_erc_seconds")["device=hdd-packed op_type=read"] == 7
    test = "device=hdd-packed self_test_type=Short offline"
    assert find(samples, "forewarn_smartctl_self_test_passed") == {test: 0}
    assert find(samples, "forewarn_smartctl_self_test_age_seconds") == {test: 54 * 3600}
    assert find(samples, "smartctl_device_interface_speed")["device=hdd-packed speed_type=max"] == 6e9
    assert find(samples, "smartctl_device_state") == {"device=hdd-packed": 0}


def test_attributes_bear_the_exporters_labels(recordings: Path) -> None:
    samples, _ = read(recordings, "hdd-packed")
    (raw,) = [
        s for s in samples if s.labels.get("attribute_id") == "1" and s.labels.get("attribute_value_type") == "raw"
    ]
    assert raw == Sample(
        "smartctl_device_attribute",
        {
            "device": "hdd-packed",
            "attribute_flags_short": "POSR--",
            "attribute_flags_long": "prefailure,updated_online,performance,error_rate",
            "attribute_value_type": "raw",
            "attribute_id": "1",
            "attribute_name": "Raw_Read_Error_Rate",
        },
        float((5 << 32) + 63245112),
    )
    reallocated = [(s.labels["attribute_value_type"], s.value) for s in samples if s.labels.get("attribute_id") == "5"]
    assert reallocated == [("value", 93), ("worst", 93), ("thresh", 10), ("raw", 304)]


def test_temperature_and_hours_are_those_that_smartctl_decoded(recordings: Path) -> None:
    samples, _ = read(recordings, "hdd-packed")
    assert find(samples, "smartctl_device_temperature")["device=hdd-packed temperature_type=current"] == 31
    assert find(samples, "smartctl_device_power_on_seconds") == {"device=hdd-packed": (37054 * 60 + 12) * 60}


def test_what_vendors_packed_into_one_number_is_told_apart(recordings: Path) -> None:
    samples, _ = read(recordings, "hdd-packed")
    unpacked = {s.labels["attribute_id"]: s.value for s in samples if s.name == "forewarn_smartctl_attribute_unpacked"}
    assert unpacked == {"1": 5, "9": 37054, "188": 4, "190": 31, "194": 31, "240": 50311}


@pytest.mark.parametrize(
    ("attribute", "raw", "model", "inside"),
    [
        (1, 234151754, "Seagate Barracuda ST3500418AS", 0),
        (1, 786446, "Hitachi HDS721010CLA332", None),
        (9, 89180, "", None),
        (188, 0, "", 0),
        (197, 8, "", None),
    ],
)
def test_only_packed_values_are_taken_apart(attribute: int, raw: int, model: str, inside: int | None) -> None:
    assert unpack(attribute, raw, model) == inside


def test_the_wear_of_an_older_ssd_is_what_its_attribute_has_lost(recordings: Path) -> None:
    samples, unreadable = read(recordings, "ssd")
    assert find(samples, "smartctl_device_percentage_used") == {"device=ssd": 2}
    assert unreadable == []
    assert find(read(recordings, "hdd-packed")[0], "smartctl_device_percentage_used") == {}


def test_a_sas_drive_tells_defects_errors_and_wear(recordings: Path) -> None:
    samples, unreadable = read(recordings, "sas")
    drive = "device=sas model_family= model_name=EXAMPLE SAS600 serial_number=SAS0EXAMPLE"
    assert find(samples, "smartctl_scsi_grown_defect_list") == {drive: 12}
    assert find(samples, "smartctl_read_total_uncorrected_errors") == {drive: 1}
    assert find(samples, "smartctl_read_errors_corrected_by_eccfast") == {drive: 640}
    assert find(samples, "smartctl_write_total_uncorrected_errors") == {drive: 0}
    assert find(samples, "smartctl_device_percentage_used") == {"device=sas": 7}
    assert find(samples, "smartctl_device_temperature")["device=sas temperature_type=drive_trip"] == 85
    (identity,) = [sample.labels for sample in samples if sample.name == "smartctl_device"]
    assert (identity["model_name"], identity["firmware_version"]) == ("EXAMPLE SAS600", "A690")
    assert unreadable == []


def test_an_nvme_drive_tells_its_health_log(recordings: Path) -> None:
    samples, unreadable = read(recordings, "nvme")
    told = {
        name: find(samples, f"smartctl_device_{name}")["device=nvme"]
        for name in (
            "critical_warning",
            "media_errors",
            "num_err_log_entries",
            "percentage_used",
            "available_spare",
            "available_spare_threshold",
            "capacity_bytes",
            "power_cycle_count",
            "power_on_seconds",
            "bytes_written",
        )
    }
    assert told == {
        "critical_warning": 4,
        "media_errors": 2,
        "num_err_log_entries": 90,
        "percentage_used": 103,
        "available_spare": 91,
        "available_spare_threshold": 10,
        "capacity_bytes": 1024209543168,
        "power_cycle_count": 32,
        "power_on_seconds": 861 * 3600,
        "bytes_written": 20 * 512000,
    }
    assert find(samples, "smartctl_device_temperature") == {
        "device=nvme temperature_type=current": 37,
        "device=nvme temperature_type=sensor1": 37,
        "device=nvme temperature_type=sensor2": 44,
    }
    assert unreadable == []


def test_a_sleeping_drive_gives_no_values_and_smartctls_own_reason(recordings: Path) -> None:
    samples, unreadable = read(recordings, "asleep")
    assert [(sample.name, sample.value) for sample in samples] == [
        ("forewarn_smartctl_standby", 1),
        ("smartctl_device_smartctl_exit_status", 2),
    ]
    assert unreadable == []


def test_an_odd_answer_gives_what_makes_sense_and_names_the_rest(recordings: Path) -> None:
    samples, unreadable = read(recordings, "odd")
    assert find(samples, "smartctl_device_temperature") == {"device=odd temperature_type=sensor2": 40}
    raw = [(s.labels["attribute_id"], s.value) for s in samples if s.name == "smartctl_device_attribute"]
    assert raw == [("5", 3)]
    assert {
        "model_name: not a text",
        "smart_status.passed: not true or false",
        "power_on_time: not an object",
        "temperature: not an object",
        "user_capacity.bytes: not a number",
        "power_cycle_count: not a number",
        "ata_smart_error_log: not an object",
        "ata_smart_attributes.table.[]: not an object",
        "ata_smart_attributes.table[].id: missing or twice",
        "nvme_smart_health_information_log.media_errors: not a number",
    } <= set(unreadable)


def test_a_document_that_is_all_nonsense_names_a_bounded_number_of_places() -> None:
    table = [{"id": number, "value": "x", "raw": {"value": f"y{number}"}, "name": [number]} for number in range(300)]
    names = ("model_name", "model_family", "serial_number", "firmware_version", "scsi_vendor")
    fields: dict[str, Any] = {name: [] for name in names}
    logs = {"ata_smart_self_test_log": {f"log{number}": {"count": f"{number}x"} for number in range(99)}}
    temperature = {"temperature": {f"t{number}": "hot" for number in range(99)}}
    _, unreadable = parse("sda", {**fields, **logs, **temperature, "ata_smart_attributes": {"table": table}})
    assert len(unreadable) == UNREADABLE_MAX


def test_what_stands_in_the_wrong_kind_of_place_is_named() -> None:
    _, unreadable = parse(
        "sda",
        {
            "serial_number": "A",
            "ata_smart_attributes": {"table": {}},
            "ata_smart_error_log": {"summary": {"count": "many"}, "revision": 1},
            "ata_smart_self_test_log": {"standard": {"count": None}},
            "ata_sct_erc": {"read": {"enabled": False}},
        },
    )
    assert unreadable == ["ata_smart_attributes.table: not a list", "count: not a number"]


@pytest.mark.parametrize("document", [None, [], "text", 5, True])
def test_json_that_is_no_object_is_named_as_such(document: object) -> None:
    assert parse("sda", document) == ([], ["not an object"])


KEYS = st.sampled_from(
    [
        *("smartctl", "exit_status", "messages", "string", "device", "name", "type", "model_name", "serial_number"),
        *("smart_status", "passed", "temperature", "current", "power_on_time", "hours", "interface_speed", "max"),
        *("ata_smart_attributes", "table", "id", "raw", "value", "flags", "ata_smart_error_log", "count"),
        *("nvme_smart_health_information_log", "temperature_sensors", "scsi_error_counter_log", "read"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=40
)


@settings(max_examples=60)
@given(st.dictionaries(KEYS, DOCUMENTS, max_size=8))
def test_no_document_makes_the_parser_fail(document: dict[str, Any]) -> None:
    samples, unreadable = parse("sda", document)
    assert all(isinstance(why, str) for why in unreadable)
    exposition.write(samples).encode("utf-8")
