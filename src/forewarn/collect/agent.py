"""The agent: asks every collector, fills in the time, and watches itself. It runs on every host, so it stays light.

One collector is one line of `TABLE`. Whatever a collector raises costs its own samples and nobody else's; the agent
says which collector gave nothing, and why.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from forewarn.clock import Clock, RealClock
from forewarn.collect import exposition
from forewarn.collect.base import Collected, Collector, Event, Round
from forewarn.collect.bmc.collector import BmcCollector
from forewarn.collect.bmc.settings import BmcSettings
from forewarn.collect.changes import ChangesCollector, ChangesSettings
from forewarn.collect.continuity import Continuity, ContinuitySettings
from forewarn.collect.cpu import CpuCollector, CpuSettings
from forewarn.collect.disk import DiskCollector, DiskSettings
from forewarn.collect.kernel_log import KernelLogCollector, KernelLogSettings
from forewarn.collect.lineup import Key, Lineup, key_of
from forewarn.collect.memory import MemoryCollector, MemorySettings
from forewarn.collect.network import NetworkCollector, NetworkSettings
from forewarn.collect.patience import Patience
from forewarn.collect.power import PowerCollector, PowerSettings
from forewarn.collect.rasdaemon import RasdaemonCollector, RasdaemonSettings
from forewarn.collect.redundancy.collector import RedundancyCollector, RedundancySettings
from forewarn.collect.smart import RecordedSmartCollector, SmartCollector, SmartSettings
from forewarn.collect.tree import Tree, label_text
from forewarn.collect.vms import VmsCollector, VmsSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, SourceAbsent

log = logging.getLogger(__name__)

RECORDED_SAMPLES_MAX = 5_000_000

Sink = Callable[[Round], None]


@dataclass(frozen=True)
class AgentSettings:
    """What the agent of one host collects, and how often."""

    collectors: tuple[str, ...] = (
        "cpu",
        "memory",
        "rasdaemon",
        "disk",
        "smart",
        "redundancy",
        "network",
        "power",
        "bmc",
        "kernel_log",
        "changes",
    )
    """Collectors that run, by name; one that finds nothing on this host says so and costs nothing. On a host of libvirt
    add "vms"."""

    interval_s: float = 15.0
    """Seconds between two rounds; the resolution of everything but SMART, which has its own interval."""

    collector_timeout_s: float = 30.0
    """Seconds that a round waits for one collector. One that takes longer, as reads of broken hardware may, is said to
    give nothing; it is not asked again until it comes back, and then its late answer counts."""

    samples_max: int = 50_000
    """Most samples that one collector may give per round; the rest is dropped and named as a problem. A large
    server gives some 5,000."""

    events_max: int = 1000
    """Most events that one collector may give per round; the rest is dropped and named as a problem."""

    root: Path = Path("/")
    """Where `/proc`, `/sys` and `/run` are found; another place than `/` reads the host's from inside a container."""

    folder: Path | None = None
    """Where the agent remembers what it saw last: boot, versions, how far logs were read. Without it changes are not
    noticed, unless the agent pushes: then it remembers them beside what it has not yet sent."""

    continuity: ContinuitySettings = field(default_factory=ContinuitySettings)
    """What is odd from one round to the next."""

    cpu: CpuSettings = field(default_factory=CpuSettings)
    """What is read of the CPUs."""

    memory: MemorySettings = field(default_factory=MemorySettings)
    """How counts of memory errors are taken."""

    power: PowerSettings = field(default_factory=PowerSettings)
    """Which sensors of the board are read."""

    disk: DiskSettings = field(default_factory=DiskSettings)
    """Which block devices are drives."""

    smart: SmartSettings = field(default_factory=SmartSettings)
    """How drives are asked for their own health."""

    redundancy: RedundancySettings = field(default_factory=RedundancySettings)
    """How sets of drives that stand in for each other are read."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Which interfaces are watched."""

    rasdaemon: RasdaemonSettings = field(default_factory=RasdaemonSettings)
    """Where rasdaemon's records are."""

    bmc: BmcSettings = field(default_factory=BmcSettings)
    """The BMC of this host."""

    kernel_log: KernelLogSettings = field(default_factory=KernelLogSettings)
    """How the kernel's log is read."""

    changes: ChangesSettings = field(default_factory=ChangesSettings)
    """Which changes are told."""

    vms: VmsSettings = field(default_factory=VmsSettings)
    """How this host's libvirt is asked about its VMs."""


def _smart(settings: AgentSettings, clock: Clock) -> Collector:
    if settings.smart.recorded is not None:
        return RecordedSmartCollector(settings.smart.recorded, settings.smart.recorded_bytes_max)
    return SmartCollector(clock, settings.smart)


TABLE: Mapping[str, Callable[[AgentSettings, Clock], Collector]] = {
    "cpu": lambda settings, _: CpuCollector(settings.root, settings.cpu),
    "memory": lambda settings, _: MemoryCollector(settings.root, settings.memory),
    "rasdaemon": lambda settings, clock: RasdaemonCollector(settings.root, settings.rasdaemon, settings.folder, clock),
    "disk": lambda settings, _: DiskCollector(settings.root, settings.disk),
    "smart": _smart,
    "redundancy": lambda settings, clock: RedundancyCollector(clock, settings.root, settings.redundancy),
    "network": lambda settings, clock: NetworkCollector(settings.root, settings.network, clock),
    "power": lambda settings, _: PowerCollector(settings.root, settings.power),
    "bmc": lambda settings, clock: BmcCollector(settings.bmc, settings.folder, clock),
    "kernel_log": lambda settings, clock: KernelLogCollector(
        settings.root, settings.kernel_log, settings.folder, clock
    ),
    "changes": lambda settings, clock: ChangesCollector(settings.root, settings.folder, clock, settings.changes),
    "vms": lambda settings, _: VmsCollector(settings.vms),
}


def build_collectors(settings: AgentSettings, clock: Clock | None = None) -> tuple[Collector, ...]:
    """The collectors that the settings name; raises ConfigurationError for an unknown name, RecordingError."""
    unknown = [name for name in settings.collectors if name not in TABLE]
    if unknown:
        raise ConfigurationError(f"unknown collector {unknown[0]!r}: there are {', '.join(TABLE)}")
    return tuple(TABLE[name](settings, clock or RealClock()) for name in settings.collectors)


class Memory:
    """What the agent remembers from one round to the next: the series of each collector, and what is odd about them."""

    def __init__(self, settings: ContinuitySettings) -> None:
        """Raises ConfigurationError for a setting that is no regular expression."""
        self.continuity = Continuity(settings)
        self._repeated: dict[str, Lineup[Mapping[int, str]]] = {}

    def repeated(self, collector: str, samples: Sequence[Sample]) -> Mapping[int, str]:
        """Of a collector's samples the places of those whose series came before, with its name."""
        return self._repeated.setdefault(collector, Lineup(_repeated)).of(samples)


def _repeated(samples: Sequence[Sample]) -> Mapping[int, str]:
    seen: dict[Key, int] = {}
    first = [seen.setdefault(key_of(sample), place) for place, sample in enumerate(samples)]
    return {place: samples[place].name for place, before in enumerate(first) if before != place}


def collect_once(
    collectors: Sequence[Collector],
    clock: Clock,
    settings: AgentSettings | None = None,
    memory: Memory | None = None,
    patience: "Patience[_Answer] | None" = None,
) -> Round:
    """One round: its time, every sample, what the agent tells of the round itself, and events.

    With `memory` the round is compared with those before it; `patience` remembers which collectors hang.
    """
    settings, now = settings or AgentSettings(), clock.now()
    patience = patience or Patience(settings.collector_timeout_s)
    samples = [Sample("forewarn_build_info", {"version": _version()}, 1.0), *_own_process()]
    events: list[Event] = []
    compared: dict[str, Sequence[Sample]] = {}
    known = memory or Memory(settings.continuity)
    for collector in collectors:
        asking = partial(_ask, collector, clock, settings, known)
        given = patience.ask(collector.name, asking) or _hangs(collector, settings)
        samples += (*given.samples, *given.told)
        events += given.events
        if not given.failed:
            compared[collector.name] = given.samples
    if memory is not None:
        samples += memory.continuity.look(compared, clock.monotonic())
    return Round(tuple(samples), tuple(events), now)


@cache
def _version() -> str:
    try:
        return version("forewarn")
    except PackageNotFoundError:  # run from a folder of sources
        return "unknown"


def _own_process() -> Iterator[Sample]:
    """What the agent itself costs. Read here, because psutil alone would add 8 MiB to what it reports."""
    times = os.times()
    yield Sample("process_cpu_seconds_total", {}, times.user + times.system)
    pages = (Tree(Path("/")).words("proc/self/statm").split() or [""])[1:2]
    if pages:
        yield Sample("process_resident_memory_bytes", {}, float(pages[0]) * os.sysconf("SC_PAGE_SIZE"))


class _Answer:
    """What one collector has given in a round, within its limits, and what is told of it."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self.events: list[Event] = []
        self.told: tuple[Sample, ...] = ()
        self.problem = ""
        self.failed = False

    def take(self, collected: Iterable[Collected], settings: AgentSettings) -> None:
        """What is collected, until there is no room for more. What came before a failure stands."""
        samples, events = self.samples, self.events
        for found in collected:
            if isinstance(found, Sample):
                if len(samples) >= settings.samples_max:
                    self.problem = f"more than {settings.samples_max} samples"
                    return
                samples.append(found)
            elif len(events) >= settings.events_max:
                self.problem = f"more than {settings.events_max} events"
                return
            else:
                events.append(found)

    def drop(self, repeated: Mapping[int, str]) -> None:
        """Leave out the samples at these places, whose series came before."""
        if repeated:
            self.samples = [sample for place, sample in enumerate(self.samples) if place not in repeated]
            self.problem = self.problem or f"two samples of one series, such as {next(iter(repeated.values()))}"


def _ask(collector: Collector, clock: Clock, settings: AgentSettings, known: Memory) -> _Answer:
    """What one collector gives, whether it could be asked, how long it took, and what was the matter."""
    labels, started = {"collector": collector.name}, clock.monotonic()
    answer, up = _Answer(), 1.0
    try:
        answer.take(collector.collect(), settings)
    except SourceAbsent as absent:
        up, answer.problem = 0.0, label_text(str(absent))
    except Exception as failure:
        log.debug("collector %s failed", collector.name, exc_info=True)
        up, answer.problem = 0.0, label_text(f"{type(failure).__name__}: {failure}")
        answer.failed = True
    answer.drop(known.repeated(collector.name, answer.samples))
    answer.told = (
        Sample("forewarn_collector_up", labels, up),
        Sample("forewarn_collector_duration_seconds", labels, clock.monotonic() - started),
        *([Sample("forewarn_collector_problem", {**labels, "why": answer.problem}, 1.0)] if answer.problem else ()),
    )
    return answer


def _hangs(collector: Collector, settings: AgentSettings) -> _Answer:
    """The answer of a collector that has not come back."""
    labels, answer = {"collector": collector.name}, _Answer()
    answer.failed, why = True, f"no answer within {settings.collector_timeout_s:g} s"
    answer.told = (
        Sample("forewarn_collector_up", labels, 0.0),
        Sample("forewarn_collector_problem", {**labels, "why": why}, 1.0),
    )
    return answer


def once(settings: AgentSettings, clock: Clock | None = None) -> str:
    """One round as exposition text, as `forewarn agent --once` prints it. Changes are not noticed: nobody is told."""
    clock, settings = clock or RealClock(), replace(settings, folder=None)
    if settings.smart.recorded is not None:  # a folder may hold the drives of a whole site
        settings = replace(settings, samples_max=max(settings.samples_max, RECORDED_SAMPLES_MAX))
    return exposition.write(collect_once(build_collectors(settings, clock), clock, settings).samples)


class Agent:
    """Collects round after round and hands each to `sink`; logs where a collector's trouble begins or ends.

    `round` may be called from another thread, for whoever scrapes: rounds never overlap.
    """

    def __init__(self, collectors: Sequence[Collector], sink: Sink, clock: Clock, settings: AgentSettings) -> None:
        self._collectors = collectors
        self._sink = sink
        self._clock = clock
        self._settings = settings
        self._memory = Memory(settings.continuity)
        self._patience: Patience[_Answer] = Patience(settings.collector_timeout_s)
        self._problems: dict[str, str] = {}
        self._collecting = threading.Lock()

    def round(self) -> Round:
        """One round, once another that goes on has ended."""
        with self._collecting:
            return collect_once(self._collectors, self._clock, self._settings, self._memory, self._patience)

    def run(self, stop: Callable[[], bool]) -> None:
        """Until `stop` says so: rounds at a fixed beat; a round that takes longer than the interval delays the next."""
        due = self._clock.monotonic()
        while not stop():
            self._hand_on(self.round())  # and keep nothing of it while waiting: a round is a megabyte
            now = self._clock.monotonic()
            due = max(due + self._settings.interval_s, now)
            self._clock.sleep(due - now)

    def _hand_on(self, found: Round) -> None:
        self._tell_problems(found.samples)
        self._sink(found)

    def _tell_problems(self, samples: Sequence[Sample]) -> None:
        found = [sample.labels for sample in samples if sample.name == "forewarn_collector_problem"]
        problems = {labels["collector"]: labels["why"] for labels in found}
        for collector, why in problems.items():
            if self._problems.get(collector) != why:
                log.warning("collector %s: %s", collector, why)
        for collector in self._problems.keys() - problems.keys():
            log.info("collector %s gives everything again", collector)
        self._problems = problems
