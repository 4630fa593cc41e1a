"""Several placement services look like one; a move stays within the service that has its source."""

from dataclasses import replace
from datetime import timedelta

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster, Remark
from forewarn.domain.plan import MoveState
from forewarn.domain.situation import Workload
from forewarn.drivers.base import Watched
from forewarn.drivers.joined import JoinedDriver
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.errors import CordonRefused, DriverUnavailable, MoveRefused
from tests.moves import NOW, move, small_cluster, vm


class Two:
    """Two simulated services, hosts a to c and d to f, as one."""

    def __init__(self) -> None:
        self.clock = SimulatedClock(NOW)
        self.first = SimulatedDriver(small_cluster(vm("web", "a")), [Workload("web", 1.0, 1e6, 2**30)], self.clock)
        other = small_cluster(vm("db", "d"), hosts="def")
        self.second = SimulatedDriver(other, [Workload("db", 2.0, 1e6, 2**30)], self.clock)
        self.joined = JoinedDriver([self.first, self.second])


def test_the_inventories_are_merged_in_the_order_of_the_drivers() -> None:
    cluster = Two().joined.inventory()
    assert [host.name for host in cluster.hosts] == list("abcdef")
    assert [found.id for found in cluster.vms] == ["web", "db"]
    assert len(cluster.components) == 6
    assert {load.vm for load in Two().joined.workloads()} == {"web", "db"}
    assert Two().joined.name == "simulated+simulated"


def test_the_remarks_of_every_driver_are_kept() -> None:
    class Remarking(SimulatedDriver):
        def inventory(self) -> Cluster:
            return replace(super().inventory(), remarks=(Remark("a", "a does not answer"),))

    joined = JoinedDriver([Two().second, Remarking(small_cluster(), [], SimulatedClock(NOW))])
    assert joined.inventory().remarks == (Remark("a", "a does not answer"),)


def test_what_two_drivers_name_is_told_once_by_the_first() -> None:
    clock = SimulatedClock(NOW)
    first, second = (SimulatedDriver(small_cluster(), [], clock) for _ in range(2))
    second.cordon_by_hand("b")
    joined = JoinedDriver([first, second])
    cluster = joined.inventory()
    assert [(host.name, host.cordoned) for host in cluster.hosts] == [("a", False), ("b", False), ("c", False)]
    assert (len(cluster.vms), len(cluster.components)) == (1, 3)
    joined.start(move())
    assert (first.poll(move()).state, second.poll(move()).state) == (MoveState.RUNNING, MoveState.FAILED)


def test_the_generation_grows_with_each_driver() -> None:
    two = Two()
    seen = [two.joined.inventory().generation]
    for driver, name in ((two.first, "a"), (two.second, "d")):
        driver.cordon_by_hand(name)
        seen.append(two.joined.inventory().generation)
    assert seen == sorted(set(seen))


def test_each_move_goes_to_the_service_that_has_its_source() -> None:
    two = Two()
    far = move("db", "d", "e")
    two.joined.check(far)
    two.joined.start(far)
    assert two.second.poll(far).state is two.joined.poll(far).state is MoveState.RUNNING
    two.joined.cancel(far)
    assert two.joined.poll(far).state is MoveState.CANCELLED


def test_a_move_between_two_services_is_refused() -> None:
    with pytest.raises(MoveRefused, match="belong to different placement services"):
        Two().joined.check(move("web", "a", "d"))


@pytest.mark.parametrize(("source", "target", "missing"), [("y", "a", "y"), ("a", "z", "z")])
def test_a_host_that_no_service_knows_is_refused(source: str, target: str, missing: str) -> None:
    with pytest.raises(MoveRefused, match=f"no placement service knows a host '{missing}'"):
        Two().joined.start(move("web", source, target))


def test_a_move_of_a_host_that_went_away_is_failed_and_cannot_be_cancelled() -> None:
    joined = Two().joined
    joined.cancel(move(source="y"))
    progress = joined.poll(move(source="y"))
    assert (progress.state, progress.text) == (MoveState.FAILED, "no placement service knows y any more")


def test_a_part_of_the_inventory_is_no_inventory() -> None:
    two = Two()
    two.second.be_unreachable()
    with pytest.raises(DriverUnavailable):
        two.joined.inventory()


def test_a_joined_driver_of_nothing_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least one"):
        JoinedDriver([])


def test_a_cordon_goes_to_the_service_that_has_the_host() -> None:
    two = Two()
    two.joined.cordon("e", "its CPU may fail", NOW + timedelta(hours=1))
    assert [host.name for host in two.second.inventory().hosts if host.cordoned] == ["e"]
    two.joined.uncordon("e")
    assert not any(host.cordoned for host in two.joined.inventory().hosts)


def test_a_host_that_no_service_knows_cannot_be_cordoned_and_lifting_its_cordon_does_nothing() -> None:
    two = Two()
    with pytest.raises(CordonRefused, match="no placement service knows a host 'y'"):
        two.joined.cordon("y", "its CPU may fail", NOW + timedelta(hours=1))
    two.joined.uncordon("y")
    assert not any(host.cordoned for host in two.joined.inventory().hosts)


def test_whoever_only_looks_has_the_same_picture_and_nothing_that_writes() -> None:
    joined = Two().joined
    watched = Watched(joined)
    assert (watched.name, watched.inventory(), watched.workloads()) == (
        joined.name,
        joined.inventory(),
        joined.workloads(),
    )
    assert not any(hasattr(watched, name) for name in ("check", "start", "poll", "cancel", "cordon", "uncordon"))
