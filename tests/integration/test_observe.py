"""Mode `observe` writes nothing to the placement service, however bad things look."""

import gc
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

import pyarrow as pa
import pytest

from forewarn.assemble.demo import START
from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.control import Control, ControlSettings
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Grant, Mode
from forewarn.domain.inventory import Cluster, Criticality, HostState, Kind
from forewarn.domain.plan import Move, Plan, Refusal
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.situation import Snapshot, Workload
from forewarn.drivers.base import MoveProgress
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.predict.base import Forecaster
from forewarn.sim.play import Simulation, SimulationSettings, play
from forewarn.state.requests import RequestKind

pytestmark = pytest.mark.integration

CYCLES, INTERVAL_S = 6, 30.0
WRITES = ("expect", "start", "cancel", "cordon", "uncordon")
SURE = (1.0,) * len(HORIZONS)


class Counting:
    """The simulated driver behind a count of every call; `writes` are those that ask for a change."""

    def __init__(self, driver: SimulatedDriver) -> None:
        self.name, self._driver = driver.name, driver
        self.calls: Counter[str] = Counter()

    @property
    def writes(self) -> int:
        return sum(self.calls[name] for name in WRITES)

    def inventory(self) -> Cluster:
        self.calls["inventory"] += 1
        return self._driver.inventory()

    def workloads(self) -> tuple[Workload, ...]:
        self.calls["workloads"] += 1
        return self._driver.workloads()

    def check(self, move: Move) -> None:
        self.calls["check"] += 1
        self._driver.check(move)

    def expect(self, move: Move) -> None:
        self.calls["expect"] += 1
        self._driver.expect(move)

    def start(self, move: Move) -> None:
        self.calls["start"] += 1
        self._driver.start(move)

    def poll(self, move: Move) -> MoveProgress:
        self.calls["poll"] += 1
        return self._driver.poll(move)

    def cancel(self, move: Move) -> None:
        self.calls["cancel"] += 1
        self._driver.cancel(move)

    def cordon(self, host: str, why: str, until: datetime) -> None:
        self.calls["cordon"] += 1
        self._driver.cordon(host, why, until)

    def uncordon(self, host: str) -> None:
        self.calls["uncordon"] += 1
        self._driver.uncordon(host)


class Doomsayer(Forecaster):
    """Says that parts fail for certain: those of `hosts`, or all where no host is named. The others are healthy."""

    def __init__(self, hosts: tuple[str, ...] = ()) -> None:
        super().__init__({})
        self._hosts = hosts

    def forecast(self, frames: Mapping[Kind, pa.Table]) -> tuple[FailureForecast, ...]:
        return tuple(
            self._of(kind, *row)
            for kind, frame in frames.items()
            for row in zip(*(frame[name].to_pylist() for name in ("component", "host", "device")), strict=True)
        )

    def _of(self, kind: Kind, component: str, host: str, device: str) -> FailureForecast:
        curve = SURE if not self._hosts or host in self._hosts else (1e-6,) * len(HORIZONS)
        return FailureForecast(component, kind, host, device, START, curve, curve, curve, model="doom")


class Run:
    """The whole loop for some cycles over a small cluster whose end is forecast."""

    def __init__(self, folder: Path, mode: Mode, forecaster: Forecaster, asked: RequestKind | None = None) -> None:
        clock = SimulatedClock(START)
        simulation = Simulation(3, clock, SimulationSettings(hosts=6, vms=36), faults=())
        self.driver, self.snapshots = Counting(simulation.driver), list[Snapshot]()
        self.placed = {vm.id: vm.host for vm in simulation.driver.inventory().vms}
        control, authority = ControlSettings(interval_s=INTERVAL_S), AuthoritySettings(mode_max=mode)
        self.site = Site(folder, clock, replace(SiteSettings(), control=control, authority=authority))
        # Observe holds whatever was granted before, and whoever overrode what.
        self.site.memory.orders.grants.give(Grant(Mode.AUTOMATIC, START, "anna", "a drill", overrides=True))
        self.site.forecaster = forecaster
        if asked is not None:
            self.site.memory.orders.requests.make(asked, "anna", "a drill", {"running": "abort"})
        self.control = self.site.control(self.driver)
        try:
            until = START + timedelta(seconds=CYCLES * INTERVAL_S)
            play(simulation, self._cycle, self.site.take, INTERVAL_S, until)
            self.intended = self.site.memory.journal.intended_since(START - timedelta(days=1))
        finally:
            self.site.close()
        self.cluster = simulation.driver.inventory()

    def _cycle(self) -> Snapshot:
        self.snapshots.append(self.control.cycle())
        return self.snapshots[-1]

    @property
    def plans(self) -> list[Plan]:
        return [snapshot.plan for snapshot in self.snapshots]

    def untouched(self) -> bool:
        """Whether every VM is where it was, every host as it was, and the journal empty."""
        same = {vm.id: vm.host for vm in self.cluster.vms} == self.placed
        as_it_was = all(host.state is HostState.UP and not host.cordoned for host in self.cluster.hosts)
        return same and as_it_was and self.intended == 0


def test_with_every_part_sure_to_fail_observe_writes_nothing_and_says_that_there_is_no_place(tmp_path: Path) -> None:
    run = Run(tmp_path, Mode.OBSERVE, Doomsayer())
    assert run.driver.writes == run.driver.calls["check"] == run.driver.calls["poll"] == 0
    assert run.driver.calls["inventory"] == CYCLES
    assert run.untouched()
    high = {vm.id for vm in run.cluster.vms if vm.criticality is Criticality.HIGH}
    assert high
    for snapshot in run.snapshots:
        assert all(forecast.probabilities == SURE for forecast in snapshot.forecasts)
        nowhere = {verdict.vm for verdict in snapshot.plan.verdicts if verdict.refusal is Refusal.NO_SUITABLE_HOST}
        assert high <= nowhere
        assert snapshot.moves == ()


def test_with_one_host_sure_to_fail_observe_shows_its_moves_each_cycle_and_writes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, Mode.OBSERVE, Doomsayer(("host05",)))
    assert run.driver.writes == run.driver.calls["check"] == run.driver.calls["poll"] == 0
    assert run.untouched()
    high = {vm.id for vm in run.cluster.vms_by_host["host05"] if vm.criticality is Criticality.HIGH}
    for plan in run.plans:
        assert plan.moves == ()
        moves = [proposal.move for proposal in plan.proposals]
        assert {move.vm for move in moves} == high  # for the others it is too late: the host fails under the move
        assert {move.source for move in moves} == {"host05"}
    assert all(snapshot.moves == () for snapshot in run.snapshots)
    assert run.snapshots[-1].sentence.endswith(f"{len(high)} moves proposed")


@pytest.mark.parametrize("asked", list(RequestKind))
def test_whatever_people_ask_for_observe_writes_nothing(tmp_path: Path, asked: RequestKind) -> None:
    run = Run(tmp_path, Mode.OBSERVE, Doomsayer(("host05",)), asked)
    assert run.driver.writes == 0
    assert run.untouched()


def test_the_same_run_in_mode_automatic_does_write_so_that_the_count_counts(tmp_path: Path) -> None:
    run = Run(tmp_path, Mode.AUTOMATIC, Doomsayer(("host05",)))
    assert run.driver.calls["start"] == run.intended > 0
    assert not run.untouched()


def held_by(control: Control) -> Iterator[object]:
    """Every object that the loop could get hold of, but for what is behind a single reading call that it was given."""
    seen, waiting = set[int](), list[object]([control])
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, type | ModuleType | FunctionType | MethodType):
            continue
        seen.add(id(one))
        yield one
        waiting += gc.get_referents(one)


@pytest.mark.parametrize("mode", list(Mode))
def test_only_beyond_observe_the_loop_holds_anything_that_writes(tmp_path: Path, mode: Mode) -> None:
    run = Run(tmp_path, mode, Doomsayer())
    writers = {type(one).__name__ for one in held_by(run.control) if all(hasattr(one, name) for name in WRITES)}
    executors = {type(one).__name__ for one in held_by(run.control) if type(one).__name__ in ("Executor", "Cordons")}
    assert writers == (set() if mode is Mode.OBSERVE else {"Counting", "SimulatedDriver"})
    assert executors == (set() if mode is Mode.OBSERVE else {"Executor", "Cordons"})
