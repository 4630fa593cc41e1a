"""Whatever happens in whatever order, every VM is on exactly one host and no move overfills one."""

from contextlib import suppress
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster, HostState, VmState
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.situation import Workload
from forewarn.drivers.simulated import SimulatedDriver
from forewarn.errors import DriverUnavailable, MoveRefused
from tests.moves import GIB, NOW, disk, host, move, vm

HOSTS = ("a", "b", "c", "d")
NAMES = tuple(f"vm{number}" for number in range(9))
hosts = st.sampled_from(HOSTS)
names = st.sampled_from(NAMES)


def crowded() -> Cluster:
    """Hosts with room for three VMs each; pairs that must stay apart; a disk that each host's first VM needs."""
    vms = tuple(
        vm(name, HOSTS[number % 4], memory_gib=16, vcpus=4, anti_affinity=f"pair{number // 2}" if number < 4 else "")
        for number, name in enumerate(NAMES)
    )
    disks = tuple(disk(on, vms=(NAMES[number],)) for number, on in enumerate(HOSTS))
    return Cluster(NOW, 1, tuple(host(name, cpus=12, memory_gib=48) for name in HOSTS), disks, vms)


class AnythingGoes(RuleBasedStateMachine):
    """A simulated cluster that people, moves and failures change in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = SimulatedClock(NOW)
        loads = [Workload(name, 1.0, number * 2e8, 2 * GIB) for number, name in enumerate(NAMES)]
        self.driver = SimulatedDriver(crowded(), loads, self.clock)
        self.moves: list[Move] = []
        self.ended: dict[str, MoveState] = {}
        self.numbers = count()
        self.generation = 0

    @rule(name=names, to=hosts)
    def start(self, name: str, to: str) -> None:
        one = move(name, self.driver.inventory().vm_by_id[name].host, to, f"m{next(self.numbers)}")
        try:
            self.driver.start(one)
        except MoveRefused:
            assert self.driver.poll(one).state is MoveState.FAILED
        except DriverUnavailable:
            self.moves.append(one)
        else:
            self.moves.append(one)

    @precondition(lambda self: self.moves)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.driver.cancel(data.draw(st.sampled_from(self.moves)))

    @rule(seconds=st.floats(0, 120))
    def advance(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(name=hosts)
    def fail_host(self, name: str) -> None:
        self.driver.fail_host(name)

    @rule(name=hosts)
    def repair_host(self, name: str) -> None:
        self.driver.repair_host(name)

    @rule(name=hosts)
    def fail_part(self, name: str) -> None:
        self.driver.fail_part(f"disk:{name}/sda")

    @rule(name=hosts)
    def replace_part(self, name: str) -> None:
        self.driver.replace_part(f"disk:{name}/sda", disk(name, vms=(NAMES[HOSTS.index(name)],)))

    @rule(name=hosts, cordoned=st.booleans())
    def cordon(self, name: str, cordoned: bool) -> None:
        self.driver.cordon_by_hand(name, cordoned)

    @rule(name=names)
    def break_next(self, name: str) -> None:
        self.driver.fail_next_move(name)

    @rule(name=names)
    def lose_next(self, name: str) -> None:
        self.driver.lose_next_move(name)

    @rule(name=names)
    def time_out_next(self, name: str) -> None:
        self.driver.time_out_next_start(name)

    @invariant()
    def every_vm_is_on_exactly_one_host(self) -> None:
        assert self.driver.audit() == ()
        assert {found.id for found in self.driver.inventory().vms} == set(NAMES)

    @invariant()
    def no_host_is_overfilled_even_by_what_is_on_its_way(self) -> None:
        cluster = self.driver.inventory()
        coming = [one for one in self.moves if self.driver.poll(one).state is MoveState.RUNNING]
        for name in HOSTS:
            arriving = [cluster.vm_by_id[one.vm] for one in coming if one.target == name]
            there = [*cluster.vms_by_host[name], *arriving]
            assert sum(found.memory_bytes for found in there) <= cluster.host_by_name[name].memory_bytes
            assert sum(found.vcpus for found in there) <= cluster.host_by_name[name].cpus
            pairs = [found.anti_affinity for found in there if found.anti_affinity]
            assert len(pairs) == len(set(pairs))

    @invariant()
    def a_vm_migrates_if_and_only_if_its_move_runs(self) -> None:
        running = [one.vm for one in self.moves if self.driver.poll(one).state is MoveState.RUNNING]
        migrating = [found.id for found in self.driver.inventory().vms if found.state is VmState.MIGRATING]
        assert sorted(running) == sorted(migrating)

    @invariant()
    def nothing_runs_on_a_host_that_is_down(self) -> None:
        cluster = self.driver.inventory()
        down = [found for found in cluster.vms if cluster.host_by_name[found.host].state is HostState.DOWN]
        assert all(found.state is VmState.INTERRUPTED for found in down)

    @invariant()
    def an_end_is_never_taken_back_and_the_generation_never_falls(self) -> None:
        for one in self.moves:
            state = self.driver.poll(one).state
            if state.final:
                assert self.ended.setdefault(one.id, state) is state
        generation = self.driver.inventory().generation
        assert generation >= self.generation
        self.generation = generation


AnythingGoes.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestAnythingGoes = AnythingGoes.TestCase


@pytest.mark.parametrize("looks", [1, 7, 50])
def test_a_story_ends_alike_however_often_somebody_looked(looks: int) -> None:
    def told(times: int) -> object:
        clock = SimulatedClock(NOW)
        driver = SimulatedDriver(crowded(), [Workload(name, 1.0, 3e8, GIB) for name in NAMES], clock)
        for step in range(40):
            name = NAMES[step % 9]
            one = move(name, driver.inventory().vm_by_id[name].host, HOSTS[step % 4], f"m{step}")
            with suppress(MoveRefused):
                driver.start(one)
            for _ in range(times):
                clock.sleep(32.0 / 64)
                driver.poll(one)
            clock.sleep((64 - times) * 32.0 / 64)
        return replace(driver.inventory(), time=NOW), [driver.poll(move(name=f"m{step}")) for step in range(40)]

    assert told(looks) == told(0)
