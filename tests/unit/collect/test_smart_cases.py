"""Small answers of each kind of drive, by hand: what becomes of health, wear, temperature, hours and logs."""

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forewarn.collect import exposition
from forewarn.collect.smart import read
from forewarn.collect.smart_json import parse
from tests.frozen import find

FOLDER = Path(__file__).resolve().parents[2] / "fixtures/smartctl"
RECORDINGS = {file.name: file.read_bytes() for file in sorted(FOLDER.glob("*.json"))}
STATUS, WEAR = "smartctl_device_smart_status", "smartctl_device_percentage_used"
HOURS, CELSIUS = "smartctl_device_power_on_seconds", "smartctl_device_temperature"
UNPACKED = "forewarn_smartctl_attribute_unpacked"


def row(number: int, name: str, value: float = 100, raw: object = 0, text: str = "") -> dict[str, Any]:
    return {"id": number, "name": name, "value": value, "raw": {"value": raw, "string": text}}


def ata(*rows: dict[str, Any], model: str = "EXAMPLE", **more: Any) -> dict[str, Any]:
    return {"model_name": model, "serial_number": "A", "ata_smart_attributes": {"table": list(rows)}, **more}


def told(document: object, metric: str) -> float | None:
    """The one value of a metric, None where there is none."""
    found = [sample.value for sample in parse("sda", document)[0] if sample.name == metric]
    assert len(found) <= 1
    return found[0] if found else None


def current(document: object) -> float | None:
    samples, _ = parse("sda", document)
    return find(samples, CELSIUS).get("device=sda temperature_type=current")


@pytest.mark.parametrize(
    ("document", "healthy"),
    [
        ({"smart_status": {"passed": True}}, 1),
        ({"smart_status": {"passed": False}}, 0),
        ({}, None),
        ({"smart_status": {"passed": None}}, None),
        ({"nvme_smart_health_information_log": {"critical_warning": 0}}, 1),
        ({"nvme_smart_health_information_log": {"critical_warning": 4}}, 0),
        ({"smart_status": {"passed": True}, "nvme_smart_health_information_log": {"critical_warning": 1}}, 0),
        ({"smart_status": {"passed": True, "scsi": {"asc": 93, "ascq": 16}}}, 0),
        ({"smart_status": {"passed": True, "scsi": {"asc": 11, "ascq": 1}}}, 0),
        ({"smart_status": {"passed": True, "scsi": {"asc": 0, "ascq": 0}}}, 1),
        ({"smartctl": {"exit_status": 8}}, 0),
        ({"smartctl": {"exit_status": 64 + 128 + 4}}, None),
        ({"smartctl": {"exit_status": 8.5}}, None),
        ({"ata_sct_status": {"smart_status": {"passed": False}}}, 0),
    ],
)
def test_a_drive_is_ill_by_any_of_its_signs_and_healthy_by_its_word(document: object, healthy: float | None) -> None:
    assert told(document, STATUS) == healthy


def test_a_scsi_drives_warning_is_told_with_its_codes() -> None:
    status = {"passed": False, "scsi": {"asc": 93, "ascq": 50, "ie_string": "DATA CHANNEL IMPENDING FAILURE"}}
    samples, _ = parse("sdb", {"serial_number": "A", "smart_status": status})
    assert find(samples, "forewarn_smartctl_informational_exception") == {
        "asc=93 ascq=50 device=sdb text=DATA CHANNEL IMPENDING FAILURE": 1
    }


@pytest.mark.parametrize(
    ("document", "used"),
    [
        (ata(row(177, "Wear_Leveling_Count", 98, 129)), 2),
        (ata(row(177, "Wear_Range_Delta", 98, 129)), None),
        (ata(row(202, "Percent_Lifetime_Remain", 93, 7)), 7),
        (ata(row(202, "Perc_Rated_Life_Used", 93, 7)), 7),
        (ata(row(202, "Data_Address_Mark_Errs", 93, 7)), None),
        (ata(row(231, "SSD_Life_Left", 98, 98), row(233, "Flash_Writes_GiB", 100, 979)), 2),
        (ata(row(231, "Temperature_Celsius", 31, 31)), None),
        (ata(row(233, "Media_Wearout_Indicator", 15, 0)), 85),
        (ata(row(230, "Media_Wearout_Indicator", 1, 0)), None),
        (ata(row(173, "Wear_Leveling_Count", 200, 0)), None),
        (ata(row(169, "Remaining_Lifetime_Perc", 88)), 12),
        (ata(row(169, "Remaining_Lifetime_Perc", 100, 63)), 37),  # Silicon Motion: the normalized value stands still
        (ata(row(209, "Remaining_Lifetime_Perc", 0, 99)), 1),  # Indilinx: there is none
        (ata(row(231, "SSD_Life_Left", 92, 1)), 8),  # SandForce: the raw value is no share
        (ata(row(233, "SSD_Remaining_Life_Perc", 96, 0)), 4),
        (ata(row(202, "Unknown_SSD_Attribute", 96, 4), model="Micron_5400", rotation_rate=0), 4),
        (ata(row(202, "Unknown_SSD_Attribute", 96, 4), model="SAMSUNG MZ7L3", rotation_rate=0), None),
        (ata(row(202, "Unknown_Attribute", 96, 4), model="Micron_5400", rotation_rate=7200), None),
        (ata(row(177, "Wear_Leveling_Count", 98), endurance_used={"current_percent": 5}), 5),
        ({"scsi_percentage_used_endurance_indicator": 3}, 3),
        ({"nvme_smart_health_information_log": {"percentage_used": 104}}, 104),
        ({"nvme_smart_health_information_log": {"percentage_used": 1e9}}, None),
    ],
)
def test_wear_is_the_share_of_life_that_is_used_whichever_way_the_maker_counts(
    document: object, used: float | None
) -> None:
    assert told(document, WEAR) == used


def test_wear_in_a_sata_drives_statistics_goes_before_its_attributes() -> None:
    entry = {"name": "Percentage Used Endurance Indicator", "value": 9, "flags": {"string": "N--", "valid": True}}
    pages = [{"number": 7, "name": "Solid State Device Statistics", "table": [entry]}]
    document = ata(row(177, "Wear_Leveling_Count", 98), ata_device_statistics={"pages": pages})
    assert told(document, WEAR) == 9
    assert told(document, "smartctl_device_statistics") == 9
    entry["flags"] = {"valid": False}
    assert told(document, WEAR) == 2


@pytest.mark.parametrize(
    ("document", "seconds"),
    [
        ({"power_on_time": {"hours": 10, "minutes": 30}}, 10.5 * 3600),
        (ata(row(9, "Power_On_Hours", 58, 3342485283705022, "37054h+12m+58.233s")), (37054 * 60 + 12) * 60),
        (ata(row(9, "Power_On_Minutes", 58, 2223252, "37054h+12m")), (37054 * 60 + 12) * 60),
        (ata(row(9, "Power_On_Half_Minutes", 58, 4446504, "37054h+12m")), (37054 * 60 + 12) * 60),
        (ata(row(9, "Power_On_Hours", 58, 3342485283705022)), 37054 * 3600),
        (ata(row(9, "Power_On_Hours", 58, "89180")), 89180 * 3600),
        (ata(row(9, "Power_On_Hours", 58, (77 << 24) + 20135, "20135 (77 0 0)")), 20135 * 3600),
        (ata(row(9, "Power_On_Hours", 58, 2**32 - 1)), None),
        ({"power_on_time": {"hours": 2**64}}, None),
        ({"nvme_smart_health_information_log": {"power_on_hours": 861}}, 861 * 3600),
    ],
)
def test_time_on_is_decoded_from_whichever_form_it_has(document: object, seconds: float | None) -> None:
    assert told(document, HOURS) == seconds


@pytest.mark.parametrize(
    ("document", "celsius"),
    [
        ({"temperature": {"current": 31}}, 31),
        (ata(row(194, "Temperature_Celsius", 35, 81604378659, "35 (0 19 0 0 0)")), 35),
        (ata(row(194, "Temperature_Celsius", 35, 176095232031, "31 (Min/Max 24/41)")), 31),
        (ata(row(190, "Airflow_Temperature_Cel", 65, 656146467)), 35),
        (ata(row(194, "Temperature_Celsius", 35, 315, "31.5")), 31),
        (ata(row(194, "Temperature_Celsius", 100, 254 + (255 << 8))), -2),
        (ata(row(190, "Unknown_Attribute", 65, 27), row(194, "Temperature_Celsius", 35, 28)), 28),
        (ata(row(190, "Soft_ECC_Errors", 65, 27)), None),
        (ata(row(194, "Temperature_Celsius_x10", 75, 245, "24.5")), 24),
        (ata(row(231, "Temperature_Celsius", 69, 31)), 31),
        (ata(row(231, "SSD_Life_Left", 94, 94)), None),
        (ata(row(231, "Unknown_Attribute", 94, 94)), None),
        (ata(row(194, "Temperature_Celsius", 35, 28), temperature={"current": 65262}), 28),
        ({"ata_sct_status": {"temperature": {"current": 33}}}, 33),
        (ata(row(194, "Temperature_Celsius", 35, 28), temperature={"drive_trip": 60}), 28),
        ({"temperature": {"current": 65262}}, None),
        ({"nvme_smart_health_information_log": {"temperature": 40}}, 40),
        ({"temperature": "hot", "nvme_smart_health_information_log": {"temperature": 40}}, 40),
        ({"temperature": {"current": "31"}}, 31),
    ],
)
def test_temperature_is_decoded_from_whichever_place_has_it(document: object, celsius: float | None) -> None:
    assert current(document) == celsius


@pytest.mark.parametrize(
    ("model", "number", "raw", "text", "inside"),
    [
        ("Seagate ST4000NM0033", 1, (5 << 32) + 63245112, "", 5),
        ("Seagate ST4000NM0033", 7, 63245112, "", 0),
        ("ST2000DM001-1CH164", 195, (3 << 32) + 1, "", 3),
        ("SAMSUNG SpinPoint M8 (AF) ST1000LM024 HN-M101MBB", 1, 17, "", None),
        ("WDC WD20EFRX", 1, 17, "", None),
        ("ST8000NM0055", 188, 51540393996, "", 12),
        ("ST8000NM0055", 188, (2 << 32) + (2 << 16) + 2, "2 2 2", 2),
        ("ST8000NM0055", 240, 9230082287649927, "50311h+35m+49.046s", 50311),
        ("ST8000NM0055", 240, 119898307157947, "122811 (109 12 0)", 122811),
        ("EXAMPLE", 194, 141734969371, "27 (Min/Max 16/33)", 27),
        ("EXAMPLE", 194, 27, "27", None),
        ("EXAMPLE", 5, 8, "8", None),
        ("FUJITSU MHY2120BH", 5, 2000 << 32, "0 (2000 0)", 0),
        ("FUJITSU MHY2120BH", 196, 7145 << 16, "0 (0 7145)", 0),
        ("SSD", 1, 142937126, "0/142937126", 0),
        ("SSD", 233, 0x26001C0026, "0x0026001c0026", None),
        ("WDC WD20EFRX", 3, 431 << 16 | 433, "433 (Average 431)", 433),
        ("EXAMPLE", 194, 245, "24.5", 24),
    ],
)
def test_what_is_packed_is_told_decoded_beside_the_raw_value(
    model: str, number: int, raw: int, text: str, inside: int | None
) -> None:
    name = "Temperature_Celsius" if number == 194 else "Example"
    document = ata(row(number, name, 100, raw, text), model=model)
    assert told(document, UNPACKED) == inside
    samples, _ = parse("sda", document)
    values = [s.value for s in samples if s.labels.get("attribute_value_type") == "raw"]
    assert values == [float(raw)]


def test_operations_stand_beside_the_errors_of_a_seagate_drive() -> None:
    document = ata(row(7, "Seek_Error_Rate", 80, (5 << 32) + 63245112), model="ST4000NM0033")
    assert told(document, "forewarn_smartctl_attribute_operations") == 63245112


def ata_test(value: int, hours: int, kind: str = "Short offline") -> dict[str, Any]:
    return {"type": {"string": kind}, "status": {"value": value}, "lifetime_hours": hours}


@pytest.mark.parametrize(
    ("logs", "passed", "hours"),
    [
        ({"ata_smart_self_test_log": {"standard": {"table": [ata_test(0, 990)]}}}, 1, 10),
        ({"ata_smart_self_test_log": {"extended": {"table": [ata_test(0x71, 990)]}}}, 0, 10),
        # Running and broken off: the one before them counts.
        (
            {
                "ata_smart_self_test_log": {
                    "standard": {"table": [ata_test(0xF5, 0), ata_test(0x10, 0), ata_test(0, 900)]}
                }
            },
            1,
            100,
        ),
        ({"ata_smart_self_test_log": {"standard": {"table": [ata_test(0x10, 990)]}}}, None, None),
        ({"ata_smart_self_test_log": {"standard": {"count": 0}}}, None, None),
        ({"ata_smart_self_test_log": {"standard": {"table": [ata_test(0, 65530)]}}}, 1, 1006),  # 16 bits have run over
        (
            {
                "nvme_self_test_log": {
                    "table": [
                        {"self_test_result": {"value": 7}, "self_test_code": {"string": "Short"}, "power_on_hours": 600}
                    ]
                }
            },
            0,
            400,
        ),
        (
            {
                "scsi_self_test_0": {"result": {"value": 15}, "self_test_in_progress": True},
                "scsi_self_test_1": {"result": {"value": 0}, "power_on_time": {"hours": 1000}},
            },
            1,
            0,
        ),
        ({"scsi_self_test_0": {"result": {"value": 4}}}, 0, None),
        ({"scsi_self_test_0": [], "nvme_self_test_log": {"table": {}}}, None, None),
    ],
)
def test_the_last_self_test_that_ended_is_told_with_its_age(
    logs: dict[str, Any], passed: float | None, hours: float | None
) -> None:
    document = {"serial_number": "A", "power_on_time": {"hours": 1000}, **logs}
    assert told(document, "forewarn_smartctl_self_test_passed") == passed
    age = told(document, "forewarn_smartctl_self_test_age_seconds")
    assert age == (None if hours is None else hours * 3600)


@pytest.mark.parametrize(
    ("document", "model", "firmware"),
    [
        ({"vendor": "SEAGATE", "product": "ST373453LC", "revision": "0005"}, "SEAGATE ST373453LC", "0005"),
        ({"scsi_vendor": "HP", "scsi_product": "EG0600", "scsi_revision": "HPD4"}, "HP EG0600", "HPD4"),
        ({"scsi_model_name": "HP EG0600"}, "HP EG0600", ""),
    ],
)
def test_older_names_of_identity_are_known(document: dict[str, Any], model: str, firmware: str) -> None:
    samples, unreadable = parse("sda", document)
    (labels,) = [sample.labels for sample in samples if sample.name == "smartctl_device"]
    assert (labels["model_name"], labels["firmware_version"], unreadable) == (model, firmware, [])


def test_scsi_counters_as_smartctl_writes_them() -> None:
    log = {"read": {"gigabytes_processed": "1234.500", "total_uncorrected_errors": 2}, "write": []}
    document = {"serial_number": "A", "scsi_error_counter_log": log, "scsi_pending_defects": {"count": 3}}
    assert told(document, "smartctl_device_bytes_read") == 1234.5e9
    assert told(document, "smartctl_read_total_uncorrected_errors") == 2
    assert told(document, "forewarn_smartctl_pending_defects") == 3


def test_numbers_beyond_53_bits_are_taken_from_their_text_and_absurd_ones_named() -> None:
    log = {"media_errors_s": "12", "num_err_log_entries": 2**128 - 1, "unsafe_shutdowns": -1}
    samples, unreadable = parse("nvme0", {"serial_number": "A", "nvme_smart_health_information_log": log})
    assert find(samples, "smartctl_device_media_errors") == {"device=nvme0": 12}
    assert unreadable == [
        "nvme_smart_health_information_log.num_err_log_entries: out of range",
        "nvme_smart_health_information_log.unsafe_shutdowns: out of range",
    ]


# --- recordings, spoiled ----------------------------------------------------------------------------------

ODD = st.sampled_from(
    [
        None,
        True,
        False,
        [],
        {},
        [1, "x"],
        {"value": 1},
        "",
        "12",
        "many",
        "\ud800",
        "a\nb\0c",
        -1,
        0,
        1e308,
        10**400,
        "nan",
    ]
) | st.integers(-(10**400), 10**400)


def places(found: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to everything in a document."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from places(value, (*path, key))


def standing(document: Any, way: tuple[Any, ...]) -> Any:
    """What stands at a place."""
    for key in way:
        document = document[key]
    return document


DOCUMENTS = {name: json.loads(content) for name, content in RECORDINGS.items()}
PLACES = {name: list(places(document)) for name, document in DOCUMENTS.items()}
# Objects and lists are few among the places, and spoiling one matters more.
INNER = {
    name: [way for way in ways if isinstance(standing(DOCUMENTS[name], way), dict | list)]
    for name, ways in PLACES.items()
}


def amiss(device: str, content: bytes) -> str:
    """What is wrong with what reading a drive's answer gives: silence, a series twice, words that cannot be shown."""
    samples, unreadable = read(device, content)
    exposition.write(samples).encode("utf-8")
    series = {(sample.name, tuple(sorted(sample.labels.items()))) for sample in samples}
    wrong = "" if samples or unreadable else "silence"
    wrong += "" if len(series) == len(samples) else "a series twice"
    wrong += "" if all(math.isfinite(sample.value) for sample in samples) else "a value that is no number"
    return wrong + ("" if all(unreadable) else "a reason without words")


@settings(max_examples=300)
@given(st.sampled_from(sorted(RECORDINGS)), st.data())
def test_no_spoiled_place_of_a_recording_makes_reading_it_fail(name: str, data: st.DataObject) -> None:
    document = copy.deepcopy(json.loads(RECORDINGS[name]))
    for _ in range(data.draw(st.integers(1, 4))):
        *way, last = data.draw(st.sampled_from(INNER[name]) | st.sampled_from(PLACES[name]))
        inner: Any = document
        for key in way:
            inner = inner[key] if isinstance(inner, dict | list) and _has(inner, key) else None
        if isinstance(inner, dict | list) and _has(inner, last):
            inner[last] = data.draw(ODD)
    assert amiss(name, json.dumps(document).encode()) == ""


def _has(inner: Any, key: Any) -> bool:
    return key in inner if isinstance(inner, dict) else isinstance(key, int) and key < len(inner)


@settings(max_examples=200)
@given(st.sampled_from(sorted(RECORDINGS)), st.data())
def test_no_cut_or_flipped_byte_of_a_recording_makes_reading_it_fail(name: str, data: st.DataObject) -> None:
    content = bytearray(RECORDINGS[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    assert amiss(name, bytes(content[:cut])) == ""
