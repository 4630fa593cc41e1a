"""Mode `recommend` over the whole loop: what is proposed moves once somebody has approved it, and not for longer."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.control import ControlSettings
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Mode
from forewarn.domain.inventory import Kind
from forewarn.domain.situation import Snapshot
from forewarn.sim.faults import Course, Fault
from forewarn.sim.play import Simulation, SimulationSettings, play
from forewarn.state.requests import RequestKind

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
INTERVAL_S, APPROVAL_S = 30.0, 60.0


class Run:
    """A loop in mode recommend over a cluster of which one host wears out."""

    def __init__(self, folder: Path) -> None:
        clock = SimulatedClock(START)
        starts, peaks, ends = (START + timedelta(seconds=s) for s in (60, 420, 7200))
        fault = Fault("host05", Kind.DISK, "sda", Course.DECLINE, starts, peaks, ends, "media")
        self.simulation = Simulation(3, clock, SimulationSettings(hosts=6, vms=36), [fault])
        authority = AuthoritySettings(Mode.RECOMMEND, Mode.RECOMMEND, approval_s=APPROVAL_S)
        self.site = Site(
            folder, clock, SiteSettings(control=ControlSettings(interval_s=INTERVAL_S), authority=authority)
        )
        for batch in self.simulation.world.history(30):
            self.site.store.append(batch)
        self.site.store.roll_up(START)
        self.control = self.site.control(self.simulation.driver)
        self.on(180)

    def on(self, seconds: float) -> Snapshot:
        until = self.simulation.clock.now() + timedelta(seconds=seconds)
        play(self.simulation, self.control.cycle, self.site.take, INTERVAL_S, until)
        snapshot = self.site.memory.snapshot.read()
        assert snapshot is not None
        return snapshot

    def approve(self, vm: str) -> None:
        self.site.memory.orders.requests.make(
            RequestKind.APPROVE, "ann", "the disk is bad", {"vm": vm, "source": "host05"}
        )


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    made = Run(tmp_path)
    yield made
    made.site.close()


def test_what_nobody_approved_is_proposed_and_never_moves(run: Run) -> None:
    snapshot = run.on(60)
    assert snapshot.plan.proposals
    assert {proposal.mode for proposal in snapshot.plan.proposals} == {Mode.RECOMMEND}
    assert (snapshot.plan.moves, snapshot.moves) == ((), ())


def test_what_was_approved_moves_and_nothing_else(run: Run) -> None:
    first, *_ = run.on(30).plan.proposals
    run.approve(first.move.vm)
    snapshot = run.on(90)
    assert [outcome.move.vm for outcome in snapshot.moves] == [first.move.vm]
    assert run.simulation.driver.inventory().vm_by_id[first.move.vm].host != "host05"
    assert first.move.vm not in {proposal.move.vm for proposal in snapshot.plan.proposals}


def test_an_approval_ends_with_its_time(run: Run) -> None:
    first, *_ = run.on(30).plan.proposals
    run.site.memory.orders.requests.make(RequestKind.PAUSE, "ann", "wait")
    run.approve(first.move.vm)
    run.on(APPROVAL_S + 60)
    run.site.memory.orders.requests.make(RequestKind.RESUME, "ann", "go on")
    snapshot = run.on(60)
    assert snapshot.moves == ()
    assert first.move.vm in {proposal.move.vm for proposal in snapshot.plan.proposals}
