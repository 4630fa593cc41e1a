from datetime import UTC, datetime

import pytest

from forewarn.clock import SimulatedClock
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, Kind, VirtualMachine, VmState
from forewarn.domain.plan import Move, MoveState
from forewarn.drivers.simulated import SimulatedDriver

GIB = 2**30


def _driver() -> tuple[SimulatedDriver, SimulatedClock]:
    clock = SimulatedClock(datetime(2026, 1, 1, tzinfo=UTC))
    hosts = tuple(Host(name, cpus=8, memory_bytes=64 * GIB, link_bytes_per_s=1e9) for name in ("a", "b"))
    vms = tuple(VirtualMachine(name, name, "a", 1, 4 * GIB) for name in ("v1", "v2", "v3"))
    parts = (
        Component("disk:S1", Kind.DISK, "a", "sda", group="a/md0", spares=1, whole_host=True),
        Component("disk:S2", Kind.DISK, "a", "sdb", group="a/md0", spares=1, whole_host=True),
        Component("disk:D1", Kind.DISK, "a", "sdc", vms=("v1", "v2")),
    )
    return SimulatedDriver(Cluster(clock.now(), hosts=hosts, components=parts, vms=vms), (), clock), clock


def _move(vm: str) -> Move:
    return Move("m1", vm, vm, Criticality.NORMAL, "a", "b", "disk:D1", Kind.DISK, 0.5, 0.1, "drill", "a drill")


def _states(driver: SimulatedDriver) -> dict[str, VmState]:
    return {vm.id: vm.state for vm in driver.inventory().vms}


def test_a_dead_part_leaves_the_inventory_and_its_twin_has_no_spare_left() -> None:
    driver, _ = _driver()
    generation = driver.inventory().generation
    assert driver.fail_part("disk:S1") == ()
    cluster = driver.inventory()
    assert cluster.generation > generation
    assert "disk:S1" not in cluster.component_by_id
    assert cluster.component_by_id["disk:S2"].spares == 0


def test_a_replaced_part_stands_in_the_old_one_s_place_with_its_set_whole_again() -> None:
    driver, _ = _driver()
    driver.fail_part("disk:S1")
    new = Component("disk:S9", Kind.DISK, "a", "sda", group="a/md0", spares=1, whole_host=True)
    driver.replace_part("disk:S1", new)
    assert [(part.id, part.spares) for part in driver.inventory().components] == [
        ("disk:S9", 1),
        ("disk:S2", 1),
        ("disk:D1", 0),
    ]


def test_a_dead_data_disk_interrupts_only_the_vms_on_it_until_it_is_replaced() -> None:
    driver, _ = _driver()
    old = driver.inventory().component_by_id["disk:D1"]
    assert driver.fail_part("disk:D1") == ("v1", "v2")
    assert _states(driver) == {"v1": VmState.INTERRUPTED, "v2": VmState.INTERRUPTED, "v3": VmState.RUNNING}
    driver.replace_part("disk:D1", old)
    assert set(_states(driver).values()) == {VmState.RUNNING}


def test_a_new_disk_does_not_resume_vms_of_a_host_that_is_down() -> None:
    driver, _ = _driver()
    old = driver.inventory().component_by_id["disk:D1"]
    driver.fail_part("disk:D1")
    driver.fail_host("a")
    driver.replace_part("disk:D1", old)
    assert set(_states(driver).values()) == {VmState.INTERRUPTED}
    driver.repair_host("a")
    assert set(_states(driver).values()) == {VmState.RUNNING}


def test_a_vm_that_moved_away_no_longer_stands_on_the_disk() -> None:
    driver, clock = _driver()
    driver.start(_move("v1"))
    clock.sleep(60)
    assert driver.inventory().component_by_id["disk:D1"].vms == ("v2",)
    assert driver.fail_part("disk:D1") == ("v2",)


def test_a_move_off_a_disk_that_dies_fails_and_interrupts_its_vm() -> None:
    driver, clock = _driver()
    driver.start(_move("v1"))
    clock.sleep(1)
    assert "v1" in driver.fail_part("disk:D1")
    assert driver.poll(_move("v1")).state is MoveState.FAILED
    assert driver.audit() == ()


def test_a_vm_that_was_deleted_meanwhile_is_not_resumed() -> None:
    driver, _ = _driver()
    old = driver.inventory().component_by_id["disk:D1"]
    driver.fail_part("disk:D1")
    driver.remove_vm("v1")
    driver.replace_part("disk:D1", old)
    assert _states(driver) == {"v2": VmState.RUNNING, "v3": VmState.RUNNING}


def test_a_part_that_does_not_exist_cannot_die() -> None:
    driver, _ = _driver()
    with pytest.raises(ValueError, match="no part disk:X"):
        driver.fail_part("disk:X")
