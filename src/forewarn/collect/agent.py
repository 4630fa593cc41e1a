"""The agent: asks every collector, fills in the time, and watches itself. It runs on every host, so it stays light.

One collector is one line of `TABLE`. Whatever a collector raises costs its own samples and nobody else's; the agent
says which collector gave nothing, and why.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from forewarn.clock import Clock, RealClock
from forewarn.collect import exposition
from forewarn.collect.base import Collector
from forewarn.collect.cpu import CpuCollector
from forewarn.collect.disk import DiskCollector, DiskSettings
from forewarn.collect.memory import MemoryCollector
from forewarn.collect.network import NetworkCollector, NetworkSettings
from forewarn.collect.power import PowerCollector
from forewarn.collect.smart import RecordedSmartCollector, SmartCollector, SmartSettings
from forewarn.domain.telemetry import Sample
from forewarn.errors import ConfigurationError, SourceAbsent

log = logging.getLogger(__name__)

Sink = Callable[[Sequence[Sample]], None]


@dataclass(frozen=True)
class AgentSettings:
    """What the agent of one host collects, and how often."""

    collectors: tuple[str, ...] = ("cpu", "memory", "disk", "smart", "network", "power")
    """Collectors that run, by name; one that finds nothing on this host says so and costs nothing."""

    interval_s: float = 15.0
    """Seconds between two rounds; the resolution of everything but SMART, which has its own interval."""

    samples_max: int = 50_000
    """Most samples that one collector may give per round; the rest is dropped and named as a problem. A large
    server gives some 5,000."""

    root: Path = Path("/")
    """Where `/proc`, `/sys` and `/run` are found; another place than `/` reads the host's from inside a container."""

    disk: DiskSettings = field(default_factory=DiskSettings)
    """Which block devices are drives."""

    smart: SmartSettings = field(default_factory=SmartSettings)
    """How drives are asked for their own health."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    """Which interfaces are watched."""


def _smart(settings: AgentSettings, clock: Clock) -> Collector:
    if settings.smart.recorded is not None:
        return RecordedSmartCollector(settings.smart.recorded, settings.smart.recorded_bytes_max)
    return SmartCollector(clock, settings.smart)


TABLE: Mapping[str, Callable[[AgentSettings, Clock], Collector]] = {
    "cpu": lambda settings, _: CpuCollector(settings.root),
    "memory": lambda settings, _: MemoryCollector(settings.root),
    "disk": lambda settings, _: DiskCollector(settings.root, settings.disk),
    "smart": _smart,
    "network": lambda settings, _: NetworkCollector(settings.root, settings.network),
    "power": lambda settings, _: PowerCollector(settings.root),
}


def build_collectors(settings: AgentSettings, clock: Clock | None = None) -> tuple[Collector, ...]:
    """The collectors that the settings name; raises ConfigurationError for an unknown name, RecordingError."""
    unknown = [name for name in settings.collectors if name not in TABLE]
    if unknown:
        raise ConfigurationError(f"unknown collector {unknown[0]!r}: there are {', '.join(TABLE)}")
    return tuple(TABLE[name](settings, clock or RealClock()) for name in settings.collectors)


def collect_once(
    collectors: Sequence[Collector], clock: Clock, samples_max: int = AgentSettings.samples_max
) -> list[Sample]:
    """One round: every sample with its time, and what the agent tells of the round itself."""
    now = clock.now()
    samples = [Sample("forewarn_build_info", {"version": _version()}, 1.0)]
    for collector in collectors:
        samples += _ask(collector, clock, samples_max)
    return [sample if sample.time else replace(sample, time=now) for sample in samples]


@cache
def _version() -> str:
    try:
        return version("forewarn")
    except PackageNotFoundError:  # run from a folder of sources
        return "unknown"


def _ask(collector: Collector, clock: Clock, samples_max: int) -> Iterator[Sample]:
    """One collector's samples, whether it could be asked, how long it took, and what was the matter."""
    labels, started = {"collector": collector.name}, clock.monotonic()
    collected: list[Sample] = []
    up, problem = 1.0, ""
    try:
        for sample in collector.collect():
            if len(collected) >= samples_max:
                problem = f"more than {samples_max} samples"
                break
            if isinstance(sample, Sample):
                collected.append(sample)
    except SourceAbsent as absent:
        up, problem = 0.0, str(absent)
    except Exception as failure:
        log.exception("collector %s failed", collector.name)
        up, problem = 0.0, f"{type(failure).__name__}: {failure}"
    yield from collected
    yield Sample("forewarn_collector_up", labels, up)
    yield Sample("forewarn_collector_duration_seconds", labels, clock.monotonic() - started)
    if problem:
        yield Sample("forewarn_collector_problem", {**labels, "why": problem}, 1.0)


def once(settings: AgentSettings, clock: Clock | None = None) -> str:
    """One round as exposition text, as `forewarn agent --once` prints it."""
    clock = clock or RealClock()
    return exposition.write(collect_once(build_collectors(settings, clock), clock, settings.samples_max))


class Agent:
    """Collects round after round and hands each to `sink`."""

    def __init__(self, collectors: Sequence[Collector], sink: Sink, clock: Clock, settings: AgentSettings) -> None:
        self._collectors = collectors
        self._sink = sink
        self._clock = clock
        self._settings = settings

    def run(self, stop: Callable[[], bool]) -> None:
        """Until `stop` says so: rounds at a fixed beat; a round that takes longer than the interval skips beats."""
        due = self._clock.monotonic()
        while not stop():
            self._sink(collect_once(self._collectors, self._clock, self._settings.samples_max))
            now = self._clock.monotonic()
            due = max(due + self._settings.interval_s, now)
            self._clock.sleep(due - now)
