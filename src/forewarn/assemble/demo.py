"""The demonstration: the production loop over a simulated cluster, with this very machine as one more host.

Only the faults are simulated and hurried. This machine's telemetry is real, from the real agent; it holds no VMs and
receives none. `automatic` holds here by an override that is logged, and only for the simulated driver's hosts.
"""

import itertools
import socket
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from forewarn.alerts.settings import AlertSettings
from forewarn.assemble.site import Site, SiteSettings, sources_sentence
from forewarn.assemble.telemetry import StoreKind
from forewarn.assemble.up import Say, start_agent
from forewarn.clock import Clock, RealClock, SimulatedClock
from forewarn.collect import agent
from forewarn.collect.agent import AgentSettings
from forewarn.control import Control
from forewarn.domain.authority import Grant, Mode
from forewarn.domain.situation import LogLine, Severity, Snapshot
from forewarn.domain.telemetry import Sample
from forewarn.drivers.joined import JoinedDriver
from forewarn.drivers.none import ObservedDriver
from forewarn.sim.play import ONCE, Simulation, SimulationSettings, play
from forewarn.sim.report import Report
from forewarn.sim.scenario import SIMULATED

HURRIED_S = 60.0  # within which hosts turn risky together, where faults come faster than in life
START = datetime(2026, 1, 5, 8, tzinfo=UTC)  # of the virtual clock: equal seeds give equal runs


@dataclass(frozen=True)
class DemoSettings:
    """How the demonstration runs."""

    seed: int = 7
    """Seed of the simulated cluster and of all that happens to it."""

    interval_s: float = 2.0
    """Seconds between two cycles on the real clock."""

    once_interval_s: float = 30.0
    """Virtual seconds between two cycles of a run that ends by itself."""

    once_hours: float = 2.0
    """Virtual hours that such a run lasts."""

    history_days: int = 30
    """Days of telemetry that are back-filled before the first cycle."""

    moves: bool = True
    """Whether VMs are moved; without, the loop only observes."""


def run(folder: Path, clock: RealClock, settings: DemoSettings, site_settings: SiteSettings, say: Say) -> Report:
    """Run the demonstration and its dashboard on the real clock until the clock is stopped."""
    with ExitStack() as stack:
        demo = _Demo(folder, clock, settings, site_settings, SimulationSettings(), settings.interval_s)
        stack.callback(demo.site.close)
        say(f"Back-filling {settings.history_days} days of history ...")
        demo.fill_history()
        server = demo.site.serve()
        stack.callback(server.stop)
        stack.callback(start_agent(demo.site, AgentSettings(interval_s=5.0), clock, demo.own_name))
        say(f"Dashboard: {server.address}   (Ctrl-C ends the demonstration)")
        return play(demo.simulation, _telling(demo.control.cycle, say), demo.site.take, settings.interval_s)


def run_once(folder: Path, settings: DemoSettings, site_settings: SiteSettings) -> Report:
    """Run the demonstration on a virtual clock, to its end, without a dashboard."""
    clock = SimulatedClock(START)
    site_settings = replace(site_settings, alerts=AlertSettings())  # of a time that is not now, nobody is told
    demo = _Demo(folder, clock, settings, site_settings, ONCE, settings.once_interval_s)
    collectors = agent.build_collectors(AgentSettings(), clock)

    def deliver(shown: Mapping[str, list[Sample]], now: datetime) -> None:
        demo.site.take({**shown, demo.own_name: agent.collect_once(collectors, clock).samples}, now)

    try:
        demo.fill_history()
        until = START + timedelta(hours=settings.once_hours)
        return play(demo.simulation, demo.control.cycle, deliver, settings.once_interval_s, until)
    finally:
        demo.site.close()


class _Demo:
    """The simulated world and the site that watches over it, joined."""

    def __init__(
        self,
        folder: Path,
        clock: Clock,
        settings: DemoSettings,
        site_settings: SiteSettings,
        simulation: SimulationSettings,
        interval_s: float,
    ) -> None:
        control = replace(site_settings.control, interval_s=interval_s)
        authority = replace(site_settings.authority, mode_max=Mode.AUTOMATIC if settings.moves else Mode.OBSERVE)
        policy = replace(site_settings.policy, breaker=replace(site_settings.policy.breaker, window_s=HURRIED_S))
        store = replace(site_settings.store, kind=StoreKind.DUCKDB)  # nothing simulated goes into a site's database
        self.simulation = Simulation(settings.seed, clock, simulation)
        own = replace(site_settings, control=control, authority=authority, policy=policy, store=store)
        self.site = Site(folder, clock, own)
        self.own_name = _own_name(self.simulation)
        self._history_days = settings.history_days
        observed = ObservedDriver(self._own_devices, clock, redundancy=self.site.mapper.redundancy)
        self.control: Control = self.site.control(JoinedDriver([self.simulation.driver, observed]))
        lines = [sources_sentence(self.site.forecaster)]
        if settings.moves:
            override = Grant(
                Mode.AUTOMATIC, clock.now(), "the demonstration", "demonstration", SIMULATED, overrides=True
            )
            self.site.memory.orders.grants.give(override)
            lines.append(f"mode automatic by override for {override.scope}: {override.why}")
        self.site.memory.log.append(LogLine(clock.now(), Severity.NOTICE, text) for text in lines)

    def fill_history(self) -> None:
        for batch in self.simulation.world.history(self._history_days):
            self.site.store.append(batch)
        self.site.store.roll_up(self.site.clock.now())

    def _own_devices(self) -> pa.Table:
        devices = self.site.store.devices()
        return devices.filter(pc.equal(devices["host"], pa.scalar(self.own_name)))


def _own_name(simulation: Simulation) -> str:
    name = socket.gethostname() or "this-machine"
    return f"{name}-real" if name in simulation.driver.inventory().host_by_name else name


def _telling(cycle: Callable[[], Snapshot], say: Say) -> Callable[[], Snapshot]:
    """A cycle that says each new line of the log."""
    last: LogLine | None = None

    def told() -> Snapshot:
        nonlocal last
        snapshot = cycle()
        new = list(itertools.takewhile(lambda line: line != last, snapshot.log))
        for line in reversed(new):
            say(f"{line.time:%H:%M:%S}  {line.text}")
        last = snapshot.log[0] if snapshot.log else None
        return snapshot

    return told
