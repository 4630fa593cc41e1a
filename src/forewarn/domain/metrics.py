"""The metric catalogue: every quantity that Forewarn understands, under the name that the field's exporters give it.

Names are those of node_exporter (`node_*`), smartctl_exporter (`smartctl_*`), ipmi_exporter (`ipmi_*`) and the
exporters of libvirt (`libvirt_*`). A new quantity is one line here; whatever emits it (an agent, a Prometheus, the
simulator) needs to know nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from forewarn.domain.inventory import Kind
from forewarn.domain.power_metrics import POWER_METRICS
from forewarn.domain.telemetry import Combine, Metric
from forewarn.domain.telemetry_metrics import BMC_METRICS, CPU_CHIPS, PSU, oddities


@dataclass(frozen=True, slots=True)
class Identity:
    """An info series (value 1) that tells which part stands behind a device name of a host."""

    kind: Kind
    name: str
    device_label: str
    serial_label: str
    model_label: str = ""
    device_pattern: str = ""  # as of a Metric


# smartctl speaks of the NVMe drive (nvme0), the kernel of its namespaces (nvme0n1): one part.
DISK = r"(nvme\d+(?=n\d+$)|.+)"

IDENTITIES: tuple[Identity, ...] = (
    Identity(Kind.DISK, "smartctl_device", "device", "serial_number", "model_name", DISK),
    Identity(Kind.DISK, "node_disk_info", "device", "serial", "model", DISK),
    Identity(Kind.NETWORK, "node_network_info", "device", "address"),
    # A VM is its UUID, whatever host it is on; the other series know it by its name there.
    Identity(Kind.VM, "libvirt_domain_info_meta", "domain", "uuid"),
)

# SMART attributes whose raw value counts something; the numbers are ATA's attribute ids.
SMART_ATTRIBUTES: tuple[tuple[int, str], ...] = (
    (5, "reallocated sectors"),
    (9, "power-on hours"),
    (10, "spin retries"),
    (12, "power cycles"),
    (187, "reported uncorrectable errors"),
    (188, "command timeouts"),
    (189, "high-fly writes"),
    (196, "reallocation events"),
    (197, "pending sectors"),
    (198, "offline uncorrectable sectors"),
    (199, "interface CRC errors"),
)

# Raw values in which makers pack more than the count: these many low bits are the count. Two counts of slow commands
# stand above the timeouts, fractions of an hour above the hours (9 and 240).
SMART_LOW_BITS: Mapping[int, int] = {9: 32, 188: 16, 240: 32}

# The info series that tells what a sensor is called.
SENSOR_LABEL = "node_hwmon_sensor_label"


def _smart(attribute: int, help_text: str) -> Metric:
    where = (("attribute_id", str(attribute)), ("attribute_value_type", "raw"))
    return Metric(
        f"smart_{attribute}",
        Kind.DISK,
        "smartctl_device_attribute",
        help_text,
        where=where,
        device_label="device",
        device_pattern=DISK,
        counter=attribute not in (197, 198),
        hold_s=7200.0,
        low_bits=SMART_LOW_BITS.get(attribute, 0),
    )


def _disk(key: str, name: str, help_text: str, unit: str = "", *, counter: bool = False) -> Metric:
    # The kernel counts each namespace of an NVMe drive for itself; smartctl tells of the drive, however often.
    combine = Combine.SUM if counter and not name.startswith("smartctl_") else Combine.MAX
    return Metric(
        key,
        Kind.DISK,
        name,
        help_text,
        unit,
        device_label="device",
        device_pattern=DISK,
        counter=counter,
        combine=combine,
    )


def _nic(key: str, name: str, help_text: str, unit: str = "", *, counter: bool = True) -> Metric:
    return Metric(key, Kind.NETWORK, name, help_text, unit, device_label="device", counter=counter)


def _dimm(key: str, name: str, help_text: str) -> Metric:
    return Metric(
        key,
        Kind.MEMORY,
        name,
        help_text,
        "errors",
        device_label="dimm_label",
        counter=True,
        combine=Combine.SUM,
    )


def _vm(key: str, name: str, help_text: str, unit: str, *, counter: bool = True) -> Metric:
    # A VM's disks and interfaces are series of their own; what counts is the VM.
    return Metric(
        key,
        Kind.VM,
        f"libvirt_domain_{name}",
        help_text,
        unit,
        device_label="domain",
        counter=counter,
        combine=Combine.SUM if counter else Combine.MAX,
    )


CPU_METRICS = (
    Metric(
        "cpu_temperature",
        Kind.CPU,
        "node_hwmon_temp_celsius",
        "temperature of the hottest CPU sensor",
        "celsius",
        where=(("chip", CPU_CHIPS),),
    ),
    Metric(
        "cpu_core_throttles",
        Kind.CPU,
        "node_cpu_core_throttles_total",
        "thermal throttle events of the cores",
        "events",
        counter=True,
        combine=Combine.SUM,
    ),
    Metric(
        "cpu_package_throttles",
        Kind.CPU,
        "node_cpu_package_throttles_total",
        "thermal throttle events of the packages",
        "events",
        counter=True,
        combine=Combine.SUM,
    ),
    Metric(
        "cpu_machine_checks",
        Kind.CPU,
        "node_interrupts_total",
        "machine check exceptions of the cores",
        "exceptions",
        where=(("type", "MCE"),),
        counter=True,
        combine=Combine.SUM,
    ),
    Metric(
        "cpu_corrected_thresholds",
        Kind.CPU,
        "node_interrupts_total",
        "times that corrected or deferred errors went beyond the CPU's threshold",
        "interrupts",
        where=(("type", "THR|DFR"),),
        counter=True,
        combine=Combine.SUM,
    ),
    Metric(
        "cpu_frequency",
        Kind.CPU,
        "node_cpu_scaling_frequency_hertz",
        "clock of the slowest core",
        "hertz",
        combine=Combine.MIN,
    ),
    Metric(
        "cpu_busy_seconds",
        Kind.CPU,
        "node_cpu_seconds_total",
        "time that the cores spent working",
        "seconds",
        where=(("mode", "user|system|nice|irq|softirq|steal"),),
        counter=True,
        combine=Combine.SUM,
    ),
    Metric(
        "cpu_idle_seconds",
        Kind.CPU,
        "node_cpu_seconds_total",
        "time that the cores spent idle",
        "seconds",
        where=(("mode", "idle|iowait"),),
        counter=True,
        combine=Combine.SUM,
    ),
)

MEMORY_METRICS = (
    _dimm("dimm_corrected", "node_edac_channel_correctable_errors_total", "corrected memory errors of the DIMM"),
    _dimm(
        "dimm_uncorrected",
        "node_edac_channel_uncorrectable_errors_total",
        "uncorrected memory errors of the DIMM",
    ),
    Metric(
        "dimm_fault_mode",
        Kind.MEMORY,
        "forewarn_dimm_fault_mode",
        "widest fault that explains the DIMM's corrected errors: 1 cell, 2 column, 3 row, 4 bank, 5 device",
        device_label="dimm_label",
    ),
    Metric(
        "dimm_error_addresses",
        Kind.MEMORY,
        "forewarn_dimm_error_addresses",
        "different addresses of the DIMM's corrected errors",
        "addresses",
        device_label="dimm_label",
    ),
    _dimm("dimm_multi_bit", "forewarn_dimm_multi_bit_errors_total", "corrected errors of several bits or symbols"),
    Metric("memory_total", Kind.HOST, "node_memory_MemTotal_bytes", "memory of the host", "bytes"),
    Metric(
        "memory_available",
        Kind.HOST,
        "node_memory_MemAvailable_bytes",
        "memory that the host can still give",
        "bytes",
    ),
    Metric(
        "memory_corrupted",
        Kind.HOST,
        "node_memory_HardwareCorrupted_bytes",
        "memory taken offline for errors",
        "bytes",
    ),
)

DISK_METRICS = (
    *(_smart(number, words) for number, words in SMART_ATTRIBUTES),
    _disk("smart_status", "smartctl_device_smart_status", "the drive's own verdict, 1 for passed"),
    Metric(
        "disk_temperature",
        Kind.DISK,
        "smartctl_device_temperature",
        "temperature of the drive",
        "celsius",
        where=(("temperature_type", "current"),),
        device_label="device",
        device_pattern=DISK,
    ),
    _disk("disk_capacity", "smartctl_device_capacity_bytes", "capacity of the drive", "bytes"),
    _disk("disk_power_on_seconds", "smartctl_device_power_on_seconds", "time that the drive has been on", "seconds"),
    _disk("nvme_media_errors", "smartctl_device_media_errors", "media errors of the drive", "errors", counter=True),
    _disk("nvme_critical_warning", "smartctl_device_critical_warning", "critical warning bits of the drive"),
    _disk(
        "nvme_percentage_used", "smartctl_device_percentage_used", "share of the drive's life that is used", "percent"
    ),
    _disk("nvme_available_spare", "smartctl_device_available_spare", "spare blocks that are left", "percent"),
    _disk("disk_reads", "node_disk_reads_completed_total", "completed reads", "operations", counter=True),
    _disk("disk_writes", "node_disk_writes_completed_total", "completed writes", "operations", counter=True),
    _disk("disk_read_seconds", "node_disk_read_time_seconds_total", "time spent reading", "seconds", counter=True),
    _disk("disk_write_seconds", "node_disk_write_time_seconds_total", "time spent writing", "seconds", counter=True),
    _disk("disk_io_errors", "forewarn_disk_io_errors_total", "failed requests of the device", "errors", counter=True),
    _disk("disk_io_timeouts", "forewarn_disk_io_timeouts_total", "timed-out requests", "requests", counter=True),
    _disk("disk_working", "forewarn_disk_working", "0 once the kernel's driver has given the drive up"),
    _disk(
        "disk_readonly_filesystems",
        "forewarn_disk_readonly_filesystems",
        "file systems on the drive that the kernel turned read-only",
    ),
    # Entries of an old error log are no alarm, new ones are.
    _disk(
        "nvme_error_entries", "smartctl_device_num_err_log_entries", "entries of the error log", "entries", counter=True
    ),
    _disk(
        "sas_grown_defects", "smartctl_scsi_grown_defect_list", "grown defects of the drive", "defects", counter=True
    ),
    _disk(
        "sas_read_uncorrected",
        "smartctl_read_total_uncorrected_errors",
        "reads that could not be corrected",
        "errors",
        counter=True,
    ),
    _disk(
        "sas_write_uncorrected",
        "smartctl_write_total_uncorrected_errors",
        "writes that could not be corrected",
        "errors",
        counter=True,
    ),
    _disk("self_test_passed", "forewarn_smartctl_self_test_passed", "1 where the last self-test found nothing"),
)

NETWORK_METRICS = (
    _nic("nic_receive_bytes", "node_network_receive_bytes_total", "bytes received", "bytes"),
    _nic("nic_transmit_bytes", "node_network_transmit_bytes_total", "bytes sent", "bytes"),
    _nic("nic_receive_errors", "node_network_receive_errs_total", "receive errors", "errors"),
    _nic("nic_transmit_errors", "node_network_transmit_errs_total", "transmit errors", "errors"),
    _nic("nic_frame_errors", "node_network_receive_frame_total", "frame (CRC) errors", "errors"),
    _nic("nic_receive_drops", "node_network_receive_drop_total", "received packets dropped", "packets"),
    _nic(
        "nic_carrier_changes",
        "node_network_carrier_changes_total",
        "losses and returns of the link",
        "changes",
    ),
    _nic("nic_crc_errors", "forewarn_network_crc_errors_total", "CRC errors of the card, by its driver", "errors"),
    _nic(
        "nic_fec_uncorrectable",
        "forewarn_network_fec_uncorrectable_total",
        "blocks that forward error correction could not mend",
        "blocks",
    ),
    Metric(
        "nic_speed_degraded",
        Kind.NETWORK,
        "forewarn_network_link_degraded",
        "1 while the link is slower than it has been or offers",
        where=(("what", "speed"),),
        device_label="device",
    ),
    _nic("nic_up", "node_network_up", "1 while the link is up", counter=False),
    _nic("nic_speed", "node_network_speed_bytes", "negotiated speed", "bytes per second", counter=False),
)

VM_METRICS = (
    _vm("vm_cpu_seconds", "info_cpu_time_seconds_total", "time that the VM's CPUs ran", "seconds"),
    _vm("vm_vcpus", "info_virtual_cpus", "virtual CPUs of the VM", "CPUs", counter=False),
    _vm("vm_memory_max", "info_maximum_memory_bytes", "most memory that the VM may have", "bytes", counter=False),
    _vm("vm_memory", "info_memory_usage_bytes", "memory that the balloon leaves the VM", "bytes", counter=False),
    _vm("vm_memory_rss", "memory_stats_rss_bytes", "memory that the VM takes of its host", "bytes", counter=False),
    _vm("vm_memory_usable", "memory_stats_usable_bytes", "memory that the VM can still give", "bytes", counter=False),
    _vm("vm_read_bytes", "block_stats_read_bytes_total", "bytes read from the VM's disks", "bytes"),
    _vm("vm_write_bytes", "block_stats_write_bytes_total", "bytes written to the VM's disks", "bytes"),
    _vm("vm_reads", "block_stats_read_requests_total", "reads from the VM's disks", "operations"),
    _vm("vm_writes", "block_stats_write_requests_total", "writes to the VM's disks", "operations"),
    _vm("vm_read_seconds", "block_stats_read_time_seconds_total", "time that reads took", "seconds"),
    _vm("vm_write_seconds", "block_stats_write_time_seconds_total", "time that writes took", "seconds"),
    _vm("vm_receive_bytes", "interface_stats_receive_bytes_total", "bytes that the VM received", "bytes"),
    _vm("vm_transmit_bytes", "interface_stats_transmit_bytes_total", "bytes that the VM sent", "bytes"),
    _vm("vm_receive_drops", "interface_stats_receive_drops_total", "received packets that were dropped", "packets"),
    _vm("vm_transmit_drops", "interface_stats_transmit_drops_total", "sent packets that were dropped", "packets"),
)

TELEMETRY_METRICS = (
    *oddities("cpu", Kind.CPU, "cpu", sensor=(("device", CPU_CHIPS),)),
    *oddities("dimm", Kind.MEMORY, "memory|rasdaemon"),
    *oddities("disk", Kind.DISK, "disk|smart", DISK),
    *oddities("nic", Kind.NETWORK, "network"),
    *oddities("psu", Kind.POWER, "bmc", PSU),
    *BMC_METRICS,
)

METRICS: tuple[Metric, ...] = (
    *CPU_METRICS,
    *MEMORY_METRICS,
    *DISK_METRICS,
    *NETWORK_METRICS,
    *POWER_METRICS,
    *VM_METRICS,
    *TELEMETRY_METRICS,
)
