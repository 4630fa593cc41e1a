"""Every driver keeps the contract, and the checks find the drivers that do not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pyarrow as pa
import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster, VmState
from forewarn.domain.plan import Move, MoveState
from forewarn.drivers.base import Driver, MoveProgress
from forewarn.drivers.joined import JoinedDriver
from forewarn.drivers.none import ObservedDriver
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.store.base import DEVICES
from forewarn.testing import Patience, check_driver, check_watching_driver
from tests.moves import NOW, host, move, small_cluster


def simulated(clock: SimulatedClock) -> SimulatedDriver:
    return SimulatedDriver(small_cluster(), (), clock)


def observed(clock: SimulatedClock) -> ObservedDriver:
    row = {"component": "cpu:z/cpu", "kind": "cpu", "host": "z", "device": "cpu", "model": None}
    seen = {"first_seen": NOW, "last_seen": NOW}
    return ObservedDriver(lambda: pa.Table.from_pylist([{**row, **seen}], schema=DEVICES), clock)


def joined(clock: SimulatedClock) -> JoinedDriver:
    return JoinedDriver([simulated(clock), observed(clock)])


@pytest.mark.parametrize("make", [simulated, joined])
def test_a_driver_that_moves_keeps_the_contract(make: Callable[[SimulatedClock], Driver]) -> None:
    clock = SimulatedClock(NOW)
    check_driver(make(clock), move(), clock.sleep)


def test_the_driver_that_only_watches_keeps_its_contract() -> None:
    check_watching_driver(observed(SimulatedClock(NOW)), move(source="z"))


class Wrong(SimulatedDriver):
    """A simulated driver with room for one mistake."""

    change: Callable[[Cluster], Cluster] = staticmethod(lambda cluster: cluster)

    def inventory(self) -> Cluster:
        return type(self).change(super().inventory())


class NaiveTime(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, time=cluster.time.replace(tzinfo=None)))


class HostTwice(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, hosts=(*cluster.hosts, cluster.hosts[0])))


class VmTwice(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, vms=cluster.vms * 2))


class PartTwice(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, components=cluster.components * 2))


class NoHosts(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, hosts=()))


class NoVms(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, vms=()))


class NoGeneration(Wrong):
    change = staticmethod(lambda cluster: replace(cluster, generation=1))


class StaysOnBoth(Wrong):
    """A driver that, once a VM has arrived, shows it on its source as well."""

    change = staticmethod(
        lambda cluster: (
            replace(cluster, vms=(*cluster.vms, replace(cluster.vms[0], id="ghost")))
            if cluster.vms[0].host == "a"
            else replace(cluster, vms=(replace(cluster.vms[0], host="a"),))
        )
    )


class TwiceWhileItMoves(Wrong):
    """A driver that shows a VM which moves on its target as well."""

    change = staticmethod(
        lambda cluster: replace(
            cluster,
            vms=tuple(copy for vm in cluster.vms for copy in [vm] * (1 + (vm.state is VmState.MIGRATING))),
        )
    )


class HidesCordons(Wrong):
    change = staticmethod(
        lambda cluster: replace(cluster, hosts=tuple(replace(host, cordoned=False) for host in cluster.hosts))
    )


class CordonsForEver(Wrong):
    def cordon(self, host: str, why: str, until: datetime) -> None:
        super().cordon(host, why, until + timedelta(days=1))


class KeepsCordons(Wrong):
    def uncordon(self, host: str) -> None:
        pass


class MovesToCordonedHosts(Wrong):
    def check(self, move: Move) -> None:
        cordoned = self.inventory().host_by_name.get(move.target, host("none")).cordoned
        if not cordoned:
            super().check(move)


class TakesEverything(Wrong):
    def check(self, move: Move) -> None:
        pass


class StartsEverything(Wrong):
    def start(self, move: Move) -> None:
        if self.inventory().vm_by_id.get(move.vm) and move.target in "bc" and move.source == "a":
            super().start(move)


class RefusesWithoutAWord(Wrong):
    def check(self, move: Move) -> None:
        try:
            super().check(move)
        except Exception as error:
            raise type(error)("") from error


class ChangesWhatItRefuses(Wrong):
    def start(self, move: Move) -> None:
        if move.vm == "no-such-vm":
            self.stop_vm("web")
        super().start(move)


class KnowsTheUnheardOf(Wrong):
    def poll(self, move: Move) -> MoveProgress:
        return MoveProgress(MoveState.SUCCEEDED) if move.id == "never-heard-of" else super().poll(move)


class SilentAboutTheUnheardOf(Wrong):
    def poll(self, move: Move) -> MoveProgress:
        return MoveProgress(MoveState.FAILED) if move.id == "never-heard-of" else super().poll(move)


class LosesMoves(Wrong):
    def start(self, move: Move) -> None:
        self.lose_next_move(move.vm)
        super().start(move)


class MovesTwice(Wrong):
    def start(self, move: Move) -> None:
        if self.inventory().vm_by_id.get(move.vm) and self.where(move) is VmState.MIGRATING:
            return
        super().start(move)

    def where(self, move: Move) -> VmState:
        return self.inventory().vm_by_id[move.vm].state


class NeverCancels(Wrong):
    def cancel(self, move: Move) -> None:
        pass


class CancelsByMoving(Wrong):
    def cancel(self, move: Move) -> None:
        running = self.poll(move).state is MoveState.RUNNING
        super().cancel(move)
        if running:
            self.move_elsewhere(move.vm, move.target)


class FailsToExpect(Wrong):
    def expect(self, move: Move) -> None:
        self.check(move)


class CountsWrongly(Wrong):
    def poll(self, move: Move) -> MoveProgress:
        return replace(super().poll(move), progress=1.5)


class NeverEnds(Wrong):
    def start(self, move: Move) -> None:
        super().start(move)
        self.stall_move(move.vm)


class Fails(Wrong):
    def start(self, move: Move) -> None:
        self.fail_next_move(move.vm, "on purpose")
        super().start(move)


class Wavers(Wrong):
    polls = 0

    def poll(self, move: Move) -> MoveProgress:
        self.polls += 1
        return replace(super().poll(move), downtime_ms=self.polls)


class RunsBackwards(Wrong):
    def poll(self, move: Move) -> MoveProgress:
        return replace(super().poll(move), downtime_ms=-1.0)


WRONG: dict[type[Wrong], str] = {
    NaiveTime: "the inventory's time has no zone",
    HostTwice: "a host stands twice in the inventory",
    VmTwice: "a VM stands twice in the inventory",
    PartTwice: "a component stands twice in the inventory",
    NoHosts: "VM web is on a, which is not in the inventory",
    NoVms: "the check wants web on a, it is on no host",
    NoGeneration: "a VM moved and the generation stayed at 1",
    StaysOnBoth: "should be on b alone",
    TakesEverything: "check took a move of a VM that does not exist",
    StartsEverything: "start took a move of a VM that does not exist",
    RefusesWithoutAWord: "check took a move of a VM that does not exist",
    ChangesWhatItRefuses: "a refused move changed its VM",
    KnowsTheUnheardOf: "a move never heard of is succeeded, not failed",
    SilentAboutTheUnheardOf: "a move never heard of is failed without a word",
    FailsToExpect: "expect failed for a move of a VM that does not exist: ",
    LosesMoves: "a move that was just started is failed, not running",
    MovesTwice: "a second move of a VM in migration was started",
    NeverCancels: "a cancelled move ended as succeeded",
    CancelsByMoving: "should be on a alone",
    CountsWrongly: "the progress is 1.5, not within 0 and 1",
    NeverEnds: "has not ended after 9 s",
    TwiceWhileItMoves: "VM web is on ['a', 'a'] while it moves",
    HidesCordons: "b was cordoned, and the inventory does not show it",
    CordonsForEver: "the cordon of b has not ended by itself",
    KeepsCordons: "b was uncordoned, and the inventory shows it cordoned",
    MovesToCordonedHosts: "check took a move to a cordoned host",
    Fails: "the move that can succeed ended as failed: on purpose",
    Wavers: "two polls of an ended move differ",
    RunsBackwards: "a measured time is negative",
}


@pytest.mark.parametrize(("wrong", "words"), WRONG.items(), ids=[wrong.__name__ for wrong in WRONG])
def test_the_check_finds_a_driver_that_breaks_the_contract(wrong: type[Wrong], words: str) -> None:
    clock = SimulatedClock(NOW)
    driver = wrong(small_cluster(), (), clock)
    with pytest.raises(AssertionError) as found:
        check_driver(driver, move(), clock.sleep, Patience(steps_max=9 if wrong is NeverEnds else 600))
    assert words in str(found.value)


class Receives(ObservedDriver):
    def inventory(self) -> Cluster:
        return replace(super().inventory(), hosts=(host("z"),))


class Forgets(ObservedDriver):
    generation = 10

    def inventory(self) -> Cluster:
        self.generation -= 1
        return replace(super().inventory(), generation=self.generation)


class Starts(ObservedDriver):
    def start(self, move: Move) -> None:
        pass


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (Receives, "z can receive VMs, but its driver can only look"),
        (Forgets, "the generation fell between two inventories"),
        (Starts, "start did not refuse a move"),
    ],
)
def test_the_check_finds_a_watching_driver_that_does_more(wrong: type[ObservedDriver], words: str) -> None:
    driver = wrong(DEVICES.empty_table, SimulatedClock(NOW + timedelta(days=1)))
    with pytest.raises(AssertionError, match=words):
        check_watching_driver(driver, move(source="z"))
