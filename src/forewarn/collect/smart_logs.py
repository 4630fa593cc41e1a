"""The logs that a drive keeps of itself: errors, self-tests, statistics, SCSI's error counters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from forewarn.collect.smart_reading import Reading
from forewarn.domain.telemetry import Sample

HOUR_S = 3600.0
ATA_HOURS_WRAP = 1 << 16  # ATA notes a self-test's time in 16 bits
SCSI_TESTS_MAX = 20  # SPC: the log holds so many results
SCSI_ERRORS = (
    "errors_corrected_by_eccfast",
    "errors_corrected_by_eccdelayed",
    "errors_corrected_by_rereads_rewrites",
    "total_errors_corrected",
    "total_uncorrected_errors",
)
STATISTIC_FLAGS = ("valid", "normalized", "supports_dsn", "monitored_condition_met")
VENDOR_STATISTICS = "Vendor Specific Statistics"  # drives give several of these one name, as smartctl_exporter notes
PHY_EVENTS = "SATA PHY Event Counters"
ENDURANCE = "percentage used endurance indicator"
STATISTICS_MAX = 256  # ACS-4 names some 60
PASSED = 0
# Results by which a test ended with a finding. Others were broken off, or run still, and say nothing of the drive.
ATA_FAILED = range(3, 9)
NVME_FAILED = (5, 6, 7)
SCSI_FAILED = range(3, 8)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """A self-test that came to an end: its kind, whether it found nothing, and the drive's age in hours then."""

    kind: str
    passed: bool
    hours: float | None
    wraps_at: int = 0


def log_samples(reading: Reading) -> Iterator[Sample]:
    """Everything that the logs say."""
    for part in (_errors, _self_test_counts, _last_self_test, _recovery, _statistics, _scsi):
        yield from part(reading)


def _errors(reading: Reading) -> Iterator[Sample]:
    for kind, log in reading.items("ata_smart_error_log"):
        count = log.count("count")
        if count is not None:
            yield reading.sample("smartctl_device_error_log_count", count, error_log_type=kind)


def _self_test_counts(reading: Reading) -> Iterator[Sample]:
    for kind, log in reading.items("ata_smart_self_test_log"):
        for place, name in (("count", "count"), ("error_count_total", "error_count")):
            count = log.count(place)
            if count is not None:
                yield reading.sample(f"smartctl_device_self_test_log_{name}", count, self_test_log_type=kind)


def _recovery(reading: Reading) -> Iterator[Sample]:
    for kind, limit in reading.items("ata_sct_erc"):
        tenths = limit.count("deciseconds")
        if tenths is not None:
            yield reading.sample("smartctl_device_erc_seconds", tenths / 10.0, op_type=kind)


def _last_self_test(reading: Reading) -> Iterator[Sample]:
    test = next((test for tests in (_ata, _nvme, _scsi_tests) for test in tests(reading)), None)
    if test is None:
        return
    yield reading.sample("forewarn_smartctl_self_test_passed", float(test.passed), self_test_type=test.kind)
    age = reading.number("power_on_time", "hours")
    if age is None or test.hours is None:
        return
    since = age - test.hours
    if test.wraps_at:
        since %= test.wraps_at
    if since >= 0:
        yield reading.sample("forewarn_smartctl_self_test_age_seconds", since * HOUR_S, self_test_type=test.kind)


def _ata(reading: Reading) -> Iterator[SelfTest]:
    for log in ("extended", "standard"):  # they hold the same tests, the extended log more of them
        if not isinstance(reading.at("ata_smart_self_test_log", log), Mapping):
            continue
        for row in reading.rows("ata_smart_self_test_log", log, "table"):
            status = row.within(0.0, 255.0, "status", "value")
            result = None if status is None else int(status) >> 4
            if result == PASSED or result in ATA_FAILED:
                hours = row.count("lifetime_hours")
                yield SelfTest(row.words("type", "string"), result == PASSED, hours, ATA_HOURS_WRAP)


def _nvme(reading: Reading) -> Iterator[SelfTest]:
    for row in reading.rows("nvme_self_test_log", "table"):
        result = row.number("self_test_result", "value")
        if result == PASSED or result in NVME_FAILED:
            yield SelfTest(row.words("self_test_code", "string"), result == PASSED, row.count("power_on_hours"))


def _scsi_tests(reading: Reading) -> Iterator[SelfTest]:
    for number in range(SCSI_TESTS_MAX):
        result = reading.number(f"scsi_self_test_{number}", "result", "value")
        if result == PASSED or result in SCSI_FAILED:
            kind = reading.words(f"scsi_self_test_{number}", "code", "string")
            hours = reading.count(f"scsi_self_test_{number}", "power_on_time", "hours")
            yield SelfTest(kind, result == PASSED, hours, ATA_HOURS_WRAP)


def _statistics(reading: Reading) -> Iterator[Sample]:
    left = STATISTICS_MAX
    for table, row in _statistic_rows(reading):
        value = row.number("value")
        if value is None or row.at("flags", "valid") is False or not left:
            continue
        left -= 1
        yield reading.sample(
            "smartctl_device_statistics",
            value,
            statistic_table=table,
            statistic_name=row.words("name"),
            statistic_flags_short=row.words("flags", "string").strip(),
            statistic_flags_long=",".join(flag for flag in STATISTIC_FLAGS if row.at("flags", flag) is True),
        )
    for row in reading.rows("sata_phy_event_counters", "table"):
        value = row.count("value")
        if value is not None:
            flags = {"statistic_flags_short": "V---", "statistic_flags_long": "valid"}
            yield reading.sample(
                "smartctl_device_statistics",
                value,
                statistic_table=PHY_EVENTS,
                statistic_name=row.words("name"),
                **flags,
            )


def _statistic_rows(reading: Reading) -> Iterator[tuple[str, Reading]]:
    for page in reading.rows("ata_device_statistics", "pages"):
        table = page.words("name")
        if table != VENDOR_STATISTICS:
            yield from ((table, row) for row in page.rows("table"))


def endurance_used(reading: Reading) -> float | None:
    """What a SATA drive's statistics say of its wear, in percent."""
    for _, row in _statistic_rows(reading):
        if row.words("name").lower() == ENDURANCE and row.at("flags", "valid") is not False:
            return row.within(0.0, 255.0, "value")
    return None


def _scsi(reading: Reading) -> Iterator[Sample]:
    drive = {
        "model_family": reading.words("model_family"),
        "model_name": reading.model,
        "serial_number": reading.words("serial_number"),
    }
    grown = reading.count("scsi_grown_defect_list")
    if grown is not None:
        yield reading.sample("smartctl_scsi_grown_defect_list", grown, **drive)
    for direction in ("read", "write", "verify"):
        for error in SCSI_ERRORS:
            count = reading.count("scsi_error_counter_log", direction, error)
            if count is not None:
                yield reading.sample(f"smartctl_{direction}_{error}", count, **drive)
