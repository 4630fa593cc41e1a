"""Leave no trace: what Forewarn set on hosts ends when it is asked for, and when the controller is gone."""

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forewarn.act.cordons import CordonSettings
from forewarn.assemble.site import Site, SiteSettings
from forewarn.clock import SimulatedClock
from forewarn.control import ControlSettings
from forewarn.decide.authority import AuthoritySettings
from forewarn.domain.authority import Grant, Mode
from forewarn.domain.inventory import Kind
from forewarn.sim.faults import Course, Fault
from forewarn.sim.play import Simulation, SimulationSettings, play
from forewarn.state.requests import RequestKind

START = datetime(2026, 3, 2, 10, tzinfo=UTC)
INTERVAL_S = 30.0


class Run:
    """A loop over a cluster of which one host wears out, until that host is cordoned."""

    def __init__(self, folder: Path) -> None:
        self.clock = SimulatedClock(START)
        starts, peaks, ends = (START + timedelta(seconds=s) for s in (60, 420, 7200))
        fault = Fault("host05", Kind.DISK, "sda", Course.DECLINE, starts, peaks, ends, "media")
        self.simulation = Simulation(3, self.clock, SimulationSettings(hosts=6, vms=36), [fault])
        settings = SiteSettings(
            control=ControlSettings(interval_s=INTERVAL_S),
            authority=AuthoritySettings(mode_max=Mode.AUTOMATIC),
            cordons=CordonSettings(lease_s=900.0),
        )
        self.site = Site(folder, self.clock, settings)
        self.site.memory.orders.grants.give(Grant(Mode.AUTOMATIC, START, "drill", "drill", overrides=True))
        for batch in self.simulation.world.history(30):
            self.site.store.append(batch)
        self.site.store.roll_up(START)
        self.control = self.site.control(self.simulation.driver)
        self.on(180)

    def on(self, seconds: float) -> None:
        until = self.clock.now() + timedelta(seconds=seconds)
        play(self.simulation, self.control.cycle, self.site.take, INTERVAL_S, until)

    @property
    def cordoned(self) -> list[str]:
        return [host.name for host in self.simulation.driver.inventory().hosts if host.cordoned]


def test_after_a_release_no_cordon_of_ours_is_left_and_none_is_set_while_paused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.simulation.driver.cordon_by_hand("host01")
    assert run.cordoned == ["host01", "host05"]
    run.site.memory.orders.requests.make(RequestKind.RELEASE, "ann", "Forewarn leaves")
    run.on(90)
    assert run.cordoned == ["host01"]
    told = [line.text for line in run.site.memory.log.recent(50)]
    assert "host05 is not cordoned any more: everything that Forewarn had set is released" in told
    snapshot = run.site.memory.snapshot.read()
    assert snapshot is not None
    assert snapshot.paused == "Forewarn leaves (ann)"
    run.site.close()


def test_a_release_while_the_placement_service_is_silent_is_made_up_for(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.simulation.driver.fail_next_uncordon()
    run.site.memory.orders.requests.make(RequestKind.RELEASE, "ann", "Forewarn leaves")
    run.on(30)
    assert run.cordoned == ["host05"]
    run.on(30)
    assert run.cordoned == []
    run.site.close()


def test_after_moves_are_resumed_hosts_are_cordoned_again(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.site.memory.orders.requests.make(RequestKind.RELEASE, "ann", "a look")
    run.on(30)
    run.site.memory.orders.requests.make(RequestKind.RESUME, "ann", "go on")
    run.on(60)
    assert run.cordoned == ["host05"]
    run.site.close()


def test_a_cordon_ends_by_itself_when_its_controller_is_gone(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.cordoned == ["host05"]
    run.site.close()
    run.clock.sleep(901)
    assert run.cordoned == []


def test_every_decision_that_changes_something_is_logged_with_what_it_was_made_from(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.site.close()
    lines = [json.loads(line) for line in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    assert lines[0]["moves"] == []
    (first, *_) = [line for line in lines if line["cordons"]]
    assert first["cordons"] == ["host05"]
    assert {move["source"] for move in first["moves"]} == {"host05"}
    assert len(first["decision"]) == 64
    assert any(model.startswith("trees") for model in first["models"])
    decided = [{name: line[name] for name in ("moves", "cordons", "tickets")} for line in lines]
    assert all(before != after for before, after in itertools.pairwise(decided))
