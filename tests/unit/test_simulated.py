"""The simulated placement service refuses, moves and fails as a real one does, and never loses a VM."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster, HostState, Kind, VmState
from forewarn.domain.plan import Move, MoveState
from forewarn.domain.situation import Workload
from forewarn.drivers.fluid import CopySettings
from forewarn.drivers.simulated import SimulatedDriver, SimulatedSettings
from forewarn.errors import DriverUnavailable, MoveRefused
from tests.moves import GIB, NOW, disk, host, move, small_cluster, vm

LONG_S = 3600.0


class World:
    """A simulated driver with its clock."""

    def __init__(self, cluster: Cluster | None = None, *loads: Workload, settings: SimulatedSettings | None = None):
        self.clock = SimulatedClock(NOW)
        self.driver = SimulatedDriver(cluster or small_cluster(), loads, self.clock, settings)

    def state(self, of: Move) -> MoveState:
        return self.driver.poll(of).state

    def where(self, name: str = "web") -> tuple[str, VmState]:
        found = self.driver.inventory().vm_by_id[name]
        return found.host, found.state

    def text(self, of: Move) -> str:
        return self.driver.poll(of).text


def refusal(world: World, of: Move) -> str:
    with pytest.raises(MoveRefused) as refused:
        world.driver.check(of)
    with pytest.raises(MoveRefused):
        world.driver.start(of)
    assert world.driver.poll(of).state is MoveState.FAILED
    return str(refused.value)


# --- what is where ----------------------------------------------------------------------------------------


def test_every_host_says_that_it_is_simulated() -> None:
    hosts = World().driver.inventory().hosts
    assert [(found.driver, found.simulated) for found in hosts] == [("simulated", True)] * 3


def test_the_inventory_is_one_object_until_something_changes_or_time_passes() -> None:
    world = World()
    first = world.driver.inventory()
    assert world.driver.inventory() is first
    world.clock.sleep(1)
    later = world.driver.inventory()
    assert (later.generation, later.vms is first.vms) == (first.generation, True)
    assert (later.time - first.time).total_seconds() == 1


def test_every_change_raises_the_generation() -> None:
    world = World()
    seen = [world.driver.inventory().generation]
    for change in (
        lambda: world.driver.start(move()),
        lambda: world.driver.cancel(move()),
        lambda: world.driver.cordon_by_hand("b"),
        lambda: world.driver.maintain("c"),
        lambda: world.driver.fail_host("a"),
        lambda: world.driver.repair_host("a"),
        lambda: world.driver.stop_vm("web"),
        lambda: world.driver.fail_part("disk:b/sda"),
    ):
        change()
        seen.append(world.driver.inventory().generation)
    assert seen == sorted(set(seen))


def test_the_cluster_must_place_every_vm_once() -> None:
    with pytest.raises(ValueError, match="stands twice"):
        World(small_cluster(vm("web", "a"), vm("web", "b")))
    with pytest.raises(ValueError, match="does not have"):
        World(small_cluster(vm("web", "z")))


# --- moving -----------------------------------------------------------------------------------------------


def test_a_move_runs_and_arrives_with_its_measured_downtime() -> None:
    world = World(None, Workload("web", 1.0, 1e8, GIB))
    world.driver.start(move())
    world.clock.sleep(2)
    halfway = world.driver.poll(move())
    assert (halfway.state, world.where()) == (MoveState.RUNNING, ("a", VmState.MIGRATING))
    assert halfway.progress == pytest.approx(2e9 / (4 * GIB))
    world.clock.sleep(LONG_S)
    end = world.driver.poll(move())
    assert (end.state, world.where()) == (MoveState.SUCCEEDED, ("b", VmState.RUNNING))
    assert 20 < end.downtime_ms <= 320
    assert 4 < end.duration_s < 10


def test_two_polls_at_the_same_time_agree_whatever_their_order() -> None:
    first, second = move("web"), move("db", target="c")
    made = [World(small_cluster(vm("web", "a"), vm("db", "a", memory_gib=6))) for _ in range(2)]
    for world in made:
        world.driver.start(first)
        world.driver.start(second)
        world.clock.sleep(8.75)
    forwards = [made[0].driver.poll(one) for one in (first, second, first)]
    backwards = [made[1].driver.poll(one) for one in (second, first)]
    assert forwards == [backwards[1], backwards[0], forwards[0]]


def test_a_move_back_and_forth_leaves_the_vm_where_it_began() -> None:
    world = World()
    for one in (move(), move(source="b", target="a")):
        world.driver.start(one)
        world.clock.sleep(LONG_S)
        assert world.state(one) is MoveState.SUCCEEDED
    assert world.where() == ("a", VmState.RUNNING)


def test_a_vm_that_dirties_too_fast_stays_where_it_was() -> None:
    world = World(None, Workload("web", 1.0, 5e9, 3 * GIB))
    world.driver.start(move())
    world.clock.sleep(LONG_S)
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.RUNNING))
    assert "does not converge" in world.text(move())


def test_a_new_workload_counts_from_the_next_move_on() -> None:
    world = World()
    world.driver.set_workload(Workload("web", 1.0, 5e9, 3 * GIB))
    assert [load.dirty_bytes_per_s for load in world.driver.workloads()] == [5e9]
    world.driver.start(move())
    world.clock.sleep(LONG_S)
    assert world.state(move()) is MoveState.FAILED


def test_a_cancelled_move_leaves_the_vm_where_it_was() -> None:
    world = World()
    world.driver.start(move())
    world.clock.sleep(1)
    world.driver.cancel(move())
    assert (world.state(move()), world.where()) == (MoveState.CANCELLED, ("a", VmState.RUNNING))
    world.clock.sleep(LONG_S)
    assert world.where() == ("a", VmState.RUNNING)


def test_cancelling_what_is_over_or_was_never_heard_of_changes_nothing() -> None:
    world = World()
    world.driver.start(move())
    world.clock.sleep(LONG_S)
    before = world.driver.inventory()
    world.driver.cancel(move())
    world.driver.cancel(move(name="other"))
    assert (world.state(move()), world.driver.inventory()) == (MoveState.SUCCEEDED, before)


def test_a_move_that_was_never_heard_of_is_failed_and_says_so() -> None:
    progress = World().driver.poll(move())
    assert progress.state is MoveState.FAILED
    assert "never heard of" in progress.text


def test_ended_moves_are_forgotten_beyond_the_limit_running_ones_never() -> None:
    world = World(small_cluster(vm("web", "a"), vm("db", "c")), settings=SimulatedSettings(moves_remembered=1))
    world.driver.start(move("db", "c", "b"))
    world.driver.stall_move("db")
    for number, (source, target) in enumerate((("a", "b"), ("b", "a"), ("a", "b"))):
        world.driver.start(move("web", source, target, f"m{number}"))
        world.clock.sleep(30)
    world.driver.inventory()
    assert world.state(move("db", "c", "b")) is MoveState.RUNNING
    assert "never heard of" in world.text(move(name="m0"))
    assert world.state(move(name="m2")) is MoveState.SUCCEEDED


# --- what a placement service refuses -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("of", "words"),
    [
        (move("ghost"), "does not exist any more"),
        (move(target="z"), "there is no host 'z'"),
        (move(source="c"), "is on a, not on c"),
        (move(target="a"), "is on a already"),
    ],
)
def test_a_move_that_does_not_fit_the_cluster_is_refused(of: Move, words: str) -> None:
    assert words in refusal(World(), of)


def test_a_vm_that_cannot_move_is_refused_with_its_reason() -> None:
    held = replace(vm("web", "a"), immovable_because="a passed-through GPU")
    assert "a passed-through GPU" in refusal(World(small_cluster(held)), move())


def test_a_stopped_vm_is_refused() -> None:
    world = World()
    world.driver.stop_vm("web")
    assert "is stopped" in refusal(world, move())


def test_a_vm_in_migration_is_refused_a_second_move() -> None:
    world = World()
    world.driver.start(move())
    assert "is migrating" in refusal(world, move(target="c"))


def test_a_move_is_started_once_only() -> None:
    world = World()
    world.driver.start(move())
    world.driver.cancel(move())
    with pytest.raises(MoveRefused, match="was started before"):
        world.driver.start(move())


def test_nothing_leaves_a_host_that_is_down() -> None:
    world = World()
    world.driver.stop_vm("web")
    world.driver.add_vm(vm("db", "a"))
    world.driver.fail_host("a")
    assert "is interrupted" in refusal(world, move("db"))


def test_a_down_maintained_cordoned_or_closed_target_is_refused() -> None:
    closed = replace(host("d"), can_receive=False)
    cluster = small_cluster()
    world = World(replace(cluster, hosts=(*cluster.hosts, closed)))
    world.driver.fail_host("b")
    assert "b is down" in refusal(world, move(target="b"))
    world.driver.maintain("c")
    assert "c is in maintenance" in refusal(world, move(target="c"))
    world.driver.maintain("c", maintained=False)
    world.driver.cordon_by_hand("c")
    assert "c takes no VMs" in refusal(world, move(target="c"))
    assert "d takes no VMs" in refusal(world, move(target="d"))
    world.driver.cordon_by_hand("c", cordoned=False)
    world.driver.check(move(target="c"))


def test_a_target_without_memory_or_cpus_left_is_refused() -> None:
    memory = World(small_cluster(vm("web", "a", memory_gib=8), vm("big", "b", memory_gib=60)))
    assert "not enough memory" in refusal(memory, move())
    cpus = World(small_cluster(vm("web", "a"), vm("big", "b", vcpus=15)))
    assert "not enough CPUs" in refusal(cpus, move())


def test_moves_planned_together_never_overfill_a_target() -> None:
    world = World(small_cluster(vm("web", "a", memory_gib=40), vm("db", "c", memory_gib=40)))
    world.driver.start(move())
    assert "not enough memory" in refusal(world, move("db", "c", "b"))
    world.driver.cancel(move())
    world.driver.check(move("db", "c", "b"))


def test_a_vm_on_its_way_still_takes_room_at_its_source() -> None:
    world = World(small_cluster(vm("web", "a", memory_gib=40), vm("db", "c", memory_gib=40)))
    world.driver.start(move())
    assert "not enough memory" in refusal(world, move("db", "c", "a"))


def test_vms_that_must_stay_apart_never_meet_not_even_on_their_way() -> None:
    world = World(small_cluster(*(vm(name, on, anti_affinity="pair") for name, on in (("web", "a"), ("db", "c")))))
    world.driver.check(move())
    assert "must not share a host with db-name" in refusal(world, move(target="c"))
    world.driver.start(move("db", "c", "b"))
    assert "must not share a host with db-name" in refusal(world, move(target="b"))


# --- hosts that fail ------------------------------------------------------------------------------------------


def test_a_failing_host_interrupts_its_running_vms_and_they_resume_when_it_is_repaired() -> None:
    world = World(small_cluster(vm("web", "a"), vm("off", "a"), vm("db", "b")))
    world.driver.stop_vm("off")
    assert world.driver.fail_host("a") == ("web",)
    assert world.where("web") == ("a", VmState.INTERRUPTED)
    assert world.driver.inventory().host_by_name["a"].state is HostState.DOWN
    world.driver.repair_host("a")
    states = [world.where(name)[1] for name in ("web", "off", "db")]
    assert states == [VmState.RUNNING, VmState.STOPPED, VmState.RUNNING]
    assert world.driver.inventory().host_by_name["a"].state is HostState.UP


def test_failing_twice_and_repairing_what_is_up_change_nothing() -> None:
    world = World()
    world.driver.repair_host("a")
    world.driver.fail_host("a")
    before = world.driver.inventory()
    assert world.driver.fail_host("a") == ()
    assert world.driver.inventory() is before
    assert len(world.driver.failures()) == 1


def test_a_move_whose_source_dies_fails_with_the_vm_interrupted_there() -> None:
    world = World()
    world.driver.start(move())
    world.clock.sleep(1)
    assert world.driver.fail_host("a") == ("web",)
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.INTERRUPTED))
    assert world.text(move()) == "a failed during the move"


def test_a_move_whose_target_dies_fails_with_the_vm_running_at_its_source() -> None:
    world = World()
    world.driver.start(move())
    world.clock.sleep(1)
    assert world.driver.fail_host("b") == ()
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.RUNNING))
    assert world.driver.poll(move()).duration_s == 1


def test_a_host_that_fails_after_the_arrival_no_longer_touches_the_vm() -> None:
    world = World()
    world.driver.start(move())
    world.clock.sleep(LONG_S)
    assert world.driver.fail_host("a") == ()
    assert world.where() == ("b", VmState.RUNNING)


def test_moves_between_other_hosts_survive_a_failure() -> None:
    world = World(small_cluster(vm("web", "a"), hosts="abcd"))
    world.driver.start(move())
    world.driver.fail_host("d")
    assert world.state(move()) is MoveState.RUNNING


def test_failures_are_told_with_part_and_kind_and_the_oldest_are_forgotten() -> None:
    world = World(settings=SimulatedSettings(failures_remembered=2))
    for name, part in (("a", ""), ("b", "disk:b/sda"), ("c", "unheard of")):
        world.driver.fail_host(name, part)
    told = [(event.host, event.kind, event.text) for event in world.driver.failures()]
    assert told == [("b", Kind.DISK, "b failed"), ("c", Kind.HOST, "c failed")]


# --- parts that fail --------------------------------------------------------------------------------------------


def on_a_disk(spares: int = 0) -> Cluster:
    cluster = small_cluster(vm("web", "a"), vm("db", "a"))
    return replace(cluster, components=(disk("a", vms=("web",), spares=spares),))


def test_a_dead_part_interrupts_only_the_vms_on_its_path_until_it_is_replaced() -> None:
    world = World(on_a_disk())
    assert world.driver.fail_part("disk:a/sda") == ("web",)
    assert (world.where("web")[1], world.where("db")[1]) == (VmState.INTERRUPTED, VmState.RUNNING)
    assert world.driver.inventory().components == ()
    world.driver.replace_part("disk:a/sda", replace(disk("a"), id="disk:NEW", vms=("web",)))
    assert world.where("web")[1] is VmState.RUNNING
    assert [part.id for part in world.driver.inventory().components] == ["disk:NEW"]


def test_a_part_with_a_spare_interrupts_nothing() -> None:
    world = World(on_a_disk(spares=1))
    assert world.driver.fail_part("disk:a/sda") == ()
    assert world.where("web")[1] is VmState.RUNNING


def test_a_part_that_dies_during_a_move_fails_the_move_of_its_vm() -> None:
    world = World(on_a_disk())
    world.driver.start(move())
    assert world.driver.fail_part("disk:a/sda") == ("web",)
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.INTERRUPTED))


def test_a_repaired_host_does_not_revive_what_its_dead_part_took_down() -> None:
    world = World(on_a_disk())
    world.driver.fail_host("a")
    assert world.driver.fail_part("disk:a/sda") == ()
    world.driver.repair_host("a")
    assert (world.where("web")[1], world.where("db")[1]) == (VmState.INTERRUPTED, VmState.RUNNING)


def test_a_new_part_revives_nothing_on_a_host_that_is_down_or_that_went_away() -> None:
    world = World(on_a_disk())
    world.driver.fail_part("disk:a/sda")
    world.driver.fail_host("a")
    world.driver.replace_part("disk:a/sda", disk("a", vms=("web",)))
    assert world.where("web")[1] is VmState.INTERRUPTED
    world.driver.fail_part("disk:a/sda")
    world.driver.remove_vm("web")
    world.driver.replace_part("disk:a/sda", disk("a"))
    assert world.driver.audit() == ()


def test_a_part_that_does_not_exist_cannot_fail() -> None:
    with pytest.raises(ValueError, match="no part disk:z"):
        World().driver.fail_part("disk:z")


# --- failures on demand -------------------------------------------------------------------------------------------


def test_only_the_next_move_breaks_that_was_told_to_and_the_vm_stays() -> None:
    world = World()
    world.driver.fail_next_move("web", "qemu lost the socket")
    world.driver.start(move(name="first"))
    world.clock.sleep(LONG_S)
    end = world.driver.poll(move(name="first"))
    assert (end.state, end.text, end.progress) == (MoveState.FAILED, "qemu lost the socket", 0.5)
    assert world.where() == ("a", VmState.RUNNING)
    world.driver.start(move(name="second"))
    world.clock.sleep(LONG_S)
    assert world.state(move(name="second")) is MoveState.SUCCEEDED


def test_a_lost_start_is_accepted_and_nothing_runs() -> None:
    world = World()
    world.driver.lose_next_move("web")
    world.driver.start(move())
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.RUNNING))


def test_a_start_that_timed_out_may_run_all_the_same() -> None:
    world = World()
    world.driver.time_out_next_start("web")
    with pytest.raises(DriverUnavailable, match="no answer"):
        world.driver.start(move())
    assert world.state(move()) is MoveState.RUNNING


def test_a_stalled_move_is_running_and_goes_on_when_let() -> None:
    world = World()
    world.driver.start(move())
    world.driver.stall_move("web")
    world.clock.sleep(60)
    assert world.state(move()) is MoveState.RUNNING
    world.driver.stall_move("web", stalled=False)
    world.clock.sleep(60)
    assert world.state(move()) is MoveState.SUCCEEDED


def test_a_move_that_stalls_for_ever_is_given_up() -> None:
    world = World(settings=SimulatedSettings(CopySettings(give_up_s_per_gib=10)))
    world.driver.start(move())
    world.driver.stall_move("web")
    world.clock.sleep(60)
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.RUNNING))


def test_only_a_move_that_runs_can_stall() -> None:
    with pytest.raises(ValueError, match="is not moving"):
        World().driver.stall_move("web")


def test_an_unreachable_service_answers_nothing_while_its_moves_go_on() -> None:
    world = World()
    world.driver.start(move())
    world.driver.be_unreachable("down for a test")
    for call in (
        world.driver.inventory,
        world.driver.workloads,
        lambda: world.driver.check(move()),
        lambda: world.driver.start(move()),
        lambda: world.driver.poll(move()),
        lambda: world.driver.cancel(move()),
    ):
        with pytest.raises(DriverUnavailable, match="down for a test"):
            call()
    world.clock.sleep(LONG_S)
    world.driver.be_reachable()
    assert world.state(move()) is MoveState.SUCCEEDED


# --- what other people do -----------------------------------------------------------------------------------------


def test_a_vm_that_somebody_else_moves_fails_its_own_move() -> None:
    world = World()
    world.driver.start(move())
    world.driver.move_elsewhere("web", "c")
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("c", VmState.RUNNING))


def test_a_stopped_vm_stays_stopped_wherever_it_is_put() -> None:
    world = World()
    world.driver.stop_vm("web")
    world.driver.move_elsewhere("web", "c")
    assert world.where() == ("c", VmState.STOPPED)


def test_a_vm_that_somebody_stops_or_deletes_fails_its_move() -> None:
    world = World(small_cluster(vm("web", "a"), vm("db", "a")), Workload("db", 1.0, 1e6, GIB))
    world.driver.start(move())
    world.driver.stop_vm("web")
    assert (world.state(move()), world.where()) == (MoveState.FAILED, ("a", VmState.STOPPED))
    world.driver.start(move("db"))
    world.driver.remove_vm("db")
    assert world.state(move("db")) is MoveState.FAILED
    assert ("db" in world.driver.inventory().vm_by_id, world.driver.workloads()) == (False, ())


def test_a_new_vm_can_be_moved_like_any_other() -> None:
    world = World()
    world.driver.add_vm(vm("new", "c"), Workload("new", 1.0, 1e6, GIB))
    world.driver.start(move("new", "c", "b"))
    world.clock.sleep(LONG_S)
    assert world.where("new") == ("b", VmState.RUNNING)


def test_nothing_is_created_or_put_on_a_host_that_is_down() -> None:
    world = World()
    world.driver.fail_host("b")
    acts: list[Callable[[], None]] = [
        lambda: world.driver.add_vm(vm("new", "b")),
        lambda: world.driver.move_elsewhere("web", "b"),
        lambda: world.driver.maintain("b"),
    ]
    for act in acts:
        with pytest.raises(ValueError, match="b is down"):
            act()


def test_an_audit_finds_a_vm_on_no_host_on_two_and_one_that_should_be_nowhere() -> None:
    world = World(small_cluster(vm("web", "a"), vm("db", "b")))
    assert world.driver.audit() == ()
    placed = world.driver._estate._placed
    del placed["a"]["web"]
    placed["c"].update({"db": None, "ghost": None})
    assert sorted(world.driver.audit()) == [
        "VM db is on b and c, and should be on b",
        "VM ghost is on c, and should be on none",
        "VM web is on no host, and should be on a",
    ]
