from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from forewarn.clock import Clock, RealClock, SimulatedClock
from forewarn.domain.inventory import HostState, Kind
from forewarn.domain.plan import Move, Plan
from forewarn.domain.situation import LadderStep, Rung, Snapshot
from forewarn.domain.telemetry import Sample
from forewarn.errors import MoveRefused
from forewarn.sim.play import ONCE, Simulation, SimulationSettings, play

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
SMALL = SimulationSettings(hosts=6, vms=30)


class Loop:
    """A loop that sees nothing and does nothing, and remembers what it was given."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        self.delivered: list[tuple[datetime, int]] = []

    def deliver(self, shown: Mapping[str, list[Sample]], now: datetime) -> None:
        self.delivered.append((now, len(shown)))

    def cycle(self) -> Snapshot:
        return self._snapshot(())

    def _snapshot(self, ladder: tuple[LadderStep, ...]) -> Snapshot:
        now = self.simulation.clock.now()
        return Snapshot(now, 1, "", self.simulation.driver.inventory(), (), ladder, Plan("p", now, 0), ())


class Clairvoyant(Loop):
    """Knows the first host that will fail, and empties it in the first cycle."""

    def __init__(self, simulation: Simulation, doomed: str, component: str) -> None:
        super().__init__(simulation)
        self.doomed, self.component = doomed, component

    def cycle(self) -> Snapshot:
        cluster = self.simulation.driver.inventory()
        for vm in cluster.vms_by_host[self.doomed]:
            for target in cluster.hosts:
                move = Move(
                    f"{vm.id}-{target.name}", vm.id, vm.name, vm.criticality, vm.host, target.name, self.component,
                    Kind.DISK, 0.9, 0.1, "drill", "foreseen",
                )  # fmt: skip
                try:
                    self.simulation.driver.start(move)
                    break
                except MoveRefused:
                    continue
        return self._snapshot((LadderStep(self.component, Rung.MOVE, cluster.time),))


def _simulation(clock: Clock | None = None, seed: int = 1, settings: SimulationSettings = SMALL) -> Simulation:
    return Simulation(seed, clock or SimulatedClock(START), settings)


def _play(simulation: Simulation, loop: Loop, minutes: float, interval_s: float = 10.0) -> Mapping[str, int]:
    until = START + timedelta(minutes=minutes)
    return play(simulation, loop.cycle, loop.deliver, interval_s, until).numbers()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_where_nothing_moves_as_many_vms_go_down_as_in_the_twin(seed: int) -> None:
    simulation = _simulation(seed=seed)
    report = _play(simulation, Loop(simulation), minutes=30)
    assert report["vm_interruptions"] == report["vm_interruptions_without_forewarn"] > 0
    assert report["moves_started"] == report["host_failures_warned"] == report["vms_lost"] == 0


@pytest.mark.parametrize("seed", range(1, 11))
def test_two_hours_at_the_pace_of_a_run_without_waiting_hold_at_least_fifteen_host_failures(seed: int) -> None:
    simulation = _simulation(seed=seed, settings=ONCE)
    for _ in range(240):
        simulation.world.step(simulation.clock.now())
        simulation.clock.sleep(30.0)
    host_failures = [failure for failure in simulation.world.failures if failure.host_failed]
    assert len(host_failures) >= 15
    assert 0.3 < sum(failure.signs for failure in host_failures) / len(host_failures) < 0.7


def test_vms_that_left_in_time_are_not_interrupted_and_the_failure_counts_as_warned() -> None:
    blind = _simulation()
    _play(blind, Loop(blind), minutes=2)
    first = blind.world.failures[0].event
    simulation = _simulation()
    report = _play(simulation, Clairvoyant(simulation, first.host, first.component), minutes=2)
    assert report["host_failures_warned"] == 1
    assert report["vm_interruptions"] < report["vm_interruptions_without_forewarn"]
    assert report["vms_lost"] == 0


def test_the_first_cycles_are_healthy_and_the_first_host_is_down_within_two_minutes() -> None:
    simulation = _simulation(settings=SimulationSettings())
    loop = Loop(simulation)
    _play(simulation, loop, minutes=2.1, interval_s=2.0)
    assert {hosts for time, hosts in loop.delivered if time < START + timedelta(seconds=30)} == {24}
    assert loop.delivered[-1][1] < 24
    down = [host.state for host in simulation.driver.inventory().hosts if host.state is HostState.DOWN]
    assert down


def test_ticks_come_at_the_wanted_interval() -> None:
    simulation = _simulation()
    loop = Loop(simulation)
    _play(simulation, loop, minutes=1, interval_s=15.0)
    assert [(time - START).total_seconds() for time, _ in loop.delivered] == [0, 15, 30, 45]


def test_a_stopped_real_clock_ends_the_run() -> None:
    clock = RealClock()
    simulation = _simulation(clock)
    loop = Loop(simulation)

    def last_cycle() -> Snapshot:
        clock.stop()
        return loop.cycle()

    assert play(simulation, last_cycle, loop.deliver, interval_s=60.0).cycles == 1
