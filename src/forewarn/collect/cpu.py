"""CPU: time by mode, clock, thermal throttling, and machine checks. Temperatures are hwmon's and come from `power.py`.

Names and labels are node_exporter's (collectors `cpu`, `cpufreq` and `interrupts`, of the latter only what tells of ill
hardware). Throttle counters exist on Intel only; a machine without cpufreq (most VMs) has no clock to report, and none
is made up. Nothing here needs a privilege.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forewarn.collect.tree import Tree, label_text, parse_number
from forewarn.domain.telemetry import Sample
from forewarn.errors import SourceAbsent

TICKS_PER_SECOND = 100.0  # USER_HZ: what the kernel shows to programs, whatever it ticks at itself
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
GUEST_MODES = ("user", "nice")
CPUS = "sys/devices/system/cpu"
# The files of cpufreq, in kHz, and what node_exporter calls them.
FREQUENCIES = (
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz"),
    ("scaling_min_freq", "node_cpu_scaling_frequency_min_hertz"),
    ("scaling_max_freq", "node_cpu_scaling_frequency_max_hertz"),
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz"),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz"),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz"),
)
THROTTLED = {
    "core": "forewarn_cpu_core_throttled_seconds_total",
    "package": "forewarn_cpu_package_throttled_seconds_total",
}
# Interrupts by which a CPU tells that something is wrong: machine checks (fatal, deferred, of corrected errors beyond a
# threshold) and heat.
ALARMS = ("MCE", "DFR", "THR", "TRM")
# What /proc/cpuinfo calls it on x86, and node_exporter.
CPU_WORDS = (
    ("vendor_id", "vendor"),
    ("cpu family", "family"),
    ("model", "model"),
    ("model name", "model_name"),
    ("microcode", "microcode"),
    ("stepping", "stepping"),
    ("cache size", "cachesize"),
    ("physical id", "package"),
    ("core id", "core"),
)


@dataclass(frozen=True)
class CpuSettings:
    """What is read of the CPUs; `/proc` and `/sys` ask no privilege."""

    clocks: bool = True
    """Whether the clock of each core is read. Each reading wakes the core that it asks, which hosts that sell whole
    cores may not want."""


def parse_stat(text: str) -> Iterator[Sample]:
    """The time that each CPU spent in each mode, from `/proc/stat`. Lines that are cut short give what they hold."""
    for line in text.splitlines():
        name, *fields = line.split() or [""]
        cpu = name.removeprefix("cpu")
        if cpu == name or not cpu.isdecimal():
            continue
        seconds = [None if ticks is None else ticks / TICKS_PER_SECOND for ticks in map(parse_number, fields)]
        yield from _by_mode("node_cpu_seconds_total", cpu, MODES, seconds)
        yield from _by_mode("node_cpu_guest_seconds_total", cpu, GUEST_MODES, seconds[len(MODES) :])


def _by_mode(name: str, cpu: str, modes: tuple[str, ...], seconds: list[float | None]) -> Iterator[Sample]:
    for mode, value in zip(modes, seconds, strict=False):
        if value is not None:
            yield Sample(name, {"cpu": cpu, "mode": mode}, value)


def read_frequencies(tree: Tree) -> Iterator[Sample]:
    """The clock of each CPU and its bounds."""
    for cpu in tree.numbered(CPUS, "cpu"):
        for file, name in FREQUENCIES:
            kilohertz = tree.number(f"{CPUS}/{cpu}/cpufreq/{file}")
            if kilohertz is not None:
                yield Sample(name, {"cpu": cpu.removeprefix("cpu")}, kilohertz * 1000.0)


def read_place(tree: Tree, cpu: str) -> tuple[str, str]:
    """The package and the core of a CPU, which do not change while it is there; empty where they are not told."""
    folder = f"{CPUS}/{cpu}/topology"
    return tree.words(f"{folder}/physical_package_id"), tree.words(f"{folder}/core_id")


def read_throttles(tree: Tree, places: dict[str, tuple[str, str]]) -> Iterator[Sample]:
    """How often each core and each package was throttled; threads of one core share a counter, which counts once.

    `places` remembers the places of CPUs from one round to the next.
    """
    seen: set[tuple[str, ...]] = set()
    for cpu in tree.numbered(CPUS, "cpu"):
        if cpu not in places:
            places[cpu] = read_place(tree, cpu)
        package, core = places[cpu]
        for level, place in (("core", (package, core)), ("package", (package,))):
            if not all(place) or place in seen:
                continue
            count = tree.number(f"{CPUS}/{cpu}/thermal_throttle/{level}_throttle_count")
            if count is not None:
                seen.add(place)
                labels = dict(zip(("package", "core"), place, strict=False))
                yield Sample(f"node_cpu_{level}_throttles_total", labels, count)
                spent_ms = tree.number(f"{CPUS}/{cpu}/thermal_throttle/{level}_throttle_total_time_ms")
                if spent_ms is not None:
                    yield Sample(THROTTLED[level], labels, spent_ms / 1000.0)


def parse_interrupts(text: str) -> Iterator[Sample]:
    r"""The interrupts of `/proc/interrupts` that tell of ill hardware, by CPU.

    >>> [sample.value for sample in parse_interrupts("    CPU0  CPU1\n MCE:  0  2  Machine check exceptions\n")]
    [0.0, 2.0]
    """
    head, *lines = text.splitlines() or [""]
    cpus = [name.removeprefix("CPU") for name in head.split()]
    for line in lines:
        kind, colon, rest = line.partition(":")
        if not colon or kind.strip() not in ALARMS:
            continue
        fields = rest.split(maxsplit=len(cpus))
        info = label_text(fields[len(cpus)]) if len(fields) > len(cpus) else ""
        for cpu, count in zip(cpus, map(parse_number, fields), strict=False):
            if count is not None:
                labels = {"cpu": cpu, "devices": "", "info": info, "type": kind.strip()}
                yield Sample("node_interrupts_total", labels, count)


def parse_cpuinfo(text: str) -> Iterator[Sample]:
    """Which CPU is which core of which package, and what it is, from `/proc/cpuinfo` of x86."""
    for block in text.split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        words = {key.strip(): value.strip() for key, _, value in pairs}
        if "processor" in words and "model name" in words:
            labels = {label: label_text(words.get(word, "")) for word, label in CPU_WORDS}
            yield Sample("node_cpu_info", {"cpu": words["processor"], **labels}, 1.0)


def read_online(tree: Tree) -> Iterator[Sample]:
    """Which CPUs run; one that was taken offline after errors does not."""
    for cpu in tree.numbered(CPUS, "cpu"):
        online = tree.number(f"{CPUS}/{cpu}/online")
        if online is not None:
            yield Sample("node_cpu_online", {"cpu": cpu.removeprefix("cpu")}, online)


class CpuCollector:
    """What the CPUs of this host do."""

    name = "cpu"

    def __init__(self, root: Path = Path("/"), settings: CpuSettings | None = None) -> None:
        self._tree, self._settings = Tree(root), settings or CpuSettings()
        self._info: tuple[Sample, ...] = ()
        self._places: dict[str, tuple[str, str]] = {}

    def collect(self) -> Iterator[Sample]:
        """Read every CPU once; raises SourceAbsent where there is nothing to read."""
        text = self._tree.text("proc/stat")
        times = list(parse_stat(text or ""))
        frequencies = list(read_frequencies(self._tree)) if self._settings.clocks else []
        throttles = list(read_throttles(self._tree, self._places))
        alarms = list(parse_interrupts(self._tree.words("proc/interrupts")))
        online = list(read_online(self._tree))
        if not self._info:  # once: reading it makes each core tell its clock
            self._info = tuple(parse_cpuinfo(self._tree.words("proc/cpuinfo")))
        yield from (*times, *frequencies, *throttles, *alarms, *online, *self._info)
        found = (("stat", times), ("cpufreq", frequencies), ("thermal_throttle", throttles), ("interrupts", alarms))
        yield from self._tree.report(self.name, ((source, bool(samples)) for source, samples in found))
        if not (times or frequencies or throttles):
            raise SourceAbsent("no CPU telemetry: /proc/stat is absent, refused or empty, and so is sysfs")
