"""Power and heat: the board's sensors (hwmon), energy used (RAPL), power supplies, and thermal zones.

Names, labels and the naming of chips are node_exporter's (collectors `hwmon`, `rapl`, `powersupplyclass`,
`thermal_zone`). CPU temperatures are here too, as hwmon's chips `coretemp` and `k10temp`. What only a BMC knows is not.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from forewarn.collect.standing import NumberFile, Standing, kept, numbers
from forewarn.collect.tree import Tree, pattern
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

CHIPS = "sys/class/hwmon"
ZONES = "sys/class/thermal"
RAPL = "sys/class/powercap"
SUPPLIES = "sys/class/power_supply"

SENSOR_FILE = re.compile(r"(in|cpu|fan|pwm|temp|curr|power|energy|humidity|intrusion|freq|vrm)(\d+)(?:_(\w+))?")
# Sensor kinds whose every element has one unit: suffix of the name, and factor from the kernel's unit.
HWMON_UNITS: dict[str, tuple[str, float]] = {
    "in": ("_volts", 1e-3),
    "cpu": ("_volts", 1e-3),
    "temp": ("_celsius", 1e-3),
    "curr": ("_amps", 1e-3),
    "energy": ("_joule_total", 1e-6),
    "power": ("_watt", 1e-6),
    "humidity": ("", 1e-6),
}
# Elements that differ from their kind.
HWMON_ELEMENTS: dict[tuple[str, str], tuple[str, float]] = {
    ("temp", "type"): ("", 1.0),
    ("power", "accuracy"): ("", 1e-6),
    ("power", "average_interval"): ("_seconds", 1e-3),
    ("power", "average_interval_min"): ("_seconds", 1e-3),
    ("power", "average_interval_max"): ("_seconds", 1e-3),
    ("fan", "input"): ("_rpm", 1.0),
    ("fan", "min"): ("_rpm", 1.0),
    ("fan", "max"): ("_rpm", 1.0),
    ("fan", "target"): ("_rpm", 1.0),
    ("freq", "input"): ("_freq_mhz", 1e-6),
}
# Elements that a chip or its firmware sets once.
HWMON_LIMITS = frozenset(
    f"{limit}{more}"
    for limit in ("min", "max", "lcrit", "crit", "emergency", "rated_min", "rated_max")
    for more in ("", "_hyst")
) | {"type", "accuracy"}
MICRO = 1e-6
SUPPLY_NUMBERS: tuple[tuple[str, str, float], ...] = (
    ("capacity", "capacity", 1.0),
    ("cycle_count", "cyclecount", 1.0),
    ("online", "online", 1.0),
    ("present", "present", 1.0),
    ("current_now", "current_ampere", MICRO),
    ("current_max", "current_max", MICRO),
    ("charge_now", "charge_ampere", MICRO),
    ("charge_full", "charge_full", MICRO),
    ("charge_full_design", "charge_full_design", MICRO),
    ("energy_now", "energy_watthour", MICRO),
    ("energy_full", "energy_full", MICRO),
    ("energy_full_design", "energy_full_design", MICRO),
    ("power_now", "power_watt", MICRO),
    ("voltage_now", "voltage_volt", MICRO),
    ("voltage_min_design", "voltage_min_design", MICRO),
    ("temp", "temp_celsius", 0.1),
)
SUPPLY_WORDS = (
    "capacity_level",
    "health",
    "manufacturer",
    "model_name",
    "serial_number",
    "status",
    "technology",
    "type",
)


def clean_name(text: str) -> str:
    """A name as node_exporter writes it into the labels `chip` and `sensor`.

    >>> clean_name("coretemp.0"), clean_name("0000:00:18.3")
    ('coretemp_0', '0000:00:18_3')
    """
    return re.sub(r"[^a-z0-9:_]", "_", text.lower()).strip("_")


def hwmon_name(kind: str, element: str) -> tuple[str, float]:
    """The metric of one element of a sensor and the factor to its unit.

    >>> hwmon_name("temp", "input"), hwmon_name("in", "alarm")
    (('node_hwmon_temp_celsius', 0.001), ('node_hwmon_in_alarm', 1.0))
    """
    name = f"node_hwmon_{kind}" + (f"_{clean_name(element)}" if element not in ("", "input") else "")
    if element in ("fault", "alarm"):
        return name, 1.0
    if element == "beep":
        return f"{name}_enabled", 1.0
    suffix, factor = HWMON_ELEMENTS.get((kind, element)) or HWMON_UNITS.get(kind, ("", 1.0))
    return name + suffix, factor


@dataclass(frozen=True)
class PowerSettings:
    """Which sensors of the board are read.

    Sensors ask no privilege; counters of energy (RAPL) are root's, or of who has CAP_DAC_READ_SEARCH.
    """

    chips_ignored: str = ""
    """Regular expression over whole names of hwmon's chips, as the label `chip` has them: these are not read. For chips
    whose bus is slow or broken; a sensor that hangs is given up by `collector_timeout_s` as well."""


def read_chips(tree: Tree, ignored: re.Pattern[str]) -> tuple[tuple[Sample, ...], tuple[NumberFile, ...]]:
    """What chips and their sensors are called, with their limits, and the files in which they measure.

    Chips whose name is `ignored` are left alone.
    """
    lasting: list[Sample] = []
    measured: list[NumberFile] = []
    folders = [f"{CHIPS}/{entry}" for entry in tree.names(CHIPS)]
    devices = {folder: _device(tree, folder) for folder in folders}
    chips_of = Counter(devices.values())
    for folder in folders:
        device, name = devices[folder], tree.words(f"{folder}/name")
        chip = device or clean_name(name) or clean_name(folder.rpartition("/")[2])
        if device and name and chips_of[device] > 1:  # several chips on one device
            chip = f"{device}_{clean_name(name)}"
        if ignored.fullmatch(chip):
            continue
        if name:
            lasting.append(Sample("node_hwmon_chip_names", {"chip": chip, "chip_name": clean_name(name)}, 1.0))
        labels, limits, values = _sensors(tree, folder, chip)
        said, silent = kept(tree, limits)
        lasting += (*labels, *said)
        measured += (*values, *silent)
    return tuple(lasting), tuple(measured)


def _device(tree: Tree, folder: str) -> str:
    """The chip's stable name: its bus and address, as `platform_coretemp_0`; hwmon's numbers depend on load order."""
    link = tree.path(f"{folder}/device")
    if not link.exists():
        return ""
    place = link.resolve()
    return "_".join(filter(None, (clean_name(place.parent.name), clean_name(place.name))))


def _sensors(tree: Tree, folder: str, chip: str) -> tuple[list[Sample], list[NumberFile], list[NumberFile]]:
    """The labels of one chip's sensors, the files of their limits, and those that measure."""
    labels: list[Sample] = []
    limits: list[NumberFile] = []
    values: list[NumberFile] = []
    for file in tree.names(folder):
        match = SENSOR_FILE.fullmatch(file)
        if match is None:
            continue
        kind, number, element = match[1], match[2], match[3] or ""
        label = tree.words(f"{folder}/{kind}{number}_label") if element == "label" or kind == "freq" else ""
        sensor = clean_name(label) if kind == "freq" and label else f"{kind}{number}"
        if element == "label":
            if label:
                labels.append(Sample("node_hwmon_sensor_label", {"chip": chip, "label": label, "sensor": sensor}, 1.0))
            continue
        name, factor = hwmon_name(kind, element)
        found = NumberFile(f"{folder}/{file}", name, {"chip": chip, "sensor": sensor}, factor)
        (limits if element in HWMON_LIMITS else values).append(found)
    return labels, limits, values


class Chips:
    """The sensors of the board."""

    def __init__(self, tree: Tree, ignored: re.Pattern[str]) -> None:
        self._tree, self._ignored = tree, ignored
        self._layout = Standing[tuple[tuple[Sample, ...], tuple[NumberFile, ...]]]()

    def samples(self) -> Iterator[Sample]:
        """Every sensor of every chip."""
        stamp = tuple(self._tree.stamp(f"{CHIPS}/{entry}") for entry in self._tree.names(CHIPS))
        lasting, measured = self._layout.at(stamp, lambda: read_chips(self._tree, self._ignored))
        yield from lasting
        yield from numbers(self._tree, measured)


def read_rapl(tree: Tree) -> Iterator[Sample]:
    """The energy counter of every RAPL zone. It wraps; most kernels let only root read it."""
    seen: Counter[str] = Counter()
    for zone in tree.names(RAPL, "intel-rapl:"):
        name, _, index = tree.words(f"{RAPL}/{zone}/name").rpartition("-")
        if not (name and index.isdecimal()):
            name = tree.words(f"{RAPL}/{zone}/name")
            index = str(seen[name])
        seen[name] += 1
        energy = tree.number(f"{RAPL}/{zone}/energy_uj")
        if name and energy is not None:
            labels = {"index": index, "path": f"/{RAPL}/{zone}"}
            yield Sample(f"node_rapl_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}_joules_total", labels, energy * MICRO)


def read_supplies(tree: Tree) -> Iterator[Sample]:
    """Every power supply and battery that the kernel knows. Servers' supplies mostly show only through their BMC."""
    for supply in tree.names(SUPPLIES):
        folder, labels = f"{SUPPLIES}/{supply}", {"power_supply": supply}
        words = {word: text for word in SUPPLY_WORDS if (text := tree.words(f"{folder}/{word}"))}
        if not words:
            continue
        yield Sample("node_power_supply_info", {**labels, **words}, 1.0)
        for file, name, factor in SUPPLY_NUMBERS:
            value = tree.number(f"{folder}/{file}")
            if value is not None:
                yield Sample(f"node_power_supply_{name}", labels, value * factor)


def read_thermal(tree: Tree) -> Iterator[Sample]:
    """The temperature of every thermal zone, and how hard every cooling device works."""
    for zone in tree.numbered(ZONES, "thermal_zone"):
        celsius = tree.number(f"{ZONES}/{zone}/temp")
        if celsius is not None:
            labels = {"type": tree.words(f"{ZONES}/{zone}/type"), "zone": zone.removeprefix("thermal_zone")}
            yield Sample("node_thermal_zone_temp", labels, celsius * 1e-3)
    for device in tree.numbered(ZONES, "cooling_device"):
        labels = {"name": device.removeprefix("cooling_device"), "type": tree.words(f"{ZONES}/{device}/type")}
        for state in ("cur_state", "max_state"):
            value = tree.number(f"{ZONES}/{device}/{state}")
            if value is not None:
                yield Sample(f"node_cooling_device_{state}", labels, value)


class PowerCollector:
    """What power and heat this host feels."""

    name = "power"

    def __init__(self, root: Path = Path("/"), settings: PowerSettings | None = None) -> None:
        """Raises ConfigurationError for a setting that is no regular expression."""
        self._tree = tree = Tree(root)
        ignored = pattern("agent.power.chips_ignored", (settings or PowerSettings()).chips_ignored)
        self._sources: Mapping[str, Callable[[], Iterator[Sample]]] = {
            "hwmon": Chips(tree, ignored).samples,
            "rapl": lambda: read_rapl(tree),
            "power_supply": lambda: read_supplies(tree),
            "thermal": lambda: read_thermal(tree),
        }

    def collect(self) -> Iterator[Sample]:
        """Read every sensor once; raises SourceAbsent where there is none at all, as in most VMs."""
        found = {source: list(read()) for source, read in self._sources.items()}
        for samples in found.values():
            yield from samples
        yield from self._tree.report(self.name, [(source, bool(samples)) for source, samples in found.items()])
        if not any(found.values()):
            raise SourceAbsent("no hwmon, RAPL, power_supply or thermal sensor can be read")
