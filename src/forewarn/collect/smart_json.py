"""What `smartctl --json` says of one drive, as samples under smartctl_exporter's names. Pure; knows ATA, SCSI and NVMe.

Nothing here fails on a document, however odd: a field that is missing gives no sample (smartctl_exporter would say 0),
and a field that is there but makes no sense is noted in `Reading.unreadable`. Raw values of attributes are passed on as
smartctl gives them, as smartctl_exporter does; where a vendor packed several numbers into one (see `unpack`), the count
inside is told as `forewarn_smartctl_attribute_unpacked` besides. Temperature and power-on time are the fields that
smartctl has already decoded, never the raw values.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from forewarn.collect.tree import label_text
from forewarn.domain.metrics import SMART_LOW_BITS
from forewarn.domain.telemetry import Sample

UNREADABLE_MAX = 20  # fields named per drive; a document that is all nonsense is not worth more series
HOUR_S, MINUTE_S = 3600.0, 60.0
NVME_UNIT_BYTES = 512_000.0  # NVMe 1.4, figure 194: thousands of 512-byte units
ATTRIBUTE_FLAGS = ("prefailure", "updated_online", "performance", "error_rate", "event_count", "auto_keep")
VALUE_TYPES = (("value", ("value",)), ("worst", ("worst",)), ("thresh", ("thresh",)), ("raw", ("raw", "value")))
NVME_HEALTH = "nvme_smart_health_information_log"
# Numbers told as they stand: the metric, and the places to look, of which the first that is there holds.
PLAIN: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...] = (
    ("smartctl_device_smartctl_exit_status", (("smartctl", "exit_status"),)),
    ("smartctl_device_capacity_blocks", (("user_capacity", "blocks"),)),
    ("smartctl_device_capacity_bytes", (("user_capacity", "bytes"), ("nvme_total_capacity",))),
    ("smartctl_device_nvme_capacity_bytes", (("nvme_total_capacity",),)),
    ("smartctl_device_rotation_rate", (("rotation_rate",),)),
    ("smartctl_device_power_cycle_count", (("power_cycle_count",), (NVME_HEALTH, "power_cycles"))),
    ("smartctl_device_available_spare", ((NVME_HEALTH, "available_spare"), ("spare_available", "current_percent"))),
    ("smartctl_device_available_spare_threshold", ((NVME_HEALTH, "available_spare_threshold"),)),
    ("smartctl_device_critical_warning", ((NVME_HEALTH, "critical_warning"),)),
    ("smartctl_device_media_errors", ((NVME_HEALTH, "media_errors"),)),
    ("smartctl_device_num_err_log_entries", ((NVME_HEALTH, "num_err_log_entries"),)),
    ("smartctl_device_state", (("ata_sct_status", "device_state", "value"), ("ata_sct_status", "device_state"))),
    ("forewarn_smartctl_unsafe_shutdowns_total", ((NVME_HEALTH, "unsafe_shutdowns"),)),
    ("forewarn_smartctl_warning_temperature_minutes_total", ((NVME_HEALTH, "warning_temp_time"),)),
    ("forewarn_smartctl_critical_temperature_minutes_total", ((NVME_HEALTH, "critical_comp_time"),)),
)
# How much of a solid-state drive's life is used, where it says so itself.
PERCENTAGE_USED = (
    (NVME_HEALTH, "percentage_used"),
    ("endurance_used", "current_percent"),
    ("scsi_percentage_used_endurance_indicator",),
)
# Older SATA drives only count a normalized attribute down from 100, each vendor under a number and name of its own.
LIFE_LEFT = re.compile(
    r"Media_Wearout_Indicator|Wear_Leveling_Count|SSD_Life_Left|Percent_Lifetime_Remain|Remaining_Lifetime_Perc"
    r"|Perc_Rated_Life_Remain|Drive_Life_Remaining%?|Available_Life"
)
SCSI_ERRORS = (
    "errors_corrected_by_eccfast",
    "errors_corrected_by_eccdelayed",
    "errors_corrected_by_rereads_rewrites",
    "total_errors_corrected",
    "total_uncorrected_errors",
)
SEAGATE = re.compile(r"(?i)seagate|maxtor|^ST\d{3,}")


def unpack(attribute: int, raw: int, model: str) -> int | None:
    """The count inside a raw value into which a vendor packs several numbers; None where nothing is packed.

    - 1, 7 and 195 of Seagate: errors in the upper 16 of 48 bits, operations in the lower 32.
    - 188 (command timeouts): three 16-bit counts; the lowest is of all timeouts, the others of slow commands.
    - 9 and 240: hours in the lower 32 bits, fractions of the hour above, where it is written that way.

    >>> unpack(188, 8590065666, ""), unpack(7, 12834215976973, "ST3500418AS"), unpack(5, 304, "")
    (2, 2988, None)
    """
    if attribute in (1, 7, 195) and SEAGATE.search(model):
        return raw >> 32
    bits = SMART_LOW_BITS.get(attribute)
    if bits and (attribute == 188 or raw >> bits):
        return raw & ((1 << bits) - 1)
    return None


@dataclass
class Reading:
    """One drive's document, and what in it made no sense (place and reason, each once)."""

    device: str
    document: Mapping[str, Any]
    unreadable: list[str] = field(default_factory=list)

    def note(self, why: str) -> None:
        """Remember that something could not be read."""
        if why not in self.unreadable and len(self.unreadable) < UNREADABLE_MAX:
            self.unreadable.append(why)

    def at(self, *path: str) -> Any:
        """What stands at a place; None where the way there ends."""
        found: Any = self.document
        for key in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    def number(self, *path: str) -> float | None:
        """The finite number at a place."""
        found = self.at(*path)
        value = _finite(found)
        if found is not None and value is None:
            self._odd(path, "not a number")
        return value

    def _odd(self, path: tuple[str, ...], what: str) -> None:
        self.note(f"{'.'.join(path)}: {what}")

    def words(self, *path: str) -> str:
        """The text at a place, fit for a label; numbers count as text."""
        found = self.at(*path)
        if isinstance(found, Mapping | list):
            self._odd(path, "not a text")
            return ""
        return "" if found is None else label_text(str(found))

    def rows(self, *path: str) -> Iterator["Reading"]:
        """The objects in the list at a place, each as a reading of its own that notes here."""
        found = self.at(*path)
        if found is not None and not isinstance(found, list):
            self._odd(path, "not a list")
            return
        for row in found or ():
            if isinstance(row, Mapping):
                yield Reading(self.device, row, self.unreadable)
            else:
                self._odd((*path, "[]"), "not an object")

    def items(self, *path: str) -> Iterator[tuple[str, "Reading"]]:
        """The named objects inside the object at a place."""
        found = self.at(*path)
        if found is not None and not isinstance(found, Mapping):
            self._odd(path, "not an object")
            return
        for key, value in (found or {}).items():
            if isinstance(value, Mapping):
                yield label_text(str(key)), Reading(self.device, value, self.unreadable)

    def sample(self, name: str, value: float, **labels: str) -> Sample:
        """A sample of this device."""
        return Sample(name, {"device": self.device, **labels}, value)


def _finite(found: object) -> float | None:
    if isinstance(found, bool) or not isinstance(found, int | float | str):
        return None
    try:
        value = float(found)
    except (ValueError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def parse(device: str, document: object) -> tuple[list[Sample], list[str]]:
    """The samples of one drive, and what of its document could not be read.

    >>> samples, unreadable = parse("sda", {"model_name": "X", "temperature": {"current": 31}, "power_on_time": 7})
    >>> [sample.name for sample in samples], unreadable
    (['smartctl_device', 'smartctl_device_temperature'], ['power_on_time: not an object'])
    """
    if not isinstance(document, Mapping):
        return [], ["not an object"]
    reading = Reading(device, document)
    samples = [sample for part in PARTS for sample in part(reading)]
    return samples, reading.unreadable


def _identity(reading: Reading) -> Iterator[Sample]:
    labels = {
        "interface": reading.words("device", "type"),
        "protocol": reading.words("device", "protocol"),
        "model_family": reading.words("model_family"),
        "model_name": _model(reading),
        "serial_number": reading.words("serial_number"),
        "ata_additional_product_id": reading.words("ata_additional_product_id") or "unknown",
        "firmware_version": reading.words("firmware_version") or reading.words("scsi_revision"),
        "ata_version": reading.words("ata_version", "string"),
        "sata_version": reading.words("sata_version", "string"),
        "form_factor": reading.words("form_factor", "name"),
        "scsi_vendor": reading.words("scsi_vendor"),
        "scsi_product": reading.words("scsi_product"),
        "scsi_revision": reading.words("scsi_revision"),
        "scsi_version": reading.words("scsi_version"),
    }
    if labels["model_name"] or labels["serial_number"]:
        yield reading.sample("smartctl_device", 1.0, **labels)
    else:
        reading.note(_why_silent(reading))


def _why_silent(reading: Reading) -> str:
    """What smartctl says when it says nothing of the drive, such as that it sleeps or cannot be opened."""
    messages = [row.words("string") for row in reading.rows("smartctl", "messages")]
    return next(filter(None, messages), "model_name, serial_number: no identity")


def _model(reading: Reading) -> str:
    product = " ".join(filter(None, (reading.words("scsi_vendor"), reading.words("scsi_product"))))
    return reading.words("model_name") or reading.words("scsi_model_name") or product


def _status(reading: Reading) -> Iterator[Sample]:
    passed = reading.at("smart_status", "passed")
    if isinstance(passed, bool):
        yield reading.sample("smartctl_device_smart_status", float(passed))
        yield reading.sample("smartctl_device_status", float(passed))
    elif passed is not None or not isinstance(reading.at("smart_status") or {}, Mapping):
        reading.note("smart_status.passed: not true or false")


def _plain(reading: Reading) -> Iterator[Sample]:
    for name, places in PLAIN:
        value = next((found for place in places if (found := reading.number(*place)) is not None), None)
        if value is not None:
            yield reading.sample(name, value)


def _sizes(reading: Reading) -> Iterator[Sample]:
    for kind in ("logical", "physical"):
        size = reading.number(f"{kind}_block_size")
        if size is not None:
            yield reading.sample("smartctl_device_block_size", size, blocks_type=kind)
    for kind in ("max", "current"):
        units = reading.number("interface_speed", kind, "units_per_second")
        bits = reading.number("interface_speed", kind, "bits_per_unit")
        if units is not None and bits is not None:
            yield reading.sample("smartctl_device_interface_speed", units * bits, speed_type=kind)
    for direction, name in (("read", "data_units_read"), ("written", "data_units_written")):
        moved = reading.number(NVME_HEALTH, name)
        if moved is not None:
            yield reading.sample(f"smartctl_device_bytes_{direction}", moved * NVME_UNIT_BYTES)


def _power_on(reading: Reading) -> Iterator[Sample]:
    if not isinstance(reading.at("power_on_time") or {}, Mapping):
        reading.note("power_on_time: not an object")
    hours = reading.number("power_on_time", "hours")
    if hours is None:
        hours = reading.number(NVME_HEALTH, "power_on_hours")
    if hours is not None:
        minutes = reading.number("power_on_time", "minutes") or 0.0
        yield reading.sample("smartctl_device_power_on_seconds", hours * HOUR_S + minutes * MINUTE_S)


def _temperatures(reading: Reading) -> Iterator[Sample]:
    found = reading.at("temperature")
    if found is not None and not isinstance(found, Mapping):
        reading.note("temperature: not an object")
    if reading.at("temperature", "current") is None:
        celsius = reading.number(NVME_HEALTH, "temperature")
        if celsius is not None:
            yield reading.sample("smartctl_device_temperature", celsius, temperature_type="current")
    for kind in found if isinstance(found, Mapping) else ():
        celsius = reading.number("temperature", kind)
        if celsius is not None:
            yield reading.sample("smartctl_device_temperature", celsius, temperature_type=label_text(kind))
    sensors = reading.at(NVME_HEALTH, "temperature_sensors")
    for number, value in enumerate(sensors if isinstance(sensors, list) else (), start=1):
        celsius = _finite(value)
        if celsius is not None:
            yield reading.sample("smartctl_device_temperature", celsius, temperature_type=f"sensor{number}")


def _attributes(reading: Reading) -> Iterator[Sample]:
    model = f"{reading.words('model_family')} {_model(reading)}"
    seen: set[str] = set()
    for row in reading.rows("ata_smart_attributes", "table"):
        number = row.number("id")
        if number is None or row.words("id") in seen:
            reading.note("ata_smart_attributes.table[].id: missing or twice")
            continue
        seen.add(row.words("id"))
        labels = {"attribute_id": f"{number:g}", "attribute_name": row.words("name")}
        flags = ",".join(flag for flag in ATTRIBUTE_FLAGS if row.at("flags", flag) is True)
        for kind, place in VALUE_TYPES:
            value = row.number(*place)
            if value is not None:
                yield reading.sample(
                    "smartctl_device_attribute",
                    value,
                    attribute_flags_short=row.words("flags", "string"),
                    attribute_flags_long=flags,
                    attribute_value_type=kind,
                    **labels,
                )
        raw = row.at("raw", "value")  # as it stands: above 2**53 a float would lose the lowest bits
        inside = unpack(int(number), raw, model.strip()) if isinstance(raw, int) else None
        if inside is not None:
            yield reading.sample("forewarn_smartctl_attribute_unpacked", float(inside), **labels)


def _wear(reading: Reading) -> Iterator[Sample]:
    used = next((found for place in PERCENTAGE_USED if (found := reading.number(*place)) is not None), None)
    for row in reading.rows("ata_smart_attributes", "table") if used is None else ():
        left = row.number("value") if LIFE_LEFT.fullmatch(row.words("name")) else None
        if left is not None:
            used = max(0.0, 100.0 - left)
            break
    if used is not None:
        yield reading.sample("smartctl_device_percentage_used", used)


def _logs(reading: Reading) -> Iterator[Sample]:
    for kind, log in reading.items("ata_smart_error_log"):
        count = log.number("count")
        if count is not None:
            yield reading.sample("smartctl_device_error_log_count", count, error_log_type=kind)
    for kind, log in reading.items("ata_smart_self_test_log"):
        for place, name in (("count", "count"), ("error_count_total", "error_count")):
            count = log.number(place)
            if count is not None:
                yield reading.sample(f"smartctl_device_self_test_log_{name}", count, self_test_log_type=kind)
    for kind, limit in reading.items("ata_sct_erc"):
        tenths = limit.number("deciseconds")
        if tenths is not None:
            yield reading.sample("smartctl_device_erc_seconds", tenths / 10.0, op_type=kind)


def _scsi(reading: Reading) -> Iterator[Sample]:
    drive = {
        "model_family": reading.words("model_family"),
        "model_name": _model(reading),
        "serial_number": reading.words("serial_number"),
    }
    grown = reading.number("scsi_grown_defect_list")
    if grown is not None:
        yield reading.sample("smartctl_scsi_grown_defect_list", grown, **drive)
    for direction in ("read", "write", "verify"):
        for error in SCSI_ERRORS:
            count = reading.number("scsi_error_counter_log", direction, error)
            if count is not None:
                yield reading.sample(f"smartctl_{direction}_{error}", count, **drive)


PARTS = (_identity, _status, _plain, _sizes, _power_on, _temperatures, _attributes, _wear, _logs, _scsi)
