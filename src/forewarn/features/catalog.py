"""THE list of features: what a store computes per component, and what the frame adds to it.

A feature is one line here, named `<metric>_<aggregate>_<window>` (`smart_5_increase_30d`, `smart_197_last`). Every
store compiles the list into its own query language, and a model's columns are exactly the names of its kind, so a line
more or less makes a new catalogue digest and asks for a new model. Texts put a value into words: `{value}` and
`{window}` are filled in by whoever explains a forecast.
"""

from collections.abc import Iterable
from datetime import timedelta

from forewarn.domain.feature import Aggregate, Catalog, DerivedFeature, Feature, Formula
from forewarn.domain.inventory import Kind
from forewarn.domain.metrics import METRICS, SMART_ATTRIBUTES

HOUR, SIX_HOURS = timedelta(hours=1), timedelta(hours=6)
DAY, WEEK, MONTH, QUARTER = timedelta(days=1), timedelta(days=7), timedelta(days=30), timedelta(days=90)

_SHORT = {HOUR: "1h", SIX_HOURS: "6h", DAY: "1d", WEEK: "7d", MONTH: "30d", QUARTER: "90d"}

_PERIODS = (("7d", "7 days"), ("30d", "30 days"), ("90d", "90 days"))

# Attribute 9 counts hours of life: its steps say nothing, so it has its own line.
SMART_ERROR_COUNTERS = tuple((number, words) for number, words in SMART_ATTRIBUTES if number != 9)


def _last(kind: Kind, metric: str, text: str) -> Feature:
    return Feature(f"{metric}_last", kind, metric, Aggregate.LAST, text=text)


def _over(
    kind: Kind, metric: str, aggregate: Aggregate, windows: Iterable[timedelta], text: str
) -> tuple[Feature, ...]:
    return tuple(
        Feature(f"{metric}_{aggregate}_{_SHORT[window]}", kind, metric, aggregate, window, text) for window in windows
    )


def _increase(kind: Kind, metric: str, words: str, *windows: timedelta) -> tuple[Feature, ...]:
    return _over(kind, metric, Aggregate.INCREASE, windows, f"{{value}} new {words} within {{window}}")


def _smart(number: int, words: str) -> tuple[Feature, ...]:
    metric = f"smart_{number}"
    return (
        _last(Kind.DISK, metric, f"{{value}} {words} (SMART {number})"),
        *_over(
            Kind.DISK,
            metric,
            Aggregate.FIRST,
            (WEEK, MONTH, QUARTER),
            f"{{value}} {words} {{window}} ago (SMART {number})",
        ),
        *_over(
            Kind.DISK,
            metric,
            Aggregate.INCREASE,
            (WEEK, MONTH, QUARTER),
            f"{{value}} new {words} within {{window}} (SMART {number})",
        ),
        *_over(
            Kind.DISK,
            metric,
            Aggregate.CHANGES,
            (MONTH,),
            f"count of {words} changed {{value}} times within {{window}} (SMART {number})",
        ),
        *_over(
            Kind.DISK,
            metric,
            Aggregate.AGE,
            (QUARTER,),
            f"{{value}} s since the count of {words} last changed (SMART {number})",
        ),
    )


_HIGH_FLY_WRITES = 189


def _smart_derived(number: int, words: str) -> tuple[DerivedFeature, ...]:
    """A counter against its own past.

    `rise` sees a jump at once, `increase` only when the day is over but also what has fallen back since; `grown` is
    whichever of the two says more.
    """
    metric = f"smart_{number}"
    rises = tuple(
        DerivedFeature(
            f"{metric}_rise_{short}",
            Kind.DISK,
            Formula.DIFFERENCE,
            (f"{metric}_last", f"{metric}_first_{short}"),
            f"{{value}} more {words} than {long} ago (SMART {number})",
        )
        for short, long in _PERIODS
    )
    grown = tuple(
        DerivedFeature(
            f"{metric}_grown_{short}",
            Kind.DISK,
            Formula.HIGHEST,
            (f"{metric}_increase_{short}", f"{metric}_rise_{short}"),
            f"{{value}} new {words} within {long} (SMART {number})",
        )
        for short, long in _PERIODS
    )
    rank = DerivedFeature(
        f"{metric}_peer_rank",
        Kind.DISK,
        Formula.PEER_RANK,
        (f"{metric}_last",),
        f"{words} above those of a share of {{value}} of the same model's drives (SMART {number})",
    )
    shares = tuple(
        DerivedFeature(
            f"{metric}_peer_share_{which}",
            Kind.DISK,
            Formula.PEER_SHARE,
            (f"{metric}_{which}",),
            f"a share of {{value}} of the same model's drives has {said} (SMART {number})",
        )
        for which, said in (("last", words), ("grown_30d", f"new {words} within 30 days"))
    )
    # High-fly writes only ever grow: how many peers have some tells how old the fleet is, not how it fares.
    return (*rises, *grown, rank, *(shares if number != _HIGH_FLY_WRITES else ()))


def _odd(key: str, kind: Kind, part: str) -> tuple[Feature, ...]:
    """What is odd about the telemetry of a part."""
    return (
        _last(kind, f"{key}_vanished", f"{part} has not been seen for {{value}} s"),
        *_increase(kind, f"{key}_backwards", f"times that a counter of the {part} fell", HOUR, DAY),
        _last(kind, f"{key}_stuck", f"a sensor of the {part} sticks: {{value}} (1 is yes)"),
    )


CPU_FEATURES = (
    _last(Kind.CPU, "cpu_temperature", "CPU at {value} °C"),
    *_over(Kind.CPU, "cpu_temperature", Aggregate.MAX, (HOUR, DAY), "CPU reached {value} °C within {window}"),
    *_over(Kind.CPU, "cpu_temperature", Aggregate.AVG, (HOUR, DAY), "CPU at {value} °C on average over {window}"),
    *_over(Kind.CPU, "cpu_temperature", Aggregate.SLOPE, (WEEK,), "CPU warms by {value} °C a day over {window}"),
    *_increase(Kind.CPU, "cpu_core_throttles", "thermal throttle events of cores", HOUR, SIX_HOURS, DAY),
    *_increase(Kind.CPU, "cpu_package_throttles", "thermal throttle events of packages", HOUR, SIX_HOURS, DAY),
    _last(Kind.CPU, "cpu_frequency", "slowest core at {value} Hz"),
    *_over(Kind.CPU, "cpu_frequency", Aggregate.AVG, (HOUR,), "slowest core at {value} Hz on average over {window}"),
    *_over(Kind.CPU, "cpu_frequency", Aggregate.MAX, (WEEK,), "slowest core reached {value} Hz within {window}"),
    *_increase(Kind.CPU, "cpu_busy_seconds", "seconds of work", HOUR),
    *_increase(Kind.CPU, "cpu_idle_seconds", "seconds of idling", HOUR),
    *_increase(Kind.CPU, "cpu_machine_checks", "machine check exceptions", HOUR, DAY),
    *_increase(Kind.CPU, "cpu_corrected_thresholds", "alarms of corrected errors", HOUR, DAY),
    *_odd("cpu", Kind.CPU, "CPU"),
)

CPU_DERIVED = (
    DerivedFeature(
        "cpu_busy_share_1h",
        Kind.CPU,
        Formula.SHARE,
        ("cpu_busy_seconds_increase_1h", "cpu_idle_seconds_increase_1h"),
        "cores busy for a share of {value} of the last hour",
    ),
    DerivedFeature(
        "cpu_frequency_share",
        Kind.CPU,
        Formula.RATIO,
        ("cpu_frequency_avg_1h", "cpu_frequency_max_7d"),
        "slowest core runs at a share of {value} of its best clock of the week",
    ),
)

MEMORY_FEATURES = (
    _last(Kind.MEMORY, "dimm_corrected", "{value} corrected memory errors since boot"),
    *_increase(Kind.MEMORY, "dimm_corrected", "corrected memory errors", HOUR, SIX_HOURS, DAY, WEEK),
    *_over(
        Kind.MEMORY,
        "dimm_corrected",
        Aggregate.CHANGES,
        (HOUR, DAY),
        "bursts of corrected memory errors came {value} times within {window}",
    ),
    *_over(Kind.MEMORY, "dimm_corrected", Aggregate.AGE, (WEEK,), "{value} s since the last corrected memory error"),
    _last(Kind.MEMORY, "dimm_uncorrected", "{value} uncorrected memory errors since boot"),
    *_increase(Kind.MEMORY, "dimm_uncorrected", "uncorrected memory errors", HOUR, DAY, WEEK),
    _last(Kind.MEMORY, "dimm_fault_mode", "widest fault {value} (1 cell, 2 column, 3 row, 4 bank, 5 device)"),
    _last(Kind.MEMORY, "dimm_error_addresses", "corrected errors at {value} addresses"),
    *_increase(Kind.MEMORY, "dimm_multi_bit", "corrected errors of several bits", HOUR, DAY, WEEK),
    _last(Kind.MEMORY, "memory_corrupted", "{value} bytes of the host's memory taken offline for errors"),
    _last(Kind.MEMORY, "memory_available", "{value} bytes of memory available on the host"),
    _last(Kind.MEMORY, "memory_total", "{value} bytes of memory in the host"),
    *_odd("dimm", Kind.MEMORY, "DIMM"),
)

MEMORY_DERIVED = (
    DerivedFeature(
        "memory_available_share",
        Kind.MEMORY,
        Formula.RATIO,
        ("memory_available_last", "memory_total_last"),
        "a share of {value} of the host's memory is available",
    ),
)

DISK_FEATURES = (
    *(feature for number, words in SMART_ERROR_COUNTERS for feature in _smart(number, words)),
    _last(Kind.DISK, "smart_9", "{value} power-on hours (SMART 9)"),
    *_over(Kind.DISK, "smart_9", Aggregate.AGE, (QUARTER,), "{value} s since power-on hours last changed (SMART 9)"),
    _last(Kind.DISK, "disk_power_on_seconds", "powered on for {value} s"),
    _last(Kind.DISK, "disk_capacity", "{value} bytes of capacity"),
    _last(Kind.DISK, "smart_status", "the drive's own health check reads {value}, where 1 is passed and 0 failed"),
    _last(Kind.DISK, "disk_temperature", "drive at {value} °C"),
    *_over(Kind.DISK, "disk_temperature", Aggregate.MAX, (DAY,), "drive reached {value} °C within {window}"),
    *_over(Kind.DISK, "disk_temperature", Aggregate.AVG, (WEEK,), "drive at {value} °C on average over {window}"),
    _last(Kind.DISK, "nvme_critical_warning", "critical warning bits {value}"),
    _last(Kind.DISK, "nvme_percentage_used", "{value} % of the drive's life used"),
    _last(Kind.DISK, "nvme_available_spare", "{value} % of spare blocks left"),
    *_over(
        Kind.DISK,
        "nvme_available_spare",
        Aggregate.DELTA,
        (MONTH,),
        "spare blocks changed by {value} % within {window}",
    ),
    _last(Kind.DISK, "nvme_media_errors", "{value} media errors in the drive's life"),
    *_increase(Kind.DISK, "nvme_media_errors", "media errors", HOUR, DAY, WEEK, MONTH),
    *_increase(Kind.DISK, "disk_io_errors", "failed requests", HOUR, DAY, WEEK),
    *_increase(Kind.DISK, "disk_reads", "reads", HOUR, DAY),
    *_increase(Kind.DISK, "disk_read_seconds", "seconds of reading", HOUR, DAY),
    *_increase(Kind.DISK, "disk_writes", "writes", HOUR, DAY),
    *_increase(Kind.DISK, "disk_write_seconds", "seconds of writing", HOUR, DAY),
    *_increase(Kind.DISK, "nvme_error_entries", "entries in the error log", DAY, WEEK),
    _last(Kind.DISK, "sas_grown_defects", "{value} grown defects"),
    *_increase(Kind.DISK, "sas_grown_defects", "grown defects", DAY, MONTH),
    *_increase(Kind.DISK, "sas_read_uncorrected", "uncorrected reads", HOUR, DAY),
    *_increase(Kind.DISK, "sas_write_uncorrected", "uncorrected writes", HOUR, DAY),
    *_increase(Kind.DISK, "disk_io_timeouts", "timed-out requests", HOUR, DAY),
    _last(Kind.DISK, "disk_working", "kernel's driver still works the drive: {value} (0 is no)"),
    _last(Kind.DISK, "disk_readonly_filesystems", "{value} file systems turned read-only"),
    _last(Kind.DISK, "self_test_passed", "last self-test passed: {value} (0 is no)"),
    *_odd("disk", Kind.DISK, "drive"),
)

DISK_DERIVED = (
    *(feature for number, words in SMART_ERROR_COUNTERS for feature in _smart_derived(number, words)),
    DerivedFeature(
        "power_on_hours",
        Kind.DISK,
        Formula.AGED,
        ("smart_9_last", "smart_9_age_90d"),
        "powered on for {value} hours (SMART 9)",
    ),
    DerivedFeature(
        "smart_9_peer_rank",
        Kind.DISK,
        Formula.PEER_RANK,
        ("smart_9_last",),
        "older than a share of {value} of the same model's drives",
    ),
    *(
        DerivedFeature(
            f"disk_{verb}_latency_{short}",
            Kind.DISK,
            Formula.RATIO,
            (f"disk_{verb}_seconds_increase_{short}", f"disk_{verb}s_increase_{short}"),
            f"{{value}} s per {verb} over {long}",
        )
        for verb in ("read", "write")
        for short, long in (("1h", "an hour"), ("1d", "a day"))
    ),
)

NETWORK_FEATURES = (
    *_increase(Kind.NETWORK, "nic_receive_errors", "receive errors", HOUR, SIX_HOURS, DAY, WEEK),
    *_increase(Kind.NETWORK, "nic_transmit_errors", "transmit errors", HOUR, SIX_HOURS, DAY),
    *_increase(Kind.NETWORK, "nic_frame_errors", "frame errors", HOUR, SIX_HOURS, DAY, WEEK),
    *_increase(Kind.NETWORK, "nic_receive_drops", "dropped packets", HOUR, SIX_HOURS, DAY),
    *_increase(Kind.NETWORK, "nic_carrier_changes", "losses and returns of the link", HOUR, SIX_HOURS, DAY, WEEK),
    *_increase(Kind.NETWORK, "nic_receive_bytes", "bytes received", HOUR),
    *_increase(Kind.NETWORK, "nic_transmit_bytes", "bytes sent", HOUR),
    *_increase(Kind.NETWORK, "nic_crc_errors", "CRC errors of the card", HOUR, DAY),
    *_increase(Kind.NETWORK, "nic_fec_uncorrectable", "blocks beyond error correction", HOUR, DAY),
    _last(Kind.NETWORK, "nic_speed_degraded", "link slower than it has been or offers: {value} (1 is yes)"),
    *_odd("nic", Kind.NETWORK, "NIC"),
    _last(Kind.NETWORK, "nic_up", "link state {value} (1 is up)"),
    _last(Kind.NETWORK, "nic_speed", "link at {value} bytes per second"),
    *_over(Kind.NETWORK, "nic_speed", Aggregate.MAX, (WEEK,), "link reached {value} bytes per second within {window}"),
)

NETWORK_DERIVED = (
    DerivedFeature(
        "nic_speed_share",
        Kind.NETWORK,
        Formula.RATIO,
        ("nic_speed_last", "nic_speed_max_7d"),
        "link negotiated a share of {value} of its best speed of the week",
    ),
)

POWER_FEATURES = (
    _last(Kind.POWER, "psu_output_volts", "output at {value} V"),
    *_over(Kind.POWER, "psu_output_volts", Aggregate.STDDEV, (HOUR, WEEK), "output wavers by {value} V over {window}"),
    *_over(Kind.POWER, "psu_output_volts", Aggregate.AVG, (HOUR, WEEK), "output at {value} V on average over {window}"),
    *_over(Kind.POWER, "psu_output_volts", Aggregate.MIN, (HOUR, DAY), "output sank to {value} V within {window}"),
    _last(Kind.POWER, "psu_input_volts", "input at {value} V"),
    *_over(Kind.POWER, "psu_input_volts", Aggregate.MIN, (HOUR,), "input sank to {value} V within {window}"),
    _last(Kind.POWER, "psu_input_lost", "input lost: {value} (1 is yes)"),
    *_over(Kind.POWER, "psu_input_lost", Aggregate.MAX, (HOUR,), "input lost within {window}: {value} (1 is yes)"),
    _last(Kind.POWER, "psu_present", "supply in its place: {value} (1 is yes, 0 gone)"),
    *_over(
        Kind.POWER,
        "psu_present",
        Aggregate.CHANGES,
        (SIX_HOURS, DAY),
        "supply taken out or put in {value} times within {window}",
    ),
    _last(Kind.POWER, "psu_failed", "supply reports that it failed: {value} (1 is yes)"),
    *_over(
        Kind.POWER,
        "psu_failed",
        Aggregate.MAX,
        (HOUR,),
        "supply reported within {window} that it failed: {value} (1 is yes)",
    ),
    _last(Kind.POWER, "psu_failure_predicted", "supply predicts its failure: {value} (1 is yes)"),
    *_over(
        Kind.POWER,
        "psu_failure_predicted",
        Aggregate.MAX,
        (HOUR,),
        "supply predicted its failure within {window}: {value} (1 is yes)",
    ),
    _last(Kind.POWER, "psu_amperes", "output current of {value} A"),
    _last(Kind.POWER, "psu_temperature", "supply at {value} °C"),
    *_over(Kind.POWER, "psu_temperature", Aggregate.MAX, (HOUR, DAY), "supply reached {value} °C within {window}"),
    *_over(Kind.POWER, "psu_temperature", Aggregate.AVG, (WEEK,), "supply at {value} °C on average over {window}"),
    _last(Kind.POWER, "psu_fan_speed", "slowest fan of the supply at {value} rpm"),
    *_over(Kind.POWER, "psu_fan_speed", Aggregate.MIN, (HOUR,), "slowest fan sank to {value} rpm within {window}"),
    *_over(Kind.POWER, "psu_fan_speed", Aggregate.AVG, (WEEK,), "slowest fan at {value} rpm on average over {window}"),
    _last(Kind.POWER, "psu_state", "sensors of the supply say {value} (0 good, 1 warning, 2 critical)"),
    *_over(
        Kind.POWER,
        "psu_state",
        Aggregate.MAX,
        (HOUR, DAY),
        "sensors of the supply said {value} (1 warning, 2 critical) within {window}",
    ),
    *_odd("psu", Kind.POWER, "supply"),
    _last(Kind.POWER, "bmc_up", "BMC answers: {value} (1 is yes)"),
    _last(Kind.POWER, "bmc_silent", "BMC has not answered for {value} s"),
    _last(Kind.POWER, "bmc_stuck", "readings of the BMC stick: {value} (1 is yes)"),
    *_increase(Kind.POWER, "bmc_resets", "restarts of the BMC", DAY),
    _last(Kind.POWER, "board_volts_alarm", "{value} voltage alarms of the board"),
    *_over(
        Kind.POWER, "board_volts_alarm", Aggregate.MAX, (HOUR,), "{value} voltage alarms of the board within {window}"
    ),
    _last(Kind.POWER, "board_volts", "12 V rail at {value} V"),
    *_over(Kind.POWER, "board_volts", Aggregate.STDDEV, (HOUR,), "12 V rail wavers by {value} V over {window}"),
    *_over(Kind.POWER, "board_volts", Aggregate.AVG, (WEEK,), "12 V rail at {value} V on average over {window}"),
)

POWER_DERIVED = (
    DerivedFeature(
        "psu_output_volts_share",
        Kind.POWER,
        Formula.RATIO,
        ("psu_output_volts_avg_1h", "psu_output_volts_avg_7d"),
        "output at a share of {value} of the week's average",
    ),
    DerivedFeature(
        "psu_fan_speed_share",
        Kind.POWER,
        Formula.RATIO,
        ("psu_fan_speed_min_1h", "psu_fan_speed_avg_7d"),
        "slowest fan at a share of {value} of the week's average",
    ),
    DerivedFeature(
        "psu_temperature_rise",
        Kind.POWER,
        Formula.DIFFERENCE,
        ("psu_temperature_last", "psu_temperature_avg_7d"),
        "supply {value} °C warmer than over the week",
    ),
)

CATALOG = Catalog(
    metrics=METRICS,
    features=(*CPU_FEATURES, *MEMORY_FEATURES, *DISK_FEATURES, *NETWORK_FEATURES, *POWER_FEATURES),
    derived=(*CPU_DERIVED, *MEMORY_DERIVED, *DISK_DERIVED, *NETWORK_DERIVED, *POWER_DERIVED),
)
