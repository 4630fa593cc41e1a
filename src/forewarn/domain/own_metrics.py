"""Forewarn's own metrics: every series named `forewarn_*` that an agent or a server shows, and what it means.

One line is one metric. Whoever shows one takes its words from here, and so does the reference page.
"""

from collections.abc import Mapping
from dataclasses import dataclass

AGENT, SERVER, STORE = "agent", "server", "store"


@dataclass(frozen=True, slots=True)
class OwnMetric:
    """A series of our own. `labels` are its labels' names, `shown` who shows it."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    shown: tuple[str, ...] = (SERVER,)

    @property
    def type(self) -> str:
        """`counter` or `gauge`: the name tells."""
        return "counter" if self.name.endswith("_total") else "gauge"


def _agent(name: str, help_text: str, *labels: str) -> OwnMetric:
    return OwnMetric(name, help_text, labels, (AGENT,))


def _both(name: str, help_text: str, *labels: str) -> OwnMetric:
    return OwnMetric(name, help_text, labels, (AGENT, SERVER))


def _server(name: str, help_text: str, *labels: str) -> OwnMetric:
    return OwnMetric(name, help_text, labels)


OWN_METRICS: tuple[OwnMetric, ...] = (
    OwnMetric("forewarn_build_info", "The version of Forewarn that runs here", ("version",), (AGENT, SERVER)),
    _agent("forewarn_collector_up", "1 where the collector found its source on this host", "collector"),
    _agent("forewarn_collector_problem", "Why a collector gave nothing, or not everything", "collector", "why"),
    _agent(
        "forewarn_collector_refused",
        "Readings that were there and could not be read in the last round, by reason",
        "collector",
        "why",
    ),
    _agent("forewarn_collector_duration_seconds", "Time that the collector took in the last round", "collector"),
    _agent(
        "forewarn_source_up", "1 where a part of a collector's source was found on this host", "collector", "source"
    ),
    _agent("forewarn_disk_io_errors_total", "Failed requests of the device, as the SCSI layer counts them", "device"),
    _agent("forewarn_disk_io_timeouts_total", "Requests of the device that timed out, by the SCSI layer", "device"),
    _agent("forewarn_smartctl_unsafe_shutdowns_total", "Times that an NVMe drive lost power unprepared", "device"),
    _agent(
        "forewarn_smartctl_warning_temperature_minutes_total",
        "Minutes that an NVMe drive was above its warning temperature",
        "device",
    ),
    _agent(
        "forewarn_smartctl_critical_temperature_minutes_total",
        "Minutes that an NVMe drive was above its critical temperature",
        "device",
    ),
    _agent(
        "forewarn_smartctl_unreadable_total",
        "What smartctl said of a drive and could not be read, by what and why",
        "device",
        "why",
    ),
    _agent(
        "forewarn_smartctl_attribute_unpacked",
        "The count inside a SMART raw value into which the vendor packed several",
        "device",
        "attribute_id",
        "attribute_name",
    ),
    _agent(
        "forewarn_dimm_info",
        "What a DIMM is, as the memory controller's driver knows it",
        "dimm_label",
        "controller",
        "module",
        "location",
        "mem_type",
        "edac_mode",
        "dev_type",
        "size_mb",
    ),
    _agent(
        "forewarn_dimm_fault_mode",
        "Widest fault that explains a DIMM's corrected errors: 0 unknown, 1 cell, 2 column, 3 row, 4 bank, 5 device",
        "dimm_label",
    ),
    _agent(
        "forewarn_dimm_multi_bit_errors_total",
        "Corrected errors of a DIMM in several bits or symbols at once, as the firmware tells",
        "dimm_label",
    ),
    _agent("forewarn_dimm_error_addresses", "Different addresses of a DIMM's corrected errors", "dimm_label"),
    _agent(
        "forewarn_memory_firmware_first",
        "1 where the firmware takes corrected memory errors first, so that zero of them is unknown; by what it shows",
        "by",
    ),
    _agent(
        "forewarn_memory_failure_pages_total",
        "Pages that the kernel handled as failed, by NUMA node and by what came of it",
        "node",
        "result",
    ),
    _agent("forewarn_rasdaemon_records_total", "Records that rasdaemon has written, by table", "table"),
    _agent(
        "forewarn_kernel_log_lines_total", "Lines of the kernel about failing hardware, by what they tell", "template"
    ),
    _agent("forewarn_psu_present", "1 where a power supply is in its place", "name"),
    _agent("forewarn_psu_input_lost", "1 while a power supply has no mains; the supply itself may be sound", "name"),
    _agent("forewarn_psu_failed", "1 where a power supply reports that it failed", "name"),
    _agent("forewarn_psu_failure_predicted", "1 where a power supply predicts its failure", "name"),
    _agent("forewarn_psu_info", "Which power supply it is", "name", "serial", "model", "firmware"),
    _agent("forewarn_power_redundant", "1 while a group of power supplies is redundant", "name"),
    _agent(
        "forewarn_bmc_readings_set_aside",
        "Readings of the last answer of a BMC that are none (placeholders, supplies without input), by why",
        "bmc",
        "why",
    ),
    _both("forewarn_telemetry_bmc_up", "1 while a BMC answers", "bmc"),
    _both("forewarn_telemetry_bmc_silent_seconds", "Time since a BMC answered last", "bmc"),
    _both("forewarn_telemetry_bmc_stuck", "1 where no reading of a BMC has moved for long", "bmc"),
    _both("forewarn_telemetry_bmc_resets_total", "Times that a BMC started anew", "bmc"),
    _both("forewarn_telemetry_bmc_problem", "What is the matter with a BMC, or its answer", "bmc", "why"),
    _agent(
        "forewarn_smartctl_attribute_operations",
        "The operations beside the errors in a SMART raw value of Seagate's",
        "device",
        "attribute_id",
        "attribute_name",
    ),
    _agent("forewarn_smartctl_standby", "1 while a drive sleeps and is not asked, so as not to wake it", "device"),
    _agent(
        "forewarn_smartctl_informational_exception",
        "A SCSI drive's own warning, by its sense codes",
        "device",
        "asc",
        "ascq",
        "text",
    ),
    _agent("forewarn_smartctl_pending_defects", "Defects that a SCSI drive has found and not yet mended", "device"),
    _agent(
        "forewarn_smartctl_self_test_passed",
        "1 where the drive's last self-test that came to an end found nothing",
        "device",
        "self_test_type",
    ),
    _agent(
        "forewarn_smartctl_self_test_age_seconds",
        "Time that the drive has been on since that self-test",
        "device",
        "self_test_type",
    ),
    _agent(
        "forewarn_telemetry_vanished_seconds", "Time since a part that vanished was last seen", "collector", "device"
    ),
    _agent("forewarn_telemetry_vanished_total", "Times that a part vanished from telemetry", "collector"),
    _agent(
        "forewarn_telemetry_backwards_total", "Times that a counter of the part ran backwards", "collector", "device"
    ),
    _agent(
        "forewarn_telemetry_stuck",
        "1 for a sensor that shows the very same value for too long",
        "collector",
        "device",
        "series",
    ),
    _agent("forewarn_telemetry_stuck_sensors", "Sensors that stick", "collector"),
    _agent(
        "forewarn_telemetry_not_compared", "Series beyond the number that is compared from round to round", "collector"
    ),
    _agent(
        "forewarn_redundancy_member_info",
        "A part of a set that stands in for each other, by its state",
        "group",
        "kind",
        "device",
        "state",
    ),
    _agent(
        "forewarn_redundancy_spares",
        "How many more of a set may fail before what stands on it does; 0 while it rebuilds",
        "group",
        "kind",
    ),
    _agent("forewarn_md_mismatches", "Blocks in which an array's members differed at the last check", "device"),
    _agent(
        "forewarn_md_member_errors_total",
        "Read errors of an array's member that were mended from the others",
        "array",
        "device",
    ),
    _agent("forewarn_volume_members", "Members of a RAID volume of LVM by state", "volume", "state"),
    _agent(
        "forewarn_zfs_device_errors_total", "Errors that ZFS counted on a device of a pool", "pool", "device", "kind"
    ),
    _agent("forewarn_ceph_osd_info", "A drive on which an OSD of Ceph stands", "cluster", "osd", "device", "role"),
    _agent(
        "forewarn_network_link_degraded",
        "1 while a link runs below the speed that it has shown or offers, or at half duplex",
        "device",
        "what",
    ),
    _agent("forewarn_network_crc_errors_total", "CRC errors of the card, whatever its driver calls them", "device"),
    _agent("forewarn_network_fec_corrected_total", "Blocks that forward error correction mended", "device"),
    _agent("forewarn_network_fec_uncorrectable_total", "Blocks that forward error correction could not mend", "device"),
    _agent(
        "forewarn_network_pci_errors_total", "Errors of the card's PCI Express link by severity", "device", "severity"
    ),
    _agent(
        "forewarn_network_neighbor_info",
        "The switch and port into which a card is plugged, as LLDP tells",
        "device",
        "chassis",
        "chassis_id",
        "port",
        "port_description",
    ),
    _agent("forewarn_bonding_active_info", "The link that carries the traffic of a bond", "master", "device"),
    _agent("forewarn_optics_temperature_celsius", "Temperature of the optics", "device"),
    _agent("forewarn_optics_volts", "Supply voltage of the optics", "device"),
    _agent("forewarn_optics_bias_amperes", "Bias current of the laser", "device", "lane"),
    _agent("forewarn_optics_transmit_watts", "Optical power sent", "device", "lane"),
    _agent("forewarn_optics_receive_watts", "Optical power received", "device", "lane"),
    _agent("forewarn_optics_alarm", "1 for an alarm of the optics that is on", "device", "alarm", "lane"),
    _agent("forewarn_disk_state_info", "What the kernel's driver says of the drive", "device", "state"),
    _agent("forewarn_disk_working", "0 once the kernel's driver has given the drive up", "device"),
    _agent(
        "forewarn_disk_pci_errors_total", "Errors of an NVMe drive's PCI Express link by severity", "device", "severity"
    ),
    _agent(
        "forewarn_disk_readonly_filesystems",
        "File systems on the drive that the kernel turned read-only by itself",
        "device",
    ),
    _agent("forewarn_disk_filesystem_errors", "Errors that file systems noted on the drive", "device"),
    _agent("forewarn_cpu_core_throttled_seconds_total", "Time that the core was throttled for heat", "package", "core"),
    _agent("forewarn_cpu_package_throttled_seconds_total", "Time that the package was throttled for heat", "package"),
    _agent("forewarn_push_buffer_bytes", "Size of what is kept on disk until it is sent", "queue"),
    _agent("forewarn_push_buffer_segments", "Files of what is kept on disk until it is sent", "queue"),
    _agent("forewarn_push_damaged_segments_total", "Files of the buffer that were set aside unread", "queue"),
    _agent("forewarn_push_dropped_events_total", "Events that were given up", "why"),
    _agent("forewarn_push_dropped_samples_total", "Samples that were given up", "why"),
    _agent("forewarn_push_failed_requests_total", "Requests that were not taken", "queue", "why"),
    _agent("forewarn_push_last_success_timestamp_seconds", "When something was taken last", "queue"),
    _agent("forewarn_push_sent_events_total", "Events that a server took"),
    _agent("forewarn_push_sent_samples_total", "Samples that a server took"),
    _server("forewarn_snapshot_present", "1 once a cycle has ended"),
    _server("forewarn_snapshot_age_seconds", "Time since the last cycle"),
    _server("forewarn_cycles_total", "Cycles of the control loop"),
    _server("forewarn_paused", "1 while moves are paused"),
    _server("forewarn_mode", "1 for the mode that is on", "mode"),
    _server("forewarn_hosts", "Hosts by state", "state"),
    _server("forewarn_vms", "VMs by state", "state"),
    _server("forewarn_driver_remarks", "What the placement service could not read, of hosts and of VMs", "about"),
    _server("forewarn_host_unheard_seconds", "Time since a host that does not answer its driver last did", "host"),
    _server("forewarn_moves", "Moves of the last cycles by state", "state"),
    _server(
        "forewarn_risk",
        "Calibrated probability of failure within the horizon",
        "component",
        "kind",
        "host",
        "device",
        "horizon",
    ),
    _server("forewarn_risk_threshold", "The threshold of a component kind", "kind", "horizon"),
    _server("forewarn_components_unknown", "Components without a forecast", "kind"),
    _server("forewarn_components_at_risk", "Components above their threshold", "kind"),
    _server(
        "forewarn_mode_granted",
        "1 for each mode that was granted, by its scope; empty is every",
        "mode",
        "aggregate",
        "kind",
        "action",
    ),
    _server("forewarn_leader", "1 while no other controller leads"),
    _server("forewarn_breaker_tripped", "1 while the breaker holds"),
    _server("forewarn_windows_open", "Open windows by kind", "kind"),
    _server("forewarn_evidence_judged", "Forecasts judged at this site", "kind"),
    _server("forewarn_evidence_precision_low", "Lower 95 % bound of their precision", "kind"),
    _server("forewarn_proposals", "Moves that wait for a mode or an approval"),
    _server("forewarn_verdicts", "Options that the last plan rejected or a guard held back, by cause", "refusal"),
    _server("forewarn_cordons", "Hosts that shall receive no new VM"),
    _server("forewarn_host_cordoned", "1 for a host that takes no new VM, whoever cordoned it", "host"),
    _server("forewarn_limit", "A limit on acting", "name"),
    _server("forewarn_limit_used", "How much of it is used", "name"),
    _server("forewarn_limit_held_total", "How often it has held something back", "name"),
    _server("forewarn_libvirt_connections_opened_total", "Connections to a libvirt host that were opened", "host"),
    _server("forewarn_libvirt_calls_abandoned_total", "Calls that a libvirt host did not answer in time", "host"),
    _server("forewarn_libvirt_calls_hanging", "Of those, calls that have not returned yet", "host"),
    _server("forewarn_store_series", "Series that the embedded telemetry store knows"),
    _server(
        "forewarn_store_refused_total", "Samples that the embedded telemetry store refused, too old or of too many"
    ),
    _server("forewarn_samples_waiting", "Samples that wait to be stored, because the telemetry store fails"),
    _server(
        "forewarn_samples_lost_total", "Samples that were given up, because the telemetry store failed for too long"
    ),
    _server("forewarn_ingest_bodies_total", "Bodies of agents and Prometheis that were taken"),
    _server("forewarn_ingest_samples_total", "Samples of agents and Prometheis that were taken"),
    _server("forewarn_ingest_events_total", "Events of agents that were taken"),
    _server("forewarn_ingest_refused_total", "Bodies that were refused, by the code of the answer", "code"),
    _server("forewarn_alerts_active", "Alerts that are on", "alertname"),
    _server("forewarn_alerts_sent_total", "Alerts and messages that a receiver took", "receiver"),
    _server("forewarn_alerts_failed_total", "Times that a receiver took nothing", "receiver"),
    _server("forewarn_alerts_dropped_total", "Alerts and messages that a limit kept from a receiver", "receiver"),
    _server("forewarn_events_streams", "Open streams of server-sent events"),
    _server("forewarn_events_streams_dropped_total", "Streams of events that were dropped because they were slow"),
    _server("forewarn_events_streams_refused_total", "Streams of events that were refused because there were too many"),
    OwnMetric(
        "forewarn_sample",
        "A component's value that reached Forewarn and not the site's database, kept there",
        ("component", "metric", "weight", "revision", "until_marked"),
        (STORE,),
    ),
    OwnMetric(
        "forewarn_device_info",
        "Where a component sat, kept in the site's database beside its values",
        ("component", "kind", "host", "device", "model"),
        (STORE,),
    ),
)
OWN_BY_NAME: Mapping[str, OwnMetric] = {metric.name: metric for metric in OWN_METRICS}
