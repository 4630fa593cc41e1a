"""The loop in a simulated world: the world moves on, its telemetry is delivered, a cycle decides, time passes.

It runs on the real clock and on a virtual one alike. Beside the world in which Forewarn acts stands its twin, with the
same seed and the same ticks, in which nothing moves: it shows what would have happened.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from forewarn.clock import Clock, RealClock, SimulatedClock
from forewarn.domain.inventory import Cluster
from forewarn.domain.situation import Snapshot, Workload
from forewarn.domain.telemetry import Sample
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.sim.faults import Fault, FaultSettings
from forewarn.sim.happenings import Happening
from forewarn.sim.meddled import MeddledDriver
from forewarn.sim.report import Report, Tally
from forewarn.sim.scenario import ClusterSettings, demo_cluster
from forewarn.sim.world import World, WorldSettings

Deliver: TypeAlias = Callable[[Mapping[str, list[Sample]], datetime], None]
Cycle: TypeAlias = Callable[[], Snapshot | None]  # None for a cycle that failed


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """The simulated cluster and its fate."""

    hosts: int = 24
    """Number of hosts."""
    vms: int = 200
    """Number of VMs."""
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    """How hosts are built."""
    world: WorldSettings = field(default_factory=WorldSettings)
    """How the world behaves."""


# For cycles of 20 to 60 virtual seconds: all faults take four times as long, so that a decline spans many cycles.
ONCE = SimulationSettings(world=WorldSettings(faults=FaultSettings(pace=4.0)))


class _Twin:
    """The same world in which nothing moves, brought along tick by tick."""

    def __init__(self, stage: "_Stage") -> None:
        self._clock = SimulatedClock(stage.start)
        self.world = stage.world(SimulatedDriver(stage.cluster, stage.workloads, self._clock))

    def step(self, now: datetime) -> None:
        self._clock.sleep((now - self._clock.now()).total_seconds())
        self.world.step(now)


@dataclass(frozen=True)
class _Stage:
    """What both worlds are built from."""

    cluster: Cluster
    workloads: tuple[Workload, ...]
    seed: int
    start: datetime
    settings: WorldSettings
    faults: tuple[Fault, ...] | None
    happenings: tuple[Happening, ...]

    def world(self, driver: SimulatedDriver) -> World:
        return World(driver, self.seed, self.start, self.settings, self.faults, self.happenings)


class Simulation:
    """A simulated cluster on a clock, its world, and the twin in which nothing moves.

    `service` goes to the loop as any driver does; behind it stands `driver`, for whoever plays fate. `faults` replaces
    the drawn schedule, `happenings` come beside them.
    """

    def __init__(
        self,
        seed: int,
        clock: Clock,
        settings: SimulationSettings | None = None,
        faults: Iterable[Fault] | None = None,
        happenings: Iterable[Happening] = (),
    ) -> None:
        settings = settings or SimulationSettings()
        start = clock.now()
        cluster, workloads = demo_cluster(seed, settings.hosts, settings.vms, settings.cluster, start)
        listed = None if faults is None else tuple(faults)
        stage = _Stage(cluster, workloads, seed, start, settings.world, listed, tuple(happenings))
        self.seed, self.clock = seed, clock
        self.driver = SimulatedDriver(cluster, workloads, clock)
        self.world = stage.world(self.driver)
        self.service = MeddledDriver(self.driver, lambda: self.world.meddle(clock.now()))
        self._twin = _Twin(stage)
        self._tally = Tally()
        self._judged = 0

    def tick(self, deliver: Deliver, cycle: Cycle) -> None:
        """Let the world reach the clock's time, deliver what its exporters show, and run one cycle."""
        now = self.clock.now()
        shown = self.world.advance(now)
        self._twin.step(now)
        for failure in self.world.failures[self._judged :]:
            self._tally.judge(failure)
        self._judged = len(self.world.failures)
        deliver(shown, now)
        self._tally.note(cycle())

    def report(self) -> Report:
        """The run so far."""
        lost = len(self.driver.audit())
        return self._tally.report(self.seed, self.world.failures, self._twin.world.failures, lost)


def play(
    simulation: Simulation,
    cycle: Cycle,
    deliver: Deliver,
    interval_s: float,
    until: datetime | None = None,
) -> Report:
    """Tick every `interval_s` seconds until a time, or until the real clock is stopped; then report."""
    clock = simulation.clock
    while not _stopped(clock) and (until is None or clock.now() < until):
        began_s = clock.monotonic()
        simulation.tick(deliver, cycle)
        clock.sleep(max(0.0, interval_s - (clock.monotonic() - began_s)))
    return simulation.report()


def _stopped(clock: Clock) -> bool:
    return isinstance(clock, RealClock) and clock.stopped
