"""The Prometheus text format 0.0.4: samples out, grouped by metric name. Times are left to whoever scrapes."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from forewarn.collect.lineup import Lineup
from forewarn.domain.metrics import METRICS
from forewarn.domain.own_metrics import OWN_METRICS
from forewarn.domain.telemetry import Sample

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# smartctl_exporter's counters do not end in `_total`.
COUNTERS = frozenset(
    {
        "smartctl_device_power_on_seconds",
        "smartctl_device_power_cycle_count",
        "smartctl_device_percentage_used",
        "smartctl_device_available_spare",
        "smartctl_device_available_spare_threshold",
        "smartctl_device_critical_warning",
        "smartctl_device_media_errors",
        "smartctl_device_num_err_log_entries",
        "smartctl_device_bytes_read",
        "smartctl_device_bytes_written",
        "smartctl_scsi_grown_defect_list",
    }
)
COUNTER_PREFIXES = ("smartctl_read_", "smartctl_write_", "smartctl_verify_")

NAMES_REMEMBERED = 4096  # a large server shows some 400
UNSAFE = frozenset('\\\n"')
# What names have in common, for those that the catalogue does not explain; the longest that fits holds.
HELP_BY_PREFIX: Mapping[str, str] = {
    "forewarn_": "Forewarn's own",
    **{metric.name: metric.help for metric in OWN_METRICS},
    "node_cooling_device_": "Throttle state of the cooling device",
    "node_cpu_": "CPU statistic of /proc/stat or cpufreq",
    "node_cpu_guest_seconds_total": "Seconds the CPUs spent in guests (VMs) for each mode",
    "node_cpu_seconds_total": "Seconds the CPUs spent in each mode",
    "node_disk_": "Disk statistic of /proc/diskstats",
    "node_disk_info": "Info of /sys/block/<block_device>",
    "node_edac_": "Memory errors that EDAC counted",
    "node_bonding_": "Links of the bond in /sys/class/net/<bond>/bonding",
    "node_ethtool_": "Counter of the network card's driver",
    "node_network_advertised_speed_bytes": "Combination of speeds and features offered by network device",
    "node_cpu_info": "CPU information from /proc/cpuinfo",
    "node_cpu_online": "CPUs that are online and being scheduled",
    "node_filesystem_readonly": "Filesystem read-only status",
    "node_interrupts_total": "Interrupt details",
    "node_hwmon_": "Hardware monitor reading",
    "node_hwmon_chip_names": "Annotation metric for human-readable chip names",
    "node_hwmon_sensor_label": "Label for given chip and sensor",
    "node_md_": "State of a software RAID of /proc/mdstat",
    "node_memory_": "Memory information field of /proc/meminfo",
    "node_network_": "Network device statistic or property",
    "node_network_info": "Non-numeric data from /sys/class/net/<iface>, value is always 1",
    "node_power_supply_": "Value of /sys/class/power_supply/<power_supply>",
    "node_rapl_": "Energy counter of a RAPL zone in joules",
    "node_thermal_zone_": "Zone temperature in Celsius",
    "node_zfs_zpool_state": "kstat.zfs.misc.state",
    "process_": "The agent's own process",
    "smartctl_": "Reported by smartctl",
    "smartctl_device": "Device info",
    "smartctl_device_": "Reported by smartctl of the device",
    "smartctl_device_attribute": "Device attributes",
}
HELP_BY_NAME: Mapping[str, str] = {
    metric.name: metric.help for metric in METRICS if not metric.where and metric.name not in HELP_BY_PREFIX
}


def write(samples: Iterable[Sample]) -> str:
    r"""The samples as exposition text, families in the order of their names, series in the order given.

    >>> print(write([Sample("node_edac_correctable_errors_total", {"controller": "0"}, 3.0)]), end="")
    # HELP node_edac_correctable_errors_total Memory errors that EDAC counted
    # TYPE node_edac_correctable_errors_total counter
    node_edac_correctable_errors_total{controller="0"} 3
    """
    return Page().write(tuple(samples))


class Page:
    """The page of one agent, round after round: what stands before the values is written once."""

    def __init__(self) -> None:
        self._layout = Lineup(lay_out)

    def write(self, samples: Sequence[Sample]) -> str:
        """The page with the values of these samples."""
        between, places = self._layout.of(samples)
        values = [format_value(samples[place].value) for place in places]
        text = [piece for line in zip(between, values, strict=True) for piece in line]
        return "".join([*text, "\n"]) if text else ""


def lay_out(samples: Sequence[Sample]) -> tuple[list[str], list[int]]:
    """What stands before each value, from the one before it on, and the place of the value among the samples."""
    families: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        families.setdefault(sample.name, []).append(place)
    between: list[str] = []
    for name, places in sorted(families.items()):
        head = f"# HELP {name} {_escape(help_for(name), quotes=False)}\n# TYPE {name} {type_of(name)}\n"
        for place in places:
            end = "\n" if between else ""
            between.append(f"{end}{head}{name}{_braced(samples[place].labels)} ")
            head = ""
    return between, [place for _, places in sorted(families.items()) for place in places]


def _braced(labels: Mapping[str, str]) -> str:
    """Labels as they stand behind a name; nothing where there are none."""
    return (
        "{" + ",".join([f'{key}="{_escape(value)}"' for key, value in sorted(labels.items())]) + "}" if labels else ""
    )


@lru_cache(NAMES_REMEMBERED)
def help_for(name: str) -> str:
    """One line on what a metric is."""
    if name in HELP_BY_NAME:
        return HELP_BY_NAME[name]
    fitting = [prefix for prefix in HELP_BY_PREFIX if name.startswith(prefix)]
    return HELP_BY_PREFIX[max(fitting, key=len)] if fitting else name


@lru_cache(NAMES_REMEMBERED)
def type_of(name: str) -> str:
    """`counter` or `gauge`: the name tells."""
    return "counter" if name.endswith("_total") or name in COUNTERS or name.startswith(COUNTER_PREFIXES) else "gauge"


def format_value(value: float) -> str:
    """A value as Prometheus reads it back exactly."""
    if value.is_integer():
        return str(int(value)) if -1e15 < value < 1e15 else repr(value)
    if math.isfinite(value):
        return repr(value)
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def _escape(text: str, *, quotes: bool = True) -> str:
    if UNSAFE.isdisjoint(text):  # as nearly all are
        return text
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n")
    return escaped.replace('"', '\\"') if quotes else escaped
