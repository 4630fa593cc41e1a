"""The whole driver over real hosts: the public contract, and a host that is drained by the executor."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.act.executor import Executor
from forewarn.act.guards import Guards, GuardSettings
from forewarn.act.journal import Journal
from forewarn.clock import RealClock
from forewarn.decide.policy import PolicySettings
from forewarn.domain.plan import MoveState, Plan, Refusal
from forewarn.domain.situation import LadderStep, Situation
from forewarn.drivers.libvirt.driver import LibvirtDriver
from forewarn.errors import CordonRefused, MoveRefused
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from forewarn.state.database import Database
from forewarn.testing import Patience, check_driver
from tests import clusters
from tests.integration.libvirt.moving import MIB, driver_of, goes_on, libvirt_settings, move_of
from tests.support import eventually

pytestmark = pytest.mark.integration

GUEST = Guest("vm-a", 1, disk_mib=16)
TIED = Guest("vm-b", 2, disk_mib=16, disk_shared=False)
CLOCK = RealClock()


@pytest.fixture
def database() -> Iterator[Database]:
    database = Database("sqlite://", CLOCK)
    yield database
    database.close()


class Site:
    """Planner and executor over the laboratory, a cycle at a time; the CPU of host01 is about to fail."""

    def __init__(self, driver: LibvirtDriver, database: Database, guards: GuardSettings | None = None) -> None:
        self.driver, self.journal = driver, Journal(database)
        self.executor = Executor(driver, self.journal, Guards(guards or GuardSettings()), CLOCK)
        self.ladder: tuple[LadderStep, ...] = ()
        self.most: Counter[str] = Counter()  # moves at once, by source and by target

    def planned(self) -> Plan:
        seen, now = self.driver.inventory(), CLOCK.now()
        parts = tuple(clusters.part(host.name) for host in seen.hosts)
        risks = {"host01": 0.9}
        forecasts = tuple(replace(clusters.forecast(each, risks.get(each.host, 1e-6)), time=now) for each in parts)
        cluster = replace(seen, components=parts)
        situation = Situation(cluster, forecasts, ladder=self.ladder, in_flight=self.journal.in_flight())
        plan, self.ladder = clusters.plan(situation, PolicySettings(), now)
        return plan

    def cycle(self) -> Plan:
        plan = self.planned()
        self.executor.run(plan, self.driver.inventory())
        flights = self.journal.in_flight()
        for end, names in (("from", [f.move.source for f in flights]), ("to", [f.move.target for f in flights])):
            for name, number in Counter(names).items():
                self.most[f"{end} {name}"] = max(self.most[f"{end} {name}"], number)
        return plan

    def moves(self, state: MoveState) -> list[str]:
        since = CLOCK.now() - timedelta(hours=1)
        return [outcome.move.vm_name for outcome in self.journal.recent(since) if outcome.state is state]


def test_the_driver_keeps_the_contract(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    running(GUEST)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=24 * MIB))
    check_driver(driver, move_of(GUEST, "host01", "host02"), CLOCK.sleep, Patience(step_s=0.2, steps_max=600))
    goes_on(laboratory, GUEST)


def test_six_guests_leave_a_host_within_the_limits_and_onto_both_others(
    laboratory: Laboratory, running: Callable[..., Host], database: Database
) -> None:
    guests = [Guest(f"vm-{number}", 20 + number, written_mib=4, write_mib_per_s=1) for number in range(6)]
    for guest in (*guests, TIED):
        running(guest)
    site = Site(driver_of(libvirt_settings(laboratory)), database)
    plan = site.planned()
    assert sorted(move.vm_name for move in plan.moves) == sorted(guest.name for guest in guests)
    [tied] = [verdict for verdict in plan.verdicts if verdict.vm == TIED.uuid and not verdict.target]
    assert tied.refusal is Refusal.IMMOVABLE
    assert "disk vda (/lab/local/vm-b.img) is on its host alone" in tied.text

    def drained() -> bool:
        site.cycle()
        return len(site.moves(MoveState.SUCCEEDED)) == len(guests)

    eventually(drained, deadline=240, every=0.5)
    assert laboratory.where(TIED.name) == ("host01",)
    places = Counter(laboratory.where(guest.name) for guest in guests)
    assert places == {("host02",): 3, ("host03",): 3}
    limits = GuardSettings()
    assert site.most["from host01"] == limits.moves_per_source
    assert max(site.most["to host02"], site.most["to host03"]) <= limits.moves_per_target
    for guest in guests:
        goes_on(laboratory, guest, beats_more=2)


def test_a_cordon_ends_with_its_lease_and_outlives_its_process(laboratory: Laboratory) -> None:
    settings = libvirt_settings(laboratory)
    now = CLOCK.now()
    leases = {"host02": now + timedelta(hours=1), "host03": now - timedelta(hours=1)}

    def cordoned(driver: LibvirtDriver) -> list[str]:
        return [host.name for host in driver.inventory().hosts if host.cordoned]

    driver = driver_of(settings, lambda: leases)
    assert cordoned(driver) == ["host02"]  # by the lease of a former process
    generation = driver.inventory().generation
    driver.cordon("host01", "its CPU fails", CLOCK.now() + timedelta(seconds=1))
    assert cordoned(driver) == ["host01", "host02"]
    assert driver.inventory().generation == generation + 1
    with pytest.raises(MoveRefused, match="host01 is cordoned and takes no VM"):
        driver.check(move_of(GUEST, "host02", "host01"))
    eventually(lambda: cordoned(driver) == ["host02"])
    with pytest.raises(CordonRefused, match=r"no-such-host is no host of libvirt\.hosts"):
        driver.cordon("no-such-host", "", datetime.max.replace(tzinfo=now.tzinfo))
    del leases["host02"]
    assert cordoned(driver) == []
    driver.uncordon("host01")
