"""CPU: time by mode, clock, and thermal throttling. Temperatures are hwmon's and come from `power.py`.

Names and labels are node_exporter's (collectors `cpu` and `cpufreq`). Throttle counters exist on Intel only; a machine
without cpufreq (most VMs) has no clock to report, and none is made up.
"""

from collections.abc import Iterator
from pathlib import Path

from forewarn.collect.tree import Tree, parse_number
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


def read_throttles(tree: Tree) -> Iterator[Sample]:
    """How often each core and each package was throttled; threads of one core share a counter, which counts once."""
    seen: set[tuple[str, ...]] = set()
    for cpu in tree.numbered(CPUS, "cpu"):
        package = tree.words(f"{CPUS}/{cpu}/topology/physical_package_id")
        core = tree.words(f"{CPUS}/{cpu}/topology/core_id")
        for level, place in (("core", (package, core)), ("package", (package,))):
            if not all(place) or place in seen:
                continue
            count = tree.number(f"{CPUS}/{cpu}/thermal_throttle/{level}_throttle_count")
            if count is not None:
                seen.add(place)
                labels = dict(zip(("package", "core"), place, strict=False))
                yield Sample(f"node_cpu_{level}_throttles_total", labels, count)


class CpuCollector:
    """What the CPUs of this host do."""

    name = "cpu"

    def __init__(self, root: Path = Path("/")) -> None:
        self._tree = Tree(root)

    def collect(self) -> Iterator[Sample]:
        """Read every CPU once; raises SourceAbsent where there is nothing to read."""
        text = self._tree.text("proc/stat")
        times = list(parse_stat(text or ""))
        frequencies = list(read_frequencies(self._tree))
        throttles = list(read_throttles(self._tree))
        yield from (*times, *frequencies, *throttles)
        yield from self._tree.report(
            self.name, (("stat", bool(times)), ("cpufreq", bool(frequencies)), ("thermal_throttle", bool(throttles)))
        )
        if not (times or frequencies or throttles):
            raise SourceAbsent("no CPU telemetry: /proc/stat is absent, refused or empty, and so is sysfs")
