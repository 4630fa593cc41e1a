"""What healthy hardware shows: each part's quantities, how they behave, and the exporters' series that carry them.

A quantity (`Signal`) is named by a key of the metric catalogue and drives one or more series: eight cores add up to one
busy time, the hottest of nine sensors is the CPU's temperature. How parts wear out stands in `faults`; the arithmetic
over all parts at once in `fleet`.
"""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from forewarn.domain.inventory import Component, Host, Kind
from forewarn.domain.telemetry import Sample

CORES = 8
TERABYTE = 10**12
HOUR_S = 3600.0
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Shape:
    """How a healthy quantity behaves. Of a counter, `level`, `load`, `used` and `wobble` are rates per second."""

    level: float = 0.0
    load: float = 0.0  # added where the host's CPUs are fully busy
    used: float = 0.0  # added where the host's memory is all given to VMs
    wobble: float = 0.0  # amplitude of its noise
    start: float = 0.0  # a counter's value in the beginning
    counter: bool = False
    whole: bool = False  # counts things, so only whole numbers show
    boots: bool = False  # the kernel's counter: a reboot sets it to 0


@dataclass(frozen=True, slots=True)
class Series:
    """One line of an exporter's output: the signal's value times `share`, plus `offset`."""

    name: str
    labels: Mapping[str, str]
    share: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True)
class Signal:
    """One quantity of one part, under its key in the metric catalogue."""

    key: str
    shape: Shape
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Drive:
    """What a drive's model says about it: its size, and which ATA attributes its maker reports."""

    bytes: int
    attributes: tuple[int, ...]


_SEAGATE = (5, 9, 10, 12, 187, 188, 189, 197, 198, 199)
_HITACHI = (5, 9, 10, 12, 196, 197, 198, 199)
DRIVES: Mapping[str, Drive] = {
    "ST4000DM000": Drive(4 * TERABYTE, _SEAGATE),
    "ST8000DM002": Drive(8 * TERABYTE, _SEAGATE),
    "HGST HMS5C4040BLE640": Drive(4 * TERABYTE, _HITACHI),
    "Hitachi HDS722020ALA330": Drive(2 * TERABYTE, _HITACHI),
    "WDC WD30EFRX": Drive(3 * TERABYTE, _HITACHI),
    "SAMSUNG MZQL21T9HCJR-00A07": Drive(1920 * 10**9, ()),
    "INTEL SSDPE2KX010T8": Drive(TERABYTE, ()),
}
_ATTRIBUTE_NAMES: Mapping[int, str] = {
    5: "Reallocated_Sector_Ct",
    9: "Power_On_Hours",
    10: "Spin_Retry_Count",
    12: "Power_Cycle_Count",
    187: "Reported_Uncorrect",
    188: "Command_Timeout",
    189: "High_Fly_Writes",
    196: "Reallocated_Event_Count",
    197: "Current_Pending_Sector",
    198: "Offline_Uncorrectable",
    199: "UDMA_CRC_Error_Count",
}


def _count(level: float = 0.0, *, load: float = 0.0, start: float = 0.0, boots: bool = True) -> Shape:
    return Shape(level, load=load, start=start, counter=True, whole=True, boots=boots)


def _seconds(level: float = 0.0, *, load: float = 0.0) -> Shape:
    return Shape(level, load=load, counter=True, boots=True)


def _rare(rng: random.Random, share: float, per_day: float) -> Shape:
    """A counter that `share` of parts see move now and then, and the others never."""
    return _count(per_day / DAY_S if rng.random() < share else 0.0)


def _plain(key: str, shape: Shape, name: str, /, **labels: str) -> Signal:
    return Signal(key, shape, (Series(name, labels),))


def _cpu(rng: random.Random, _: Component) -> Iterator[Signal]:
    cores = [str(core) for core in range(CORES)]
    modes = (("user", 0.74), ("system", 0.21), ("softirq", 0.05))
    busy = [
        Series("node_cpu_seconds_total", {"cpu": core, "mode": mode}, share / CORES)
        for core in cores
        for mode, share in modes
    ]
    idle = [
        Series("node_cpu_seconds_total", {"cpu": core, "mode": mode}, share / CORES)
        for core in cores
        for mode, share in (("idle", 0.98), ("iowait", 0.02))
    ]
    heat = [
        Series(
            "node_hwmon_temp_celsius",
            {"chip": "platform_coretemp_0", "sensor": f"temp{number + 1}"},
            offset=-float(number % 4),
        )
        for number in range(CORES + 1)
    ]
    clock = [
        Series("node_cpu_scaling_frequency_hertz", {"cpu": core}, 1 + 0.002 * number)
        for number, core in enumerate(cores)
    ]
    throttles = [
        Series("node_cpu_core_throttles_total", {"core": core, "package": "0"}, float(core == "0")) for core in cores
    ]
    warmth = rng.uniform(-3, 3)
    yield Signal("cpu_busy_seconds", _seconds(0.1, load=CORES - 0.2), tuple(busy))
    yield Signal("cpu_idle_seconds", _seconds(CORES - 0.1, load=0.2 - CORES), tuple(idle))
    yield Signal("cpu_temperature", Shape(41.0 + warmth, load=22.0, wobble=1.2), tuple(heat))
    yield Signal("cpu_frequency", Shape(2.9e9, load=-1e8, wobble=2e7), tuple(clock))
    yield Signal("cpu_core_throttles", _count(), tuple(throttles))
    yield _plain("cpu_package_throttles", _count(), "node_cpu_package_throttles_total", package="0")


def _dimm(rng: random.Random, part: Component) -> Iterator[Signal]:
    channel = ord(part.device[-2]) - ord("A")
    labels = {
        "controller": str(channel // 4),
        "csrow": "0",
        "channel": str(channel % 4),
        "dimm_label": part.device,
    }
    corrected = _rare(rng, share=0.04, per_day=0.1)
    yield _plain("dimm_corrected", corrected, "node_edac_channel_correctable_errors_total", **labels)
    yield _plain("dimm_uncorrected", _count(), "node_edac_channel_uncorrectable_errors_total", **labels)


def _attribute_start(rng: random.Random, attribute: int, age_hours: float) -> float:
    """What a healthy drive has gathered: hours, power cycles, and on a few drives some old reallocated sectors."""
    match attribute:
        case 9:
            return age_hours
        case 12:
            return float(rng.randint(4, 40))
        case 5 | 196:
            return float(rng.choice((8, 8, 16, 24))) if rng.random() < 0.06 else 0.0
        case 189:
            return float(rng.randint(1, 6)) if rng.random() < 0.3 else 0.0
        case _:
            return 0.0


def _ata(rng: random.Random, part: Component, age_hours: float) -> Iterator[Signal]:
    for attribute in DRIVES[part.model].attributes:
        labels = {
            "attribute_id": str(attribute),
            "attribute_name": _ATTRIBUTE_NAMES[attribute],
            "attribute_value_type": "raw",
        }
        rate = 1 / HOUR_S if attribute == 9 else 0.0
        shape = _count(rate, start=_attribute_start(rng, attribute, age_hours), boots=False)
        yield _plain(f"smart_{attribute}", shape, "smartctl_device_attribute", device=part.device, **labels)


def _nvme(rng: random.Random, part: Component, age_hours: float) -> Iterator[Signal]:
    worn = round(age_hours / 60000 * 100 * rng.uniform(0.3, 1.0))
    for key, value in (("percentage_used", worn), ("available_spare", 100), ("critical_warning", 0)):
        yield _plain(f"nvme_{key}", Shape(value, whole=True), f"smartctl_device_{key}", device=part.device)
    errors = _count(boots=False)
    yield _plain("nvme_media_errors", errors, "smartctl_device_media_errors", device=part.device)


def _disk(rng: random.Random, part: Component) -> Iterator[Signal]:
    device, drive, age_hours = part.device, DRIVES[part.model], rng.uniform(4000, 30000)
    block = block_device(device)
    yield from (_ata if drive.attributes else _nvme)(rng, part, age_hours)
    warmth = rng.uniform(-3, 3)
    on = Shape(1.0, start=age_hours * HOUR_S, counter=True)
    yield _plain("smart_status", Shape(1.0), "smartctl_device_smart_status", device=device)
    yield Signal(
        "disk_temperature",
        Shape(27.0 + warmth, load=7.0, wobble=0.8, whole=True),
        (Series("smartctl_device_temperature", {"device": device, "temperature_type": "current"}),),
    )
    size = Shape(float(drive.bytes))
    yield _plain("disk_capacity", size, "smartctl_device_capacity_bytes", device=device)
    yield _plain("disk_power_on_seconds", on, "smartctl_device_power_on_seconds", device=device)
    for way, level, load, cost_s in (("read", 6.0, 160.0, 0.004), ("write", 14.0, 240.0, 0.002)):
        operations, spent = _count(level, load=load), _seconds(level * cost_s, load=load * cost_s)
        yield _plain(f"disk_{way}s", operations, f"node_disk_{way}s_completed_total", device=block)
        yield _plain(f"disk_{way}_seconds", spent, f"node_disk_{way}_time_seconds_total", device=block)
    yield _plain("disk_io_errors", _count(), "forewarn_disk_io_errors_total", device=block)


def _nic(rng: random.Random, part: Component) -> Iterator[Signal]:
    for key, name, shape in (
        ("nic_receive_bytes", "receive_bytes_total", _count(4e5, load=1.6e8)),
        ("nic_transmit_bytes", "transmit_bytes_total", _count(3e5, load=1.2e8)),
        ("nic_receive_errors", "receive_errs_total", _rare(rng, share=0.05, per_day=0.1)),
        ("nic_transmit_errors", "transmit_errs_total", _count()),
        ("nic_frame_errors", "receive_frame_total", _count()),
        ("nic_receive_drops", "receive_drop_total", _count(2e-4)),
        ("nic_carrier_changes", "carrier_changes_total", _count(start=2.0)),
        ("nic_up", "up", Shape(1.0, whole=True)),
        ("nic_speed", "speed_bytes", Shape(3.125e9)),
    ):
        yield _plain(key, shape, f"node_network_{name}", device=part.device)


def _psu(rng: random.Random, part: Component) -> Iterator[Signal]:
    output = Shape(12.1 + rng.uniform(-0.05, 0.05), load=-0.06, wobble=0.015)
    for key, name, sensor, shape in (
        ("psu_output_volts", "ipmi_voltage_volts", "Vout", output),
        ("psu_input_volts", "ipmi_voltage_volts", "Vin", Shape(230.0, wobble=1.2)),
        ("psu_amperes", "ipmi_current_amperes", "Iout", Shape(11.0, load=26.0, wobble=0.4)),
        ("psu_temperature", "ipmi_temperature_celsius", "Temp", Shape(31.0, load=9.0, wobble=0.6)),
        ("psu_fan_speed", "ipmi_fan_speed_rpm", "Fan", Shape(6000.0, load=1800.0, wobble=60.0)),
        ("psu_state", "ipmi_sensor_state", "Status", Shape(0.0, whole=True)),
    ):
        yield _plain(key, shape, name, id=str(50 + len(sensor)), name=f"{part.device} {sensor}")


_BY_KIND: Mapping[Kind, Callable[[random.Random, Component], Iterator[Signal]]] = {
    Kind.CPU: _cpu,
    Kind.MEMORY: _dimm,
    Kind.DISK: _disk,
    Kind.NETWORK: _nic,
    Kind.POWER: _psu,
}


def part_signals(rng: random.Random, part: Component) -> tuple[Signal, ...]:
    """What a new or healthy part shows. Parts of one model always show the same quantities in the same order."""
    return tuple(_BY_KIND[part.kind](rng, part))


def host_signals(host: Host) -> tuple[Signal, ...]:
    """What a host shows beside its parts."""
    total = host.memory_bytes * 1.05
    return (
        _plain("memory_total", Shape(total, whole=True), "node_memory_MemTotal_bytes"),
        _plain(
            "memory_available",
            Shape(0.98 * total, used=-0.9 * total, wobble=2e8, whole=True),
            "node_memory_MemAvailable_bytes",
        ),
        _plain("memory_corrupted", Shape(0.0, whole=True), "node_memory_HardwareCorrupted_bytes"),
    )


def block_device(device: str) -> str:
    """What the kernel calls a drive: of an NVMe drive it shows the first namespace."""
    return f"{device}n1" if device.startswith("nvme") else device


def identities(part: Component) -> tuple[Sample, ...]:
    """The info series that tell which part stands behind a device name."""
    serial = part.id.partition(":")[2]
    if part.kind == Kind.DISK:
        known = {"device": part.device, "model_name": part.model, "serial_number": serial}
        kernel = {"device": block_device(part.device), "model": part.model, "serial": serial}
        return (Sample("smartctl_device", known, 1.0), Sample("node_disk_info", kernel, 1.0))
    if part.kind == Kind.NETWORK:
        state = {"adminstate": "up", "duplex": "full", "operstate": "up"}
        return (Sample("node_network_info", {"address": serial, "device": part.device, **state}, 1.0),)
    return ()
