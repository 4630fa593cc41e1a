"""What `smartctl --json` says of one drive, as samples under smartctl_exporter's names. Pure; knows ATA, SCSI and NVMe.

Nothing here fails on a document, however odd: a field that is missing gives no sample (smartctl_exporter would say 0),
and a field that is there but makes no sense is noted. `smart_reading.py` reads single places, `smart_attributes.py`
knows ATA's attributes and what vendors pack into them, `smart_logs.py` the logs.
"""

import re
from collections.abc import Iterator, Mapping

from forewarn.collect.smart_attributes import (
    Attribute,
    attribute_samples,
    attributes,
    celsius,
    life_used,
    power_on_seconds,
)
from forewarn.collect.smart_logs import endurance_used, log_samples
from forewarn.collect.smart_reading import COUNT_MAX, Reading, finite
from forewarn.collect.tree import label_text
from forewarn.domain.telemetry import Sample

HOUR_S, MINUTE_S = 3600.0, 60.0
HOURS_MAX = 1e6  # a century; more is a misread attribute
CELSIUS_MIN, CELSIUS_MAX = -60.0, 200.0
PERCENT_MAX = 255.0  # NVMe counts wear past 100 %, up to what a byte holds
NVME_UNIT_BYTES = 512_000.0  # NVMe 1.4, figure 194: thousands of 512-byte units
GIGABYTE = 1e9
EXIT_FAILING = 1 << 3  # smartctl's exit status: the drive says that it fails
EXIT_NOT_ASKED = 1 << 1  # it could not be opened, or sleeps and was let sleep
ASLEEP = re.compile(r"(?i)device is in .*(standby|sleep|idle).* mode")
# SPC's additional sense codes for "failure prediction threshold exceeded" and "warning".
FAILURE_PREDICTED, WARNED = 0x5D, 0x0B
UNBOUNDED = ("lifetime_over_limit_minutes", "lifetime_under_limit_minutes", "power_cycle_over_limit_minutes")
NVME_HEALTH = "nvme_smart_health_information_log"
# Numbers told as they stand: the metric, the highest that can be true, and the places to look, of which the first that
# is there holds.
PLAIN: tuple[tuple[str, float, tuple[tuple[str, ...], ...]], ...] = (
    ("smartctl_device_smartctl_exit_status", 255, (("smartctl", "exit_status"),)),
    ("smartctl_device_capacity_blocks", COUNT_MAX, (("user_capacity", "blocks"),)),
    ("smartctl_device_capacity_bytes", COUNT_MAX, (("user_capacity", "bytes"), ("nvme_total_capacity",))),
    ("smartctl_device_nvme_capacity_bytes", COUNT_MAX, (("nvme_total_capacity",),)),
    ("smartctl_device_rotation_rate", 1e6, (("rotation_rate",),)),
    ("smartctl_device_power_cycle_count", COUNT_MAX, (("power_cycle_count",), (NVME_HEALTH, "power_cycles"))),
    (
        "smartctl_device_available_spare",
        PERCENT_MAX,
        ((NVME_HEALTH, "available_spare"), ("spare_available", "current_percent")),
    ),
    (
        "smartctl_device_available_spare_threshold",
        PERCENT_MAX,
        ((NVME_HEALTH, "available_spare_threshold"), ("spare_available", "threshold_percent")),
    ),
    ("smartctl_device_critical_warning", 255, ((NVME_HEALTH, "critical_warning"),)),
    ("smartctl_device_media_errors", COUNT_MAX, ((NVME_HEALTH, "media_errors"),)),
    ("smartctl_device_num_err_log_entries", COUNT_MAX, ((NVME_HEALTH, "num_err_log_entries"),)),
    (
        "smartctl_device_state",
        255,
        (("ata_sct_status", "device_state", "value"), ("ata_sct_status", "device_state")),
    ),
    ("forewarn_smartctl_unsafe_shutdowns_total", COUNT_MAX, ((NVME_HEALTH, "unsafe_shutdowns"),)),
    ("forewarn_smartctl_warning_temperature_minutes_total", COUNT_MAX, ((NVME_HEALTH, "warning_temp_time"),)),
    ("forewarn_smartctl_critical_temperature_minutes_total", COUNT_MAX, ((NVME_HEALTH, "critical_comp_time"),)),
    ("forewarn_smartctl_pending_defects", COUNT_MAX, (("scsi_pending_defects", "count"),)),
)
# How much of a solid-state drive's life is used, where it says so itself.
PERCENTAGE_USED = (
    (NVME_HEALTH, "percentage_used"),
    ("endurance_used", "current_percent"),
    ("scsi_percentage_used_endurance_indicator",),
)


def parse(device: str, document: object) -> tuple[list[Sample], list[str]]:
    """The samples of one drive, each series once, and what of its document could not be read.

    >>> samples, unreadable = parse("sda", {"model_name": "X", "temperature": {"current": 31}, "power_on_time": 7})
    >>> [sample.name for sample in samples], unreadable
    (['smartctl_device', 'forewarn_smartctl_standby', 'smartctl_device_temperature'], ['power_on_time: not an object'])
    """
    if not isinstance(document, Mapping):
        return [], ["not an object"]
    reading = Reading(device, document)
    found: dict[tuple[str, tuple[str, ...]], Sample] = {}
    for sample in _samples(reading):
        found.setdefault((sample.name, tuple(sample.labels.values())), sample)
    return list(found.values()), reading.unreadable


def _samples(reading: Reading) -> Iterator[Sample]:
    rows = attributes(reading)
    for part in (_identity, _status, _plain, _sizes):
        yield from part(reading)
    yield from _power_on(reading, rows)
    yield from _temperatures(reading, rows)
    yield from attribute_samples(reading)
    yield from _wear(reading, rows)
    yield from log_samples(reading)


def _identity(reading: Reading) -> Iterator[Sample]:
    labels = {
        "interface": reading.words("device", "type"),
        "protocol": reading.words("device", "protocol"),
        "model_family": reading.words("model_family"),
        "model_name": reading.model,
        "serial_number": reading.words("serial_number"),
        "ata_additional_product_id": reading.words("ata_additional_product_id") or "unknown",
        "firmware_version": reading.words("firmware_version")
        or reading.words("scsi_revision")
        or reading.words("revision"),
        "ata_version": reading.words("ata_version", "string"),
        "sata_version": reading.words("sata_version", "string"),
        "form_factor": reading.words("form_factor", "name"),
        "scsi_vendor": reading.words("scsi_vendor") or reading.words("vendor"),
        "scsi_product": reading.words("scsi_product") or reading.words("product"),
        "scsi_revision": reading.words("scsi_revision") or reading.words("revision"),
        "scsi_version": reading.words("scsi_version"),
    }
    told = labels["model_name"] or labels["serial_number"]
    if told:
        yield reading.sample("smartctl_device", 1.0, **labels)
    messages = [row.words("string") for row in reading.rows("smartctl", "messages")]
    status = reading.number("smartctl", "exit_status")
    asleep = status is not None and _has(status, EXIT_NOT_ASKED) and any(map(ASLEEP.search, messages))
    if asleep:
        yield reading.sample("forewarn_smartctl_standby", 1.0)
    elif told:
        yield reading.sample("forewarn_smartctl_standby", 0.0)
    else:
        reading.note(next(filter(None, messages), "model_name, serial_number: no identity"))


def _has(status: float, bit: int) -> bool:
    return status.is_integer() and bool(int(status) & bit)


def _status(reading: Reading) -> Iterator[Sample]:
    """Whether the drive holds itself for healthy: by any of its signs it does not, by its own word it does."""
    passed = next((p for p in _verdicts(reading) if p is not None), None)
    if passed is not None and not isinstance(passed, bool):
        passed = None
        reading.note("smart_status.passed: not true or false")
    elif passed is None and not isinstance(reading.at("smart_status") or {}, Mapping):
        reading.note("smart_status.passed: not true or false")
    warning = reading.within(0.0, 255.0, NVME_HEALTH, "critical_warning")
    code = reading.within(0.0, 255.0, "smart_status", "scsi", "asc")
    status = reading.number("smartctl", "exit_status")
    ill = passed is False or bool(warning) or code in (FAILURE_PREDICTED, WARNED)
    if ill or (status is not None and _has(status, EXIT_FAILING)):
        healthy = 0.0
    elif passed or warning == 0.0:
        healthy = 1.0
    else:
        return
    yield reading.sample("smartctl_device_smart_status", healthy)
    yield reading.sample("smartctl_device_status", healthy)
    if code is not None:
        qualifier = reading.within(0.0, 255.0, "smart_status", "scsi", "ascq")
        labels = {"asc": f"{code:g}", "ascq": "" if qualifier is None else f"{qualifier:g}"}
        text = reading.words("smart_status", "scsi", "ie_string")
        yield reading.sample("forewarn_smartctl_informational_exception", 1.0, **labels, text=text)


def _verdicts(reading: Reading) -> Iterator[object]:
    yield reading.at("smart_status", "passed")
    yield reading.at("ata_sct_status", "smart_status", "passed")


def _first(reading: Reading, high: float, places: tuple[tuple[str, ...], ...]) -> float | None:
    found = (reading.within(0.0, high, *place) for place in places)
    return next((value for value in found if value is not None), None)


def _plain(reading: Reading) -> Iterator[Sample]:
    for name, high, places in PLAIN:
        value = _first(reading, high, places)
        if value is not None:
            yield reading.sample(name, value)


def _sizes(reading: Reading) -> Iterator[Sample]:
    for kind in ("logical", "physical"):
        size = reading.count(f"{kind}_block_size")
        if size is not None:
            yield reading.sample("smartctl_device_block_size", size, blocks_type=kind)
    for kind in ("max", "current"):
        units = reading.count("interface_speed", kind, "units_per_second")
        bits = reading.count("interface_speed", kind, "bits_per_unit")
        if units is not None and bits is not None:
            yield reading.sample("smartctl_device_interface_speed", units * bits, speed_type=kind)
    for direction, name, scsi in (("read", "data_units_read", "read"), ("written", "data_units_written", "write")):
        units = reading.count(NVME_HEALTH, name)
        gigabytes = reading.count("scsi_error_counter_log", scsi, "gigabytes_processed")
        if units is not None:
            yield reading.sample(f"smartctl_device_bytes_{direction}", units * NVME_UNIT_BYTES)
        elif gigabytes is not None:
            yield reading.sample(f"smartctl_device_bytes_{direction}", gigabytes * GIGABYTE)


def _power_on(reading: Reading, rows: tuple[Attribute, ...]) -> Iterator[Sample]:
    if not isinstance(reading.at("power_on_time") or {}, Mapping):
        reading.note("power_on_time: not an object")
    hours = _first(reading, HOURS_MAX, (("power_on_time", "hours"), (NVME_HEALTH, "power_on_hours")))
    if hours is not None:
        minutes = reading.within(0.0, 59.0, "power_on_time", "minutes") or 0.0
        yield reading.sample("smartctl_device_power_on_seconds", hours * HOUR_S + minutes * MINUTE_S)
        return
    seconds = power_on_seconds(rows)
    if seconds is not None and seconds <= HOURS_MAX * HOUR_S:
        yield reading.sample("smartctl_device_power_on_seconds", seconds)
    elif seconds is not None:
        reading.note("ata_smart_attributes: 9 counts in a unit that is not known")


def _temperatures(reading: Reading, rows: tuple[Attribute, ...]) -> Iterator[Sample]:
    found = reading.at("temperature")
    if found is not None and not isinstance(found, Mapping):
        reading.note("temperature: not an object")
    current = False
    for kind in found if isinstance(found, Mapping) else ():
        degrees = _celsius(reading, "temperature", kind)
        if degrees is not None:
            current = current or kind == "current"
            yield reading.sample("smartctl_device_temperature", degrees, temperature_type=label_text(kind))
    if not current:
        degrees = _celsius(reading, NVME_HEALTH, "temperature")
        degrees = _celsius(reading, "ata_sct_status", "temperature", "current") if degrees is None else degrees
        degrees = celsius(rows) if degrees is None else degrees
        if degrees is not None and CELSIUS_MIN <= degrees <= CELSIUS_MAX:
            yield reading.sample("smartctl_device_temperature", degrees, temperature_type="current")
    sensors = reading.at(NVME_HEALTH, "temperature_sensors")
    for number, value in enumerate(sensors if isinstance(sensors, list) else (), start=1):
        degrees = finite(value)
        if degrees is not None and CELSIUS_MIN <= degrees <= CELSIUS_MAX:
            yield reading.sample("smartctl_device_temperature", degrees, temperature_type=f"sensor{number}")


def _celsius(reading: Reading, *path: str) -> float | None:
    """Degrees at a place. Counts and limits of SCT stand beside temperatures and are taken as they are."""
    return reading.within(CELSIUS_MIN, COUNT_MAX if path[-1] in UNBOUNDED else CELSIUS_MAX, *path)


def _wear(reading: Reading, rows: tuple[Attribute, ...]) -> Iterator[Sample]:
    used = _first(reading, PERCENT_MAX, PERCENTAGE_USED)
    used = endurance_used(reading) if used is None else used
    used = life_used(reading, rows) if used is None else used
    if used is not None:
        yield reading.sample("smartctl_device_percentage_used", used)
