"""The series of well-known exporters that say under other names or labels what the catalogue says.

One line is one series. What an exporter names as the catalogue does stands nowhere here. Sources: the README files of
the exporters and of Telegraf's plugins; for smartmon the scripts of Debian's prometheus-node-exporter-collectors.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rename:
    """A series by name and labels, and which of the catalogue's it is."""

    name: str
    """The name of the series in the database."""
    means: str
    """The catalogue's name for it."""
    where: Mapping[str, str] = field(default_factory=dict)
    """Labels and regular expressions that must match their whole values."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """The catalogue's labels: texts in which `{name}` stands for the series' own label, or for a named group of a
    pattern in `where`. Labels that are not named stay as they are."""
    scale: float = 1.0
    """What its values are to be multiplied by."""
    also: bool = False
    """Whether the series keeps its own meaning beside this one."""

    def __post_init__(self) -> None:
        for label, pattern in self.where.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"where.{label} is no regular expression: {error}") from error

    def labels_of(self, labels: Mapping[str, str]) -> dict[str, str] | None:
        """The catalogue's labels of a series; None where the series is not meant.

        >>> Rename("a", "b", {"disk": "/dev/(?P<kernel>.+)"}, {"device": "{kernel}"}).labels_of({"disk": "/dev/sda"})
        {'disk': '/dev/sda', 'device': 'sda'}
        """
        known = dict(labels)
        for label, pattern in self.where.items():
            found = re.fullmatch(pattern, labels.get(label, ""))
            if found is None:
                return None
            known.update({name: text for name, text in found.groupdict().items() if text})
        made = {label: _filled(text, known) for label, text in self.labels.items()}
        return {label: text for label, text in {**labels, **made}.items() if text}


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], ""), text)


# A disk and no part of one, nothing that is made of memory or files: as node_exporter leaves out by itself.
_WHOLE_DISK = {"name": r"(?!(?:[hsv]|xv)d[a-z]+\d+$|nvme\d+n\d+p\d+$|loop|ram).+"}
_DISK_FILE = {"disk": r"(?:/dev/)?(?P<kernel>[^/]+)(?:/.*)?"}
_NVME_FILE = {"device": r"(?:/dev/)?(?P<kernel>[^/]+)"}
_KERNEL = {"device": "{kernel}"}


def _smartmon(attribute: str) -> Rename:
    labels = {**_KERNEL, "attribute_id": "{smart_id}", "attribute_value_type": "raw"}
    return Rename(f"smartmon_{attribute}_raw_value", "smartctl_device_attribute", _DISK_FILE, labels)


def _nvme(name: str, means: str, scale: float = 1.0) -> Rename:
    return Rename(f"nvme_{name}", f"smartctl_device_{means}", _NVME_FILE, _KERNEL, scale)


def _cpu_time(mode: str) -> Rename:
    return Rename(f"cpu_time_{mode}", "node_cpu_seconds_total", {"cpu": r"cpu\d+"}, {"mode": mode})


def _diskio(name: str, means: str, scale: float = 1.0) -> Rename:
    return Rename(f"diskio_{name}", f"node_disk_{means}_total", _WHOLE_DISK, {"device": "{name}"}, scale)


def _net(name: str, means: str) -> Rename:
    return Rename(f"net_{name}", f"node_network_{means}_total", {"interface": "(?!all$).+"}, {"device": "{interface}"})


def _sensor(unit: str, means: str) -> Rename:
    return Rename("ipmi_sensor_value", f"ipmi_{means}", {"unit": unit})


NODE_EXPORTER = (
    Rename(
        "node_nvme_info",
        "smartctl_device",
        {"serial": ".+"},
        {"serial_number": "{serial}", "model_name": "{model}"},
    ),
)

SMARTMON = (
    Rename("smartmon_device_info", "smartctl_device", _DISK_FILE, {**_KERNEL, "model_name": "{device_model}"}),
    Rename("smartmon_device_smart_healthy", "smartctl_device_smart_status", _DISK_FILE, _KERNEL),
    Rename(
        "smartmon_temperature_celsius_raw_value",
        "smartctl_device_temperature",
        _DISK_FILE,
        {**_KERNEL, "temperature_type": "current"},
    ),
    Rename("smartmon_grown_defects_count_raw_value", "smartctl_scsi_grown_defect_list", _DISK_FILE, _KERNEL),
    *map(
        _smartmon,
        (
            "reallocated_sector_ct",
            "power_on_hours",
            "spin_retry_count",
            "power_cycle_count",
            "reported_uncorrect",
            "command_timeout",
            "reallocated_event_count",
            "current_pending_sector",
            "offline_uncorrectable",
            "udma_crc_error_count",
        ),
    ),
    _nvme("media_errors_total", "media_errors"),
    _nvme("critical_warning_total", "critical_warning"),
    _nvme("num_err_log_entries_total", "num_err_log_entries"),
    _nvme("percentage_used_ratio", "percentage_used", 100.0),
    _nvme("available_spare_ratio", "available_spare", 100.0),
)

# The exporter tells a VM's UUID with each of its series, and has no info series.
LIBVIRT_EXPORTER = (Rename("libvirt_domain_info_virtual_cpus", "libvirt_domain_info_meta", {"uuid": ".+"}, also=True),)

# A name is the plugin's and the field's, as Telegraf's own Prometheus output joins them.
TELEGRAF = (
    *map(_cpu_time, ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")),
    Rename("mem_total", "node_memory_MemTotal_bytes"),
    Rename("mem_available", "node_memory_MemAvailable_bytes"),
    _diskio("reads", "reads_completed"),
    _diskio("writes", "writes_completed"),
    _diskio("read_time", "read_time_seconds", 0.001),
    _diskio("write_time", "write_time_seconds", 0.001),
    _net("bytes_recv", "receive_bytes"),
    _net("bytes_sent", "transmit_bytes"),
    _net("err_in", "receive_errs"),
    _net("err_out", "transmit_errs"),
    _net("drop_in", "receive_drop"),
    Rename(
        "smart_attribute_raw_value",
        "smartctl_device_attribute",
        {"id": r"\d+"},
        {"attribute_id": "{id}", "attribute_value_type": "raw"},
    ),
    Rename("smart_device_health_ok", "smartctl_device_smart_status"),
    Rename(
        "smart_device_health_ok",
        "smartctl_device",
        {"serial_no": ".+"},
        {"serial_number": "{serial_no}", "model_name": "{model}"},
    ),
    Rename("smart_device_temp_c", "smartctl_device_temperature", labels={"temperature_type": "current"}),
    Rename("smart_device_media_errors", "smartctl_device_media_errors"),
    Rename("smart_device_critical_warning", "smartctl_device_critical_warning"),
    Rename("smart_device_percentage_used", "smartctl_device_percentage_used"),
    Rename("smart_device_available_spare", "smartctl_device_available_spare"),
    Rename("smart_device_error_log_entries", "smartctl_device_num_err_log_entries"),
    _sensor("volts", "voltage_volts"),
    _sensor("amps", "current_amperes"),
    _sensor("degrees_c", "temperature_celsius"),
    _sensor("rpm", "fan_speed_rpm"),
)

PRESETS: Mapping[str, tuple[Rename, ...]] = {
    "node_exporter": NODE_EXPORTER,
    "smartctl_exporter": (),
    "smartmon": SMARTMON,
    "ipmi_exporter": (),
    "libvirt_exporter": LIBVIRT_EXPORTER,
    "telegraf": TELEGRAF,
}
