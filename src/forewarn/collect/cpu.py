"""CPU: time by mode, clock, thermal throttling, and machine checks. Temperatures are hwmon's and come from `power.py`.

Names and labels are node_exporter's (collectors `cpu`, `cpufreq` and `interrupts`, of the latter only what tells of ill
hardware). Throttle counters exist on Intel only; a machine without cpufreq (most VMs) has no clock to report, and none
is made up. Nothing here needs a privilege.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from forewarn.collect.standing import NumberFile, Standing, kept, numbers
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
BOUNDS = ("cpuinfo_min_freq", "cpuinfo_max_freq")  # what the CPU is made for
KILO, MILLI = 1e3, 1e-3
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
            yield Sample(name, _labels(cpu, mode), value)


@lru_cache(8192)  # ten modes of some hundred CPUs
def _labels(cpu: str, mode: str) -> Mapping[str, str]:
    return {"cpu": cpu, "mode": mode}


@dataclass(frozen=True, slots=True)
class Layout:
    """Which files the CPUs have, and what in them does not change.

    Threads of one core share its throttle counter, cores of one package theirs: of each place stand the files of all
    its CPUs, in their order, and the first that can be read counts.
    """

    bounds: tuple[Sample, ...]
    clocks: tuple[NumberFile, ...]
    throttles: tuple[tuple[tuple[NumberFile, ...], ...], ...]
    switches: tuple[NumberFile, ...]

    def frequencies(self, tree: Tree) -> Iterator[Sample]:
        """The clock of each CPU and its bounds."""
        yield from self.bounds
        yield from numbers(tree, self.clocks)

    def throttled(self, tree: Tree) -> Iterator[Sample]:
        """How often, and for how long, each core and each package was throttled."""
        for shared in self.throttles:
            found = (list(numbers(tree, files)) for files in shared)
            yield from next(filter(None, found), ())

    def online(self, tree: Tree) -> Iterator[Sample]:
        """Which CPUs run; one that was taken offline after errors does not."""
        return numbers(tree, self.switches)


def read_layout(tree: Tree, cpus: Sequence[str]) -> Layout:
    """The files of these CPUs, such as `cpu0`."""
    bounds: list[Sample] = []
    clocks: list[NumberFile] = []
    throttles: dict[tuple[str, ...], list[tuple[NumberFile, ...]]] = {}
    switches = []
    for cpu in cpus:
        folder, labels = f"{CPUS}/{cpu}", {"cpu": cpu.removeprefix("cpu")}
        there = set(tree.names(f"{folder}/cpufreq"))
        files = {file: NumberFile(f"{folder}/cpufreq/{file}", name, labels, KILO) for file, name in FREQUENCIES}
        said, silent = kept(tree, (files[file] for file in BOUNDS if file in there))
        bounds += said
        clocks += (*silent, *(found for file, found in files.items() if file in there and file not in BOUNDS))
        for place, counters in _throttles(tree, folder):
            throttles.setdefault(place, []).append(counters)
        if tree.has(f"{folder}/online"):
            switches.append(NumberFile(f"{folder}/online", "node_cpu_online", labels))
    return Layout(tuple(bounds), tuple(clocks), tuple(map(tuple, throttles.values())), tuple(switches))


def _throttles(tree: Tree, cpu: str) -> Iterator[tuple[tuple[str, ...], tuple[NumberFile, ...]]]:
    """The place of each throttle counter of a CPU, its package or its core, and the files that count there."""
    there = set(tree.names(f"{cpu}/thermal_throttle"))
    package = tree.words(f"{cpu}/topology/physical_package_id") if there else ""
    core = tree.words(f"{cpu}/topology/core_id") if there else ""
    for level, place in (("core", (package, core)), ("package", (package,))):
        if not all(place) or f"{level}_throttle_count" not in there:
            continue
        labels = dict(zip(("package", "core"), place, strict=False))
        stem = f"{cpu}/thermal_throttle/{level}_throttle"
        files = [NumberFile(f"{stem}_count", f"node_cpu_{level}_throttles_total", labels)]
        if f"{level}_throttle_total_time_ms" in there:
            files.append(NumberFile(f"{stem}_total_time_ms", THROTTLED[level], labels, MILLI))
        yield place, tuple(files)


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


class CpuCollector:
    """What the CPUs of this host do."""

    name = "cpu"

    def __init__(self, root: Path = Path("/"), settings: CpuSettings | None = None) -> None:
        self._tree, self._settings = Tree(root), settings or CpuSettings()
        self._info: tuple[Sample, ...] = ()
        self._layout = Standing[Layout]()

    def collect(self) -> Iterator[Sample]:
        """Read every CPU once; raises SourceAbsent where there is nothing to read."""
        tree = self._tree
        cpus = tree.numbered(CPUS, "cpu")
        layout = self._layout.at((cpus, tree.words(f"{CPUS}/online")), lambda: self._read_layout(cpus))
        times = list(parse_stat(tree.text("proc/stat") or ""))
        frequencies, throttles = list(layout.frequencies(tree)), list(layout.throttled(tree))
        alarms = list(parse_interrupts(tree.words("proc/interrupts")))
        if not self._info:  # once: reading it makes each core tell its clock
            self._info = tuple(parse_cpuinfo(tree.words("proc/cpuinfo")))
        yield from (*times, *frequencies, *throttles, *alarms, *layout.online(tree), *self._info)
        found = (("stat", times), ("cpufreq", frequencies), ("thermal_throttle", throttles), ("interrupts", alarms))
        yield from tree.report(self.name, ((source, bool(samples)) for source, samples in found))
        if not (times or frequencies or throttles):
            raise SourceAbsent("no CPU telemetry: /proc/stat is absent, refused or empty, and so is sysfs")

    def _read_layout(self, cpus: Sequence[str]) -> Layout:
        layout = read_layout(self._tree, cpus)
        return layout if self._settings.clocks else replace(layout, bounds=(), clocks=())
