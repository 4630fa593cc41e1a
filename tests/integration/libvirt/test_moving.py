"""Guests that move while they run: they count on, lose nothing, and leave no definition behind."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.domain.inventory import Kind, VmState
from forewarn.domain.plan import MoveState
from forewarn.drivers.libvirt.move_settings import How
from forewarn.errors import MoveRefused
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from tests.integration.libvirt.moving import (
    MIB,
    arrives,
    define,
    defined_on,
    driver_of,
    end_of,
    goes_on,
    libvirt_settings,
    move_of,
    pinged,
    starts_at_boot,
    under_way,
)
from tests.support import eventually

pytestmark = pytest.mark.integration

ON_SHARED = Guest("vm-a", 1, disk_mib=16)
ON_LOCAL = Guest("vm-b", 2, disk_mib=16, disk_shared=False)


@pytest.fixture
def pools(laboratory: Laboratory) -> Iterator[None]:
    """Hosts that can take copied disks: the folder of each is a pool."""
    for host in laboratory.hosts:
        host.virsh("pool-create-as", "local", "dir", "--target", "/lab/local")
    yield
    for host in laboratory.hosts:
        host.virsh("pool-destroy", "local")


@pytest.mark.usefixtures("pools")
@pytest.mark.parametrize("guest", [ON_SHARED, ON_LOCAL], ids=["shared disk", "copied disk"])
@pytest.mark.parametrize("how", [How.PEER_TO_PEER, How.MANAGED])
def test_a_guest_moves_without_losing_a_beat(
    laboratory: Laboratory,
    running: Callable[..., Host],
    tmp_path: Path,
    record_testsuite_property: Callable[[str, object], None],
    how: How,
    guest: Guest,
) -> None:
    source, target = running(guest), laboratory.host("host02")
    define(source, guest)
    driver = driver_of(libvirt_settings(laboratory, how, copy_disks=True))
    with pinged(laboratory, guest, tmp_path) as answers:
        progress = arrives(driver, move_of(guest, "host01", "host02"))
    assert laboratory.where(guest.name) == defined_on(laboratory, guest) == ("host02",)
    assert starts_at_boot(target, guest)
    assert "urn:forewarn:move" not in target.virsh("dumpxml", guest.name)
    goes_on(laboratory, guest)
    assert [vm.host for vm in driver.inventory().vms] == ["host02"]
    gap = answers.longest_gap_ms()
    measured = f"{progress.downtime_ms:.0f} ms by libvirt, {gap:.0f} ms without an answer to pings"
    record_testsuite_property(f"downtime of {guest.name} moved {how}", measured)
    assert 0 < progress.downtime_ms < gap + 100
    copied = f"the image of its copied disk vda is still on {source.name}"
    assert progress.left_behind == (copied if guest is ON_LOCAL else "")


def test_a_guest_without_a_definition_gets_none(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    guest = Guest("vm-c", 3)
    running(guest)
    arrives(driver_of(libvirt_settings(laboratory)), move_of(guest, "host01", "host02"))
    assert laboratory.where(guest.name) == ("host02",)
    assert "Persistent:     no" in laboratory.host("host02").virsh("dominfo", guest.name)


def test_a_guest_is_sent_over_several_connections_at_once(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    source = running(ON_SHARED)

    def qemu(question: str) -> Any:
        answer = source.virsh("qemu-monitor-command", "vm-a", f'{{"execute": "{question}"}}')
        return json.loads(answer)["return"]

    driver = driver_of(libvirt_settings(laboratory, parallel_connections=3, bandwidth_bytes_per_s=24 * MIB))
    move = move_of(ON_SHARED, "host01", "host02")
    driver.start(move)
    under_way(driver, move)
    assert {"capability": "multifd", "state": True} in qemu("query-migrate-capabilities")
    assert qemu("query-migrate-parameters")["multifd-channels"] == 3
    assert end_of(driver, move).state is MoveState.SUCCEEDED
    assert laboratory.where("vm-a") == ("host02",)
    goes_on(laboratory, ON_SHARED)


def test_a_cancelled_move_leaves_the_guest_where_it_was(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    source = running(ON_SHARED)
    define(source, ON_SHARED)
    driver = driver_of(libvirt_settings(laboratory, bandwidth_bytes_per_s=2 * MIB))
    move = move_of(ON_SHARED, "host01", "host02")
    driver.start(move)
    assert under_way(driver, move).progress < 0.5  # the limit holds: else it would have ended by now
    assert [vm.state for vm in driver.inventory().vms] == [VmState.MIGRATING]
    with pytest.raises(MoveRefused, match="is being moved already"):
        driver.start(move_of(ON_SHARED, "host01", "host03"))
    driver.cancel(move)
    assert end_of(driver, move, 30).state is MoveState.CANCELLED
    assert laboratory.where(ON_SHARED.name) == defined_on(laboratory, ON_SHARED) == ("host01",)
    assert starts_at_boot(source, ON_SHARED)
    assert "urn:forewarn:move" not in source.virsh("dumpxml", ON_SHARED.name)
    goes_on(laboratory, ON_SHARED)


@pytest.mark.usefixtures("pools")
def test_what_cannot_move_is_refused_before_anything_is_sent(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(ON_LOCAL)
    move = move_of(ON_LOCAL, "host01", "host02")
    with pytest.raises(MoveRefused, match=r"vm-b cannot leave host01: disk vda .*libvirt\.copy_disks"):
        driver_of(libvirt_settings(laboratory)).start(move)
    driver = driver_of(libvirt_settings(laboratory, copy_disks=True))
    with pytest.raises(MoveRefused, match="on host01 alone, where a disk may fail"):
        driver.start(move_of(ON_LOCAL, "host01", "host02", Kind.DISK))
    with pytest.raises(MoveRefused, match="the network link eth0 of host01 may carry the migration itself"):
        driver.start(move_of(ON_LOCAL, "host01", "host02", Kind.NETWORK, device="eth0"))
    (laboratory.host("host02").local / "vm-b.img").write_bytes(b"of somebody else")
    with pytest.raises(MoveRefused, match=r"host02 has a file /lab/local/vm-b\.img already"):
        driver.start(move)
    assert (laboratory.host("host02").local / "vm-b.img").read_bytes() == b"of somebody else"
    assert laboratory.where("vm-b") == ("host01",)
    assert driver.poll(move).state is MoveState.FAILED
    assert laboratory.host("host02").virsh("list", "--all", "--name").split() == []


@pytest.mark.usefixtures("pools")
def test_a_copy_is_refused_where_a_pool_has_been_filled_since_it_last_looked(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(ON_LOCAL)
    target = laboratory.host("host02")
    driver = driver_of(libvirt_settings(laboratory, copy_disks=True))
    move = move_of(ON_LOCAL, "host01", "host02")
    target.node.run_inside("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", "/lab/local")
    try:
        target.virsh("pool-refresh", "local")
        driver.check(move)
        target.node.run_inside("dd", "if=/dev/zero", "of=/lab/local/somebody", "bs=1M", "count=12")
        with pytest.raises(MoveRefused, match="host02 has 12 MiB free for disk vda, which has 16 MiB"):
            driver.check(move)
    finally:
        target.node.run_inside("umount", "/lab/local")


def test_a_guest_that_its_owner_paused_where_it_arrived_has_arrived_and_stays_paused(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(ON_SHARED)
    target = laboratory.host("host02")
    driver, move = driver_of(libvirt_settings(laboratory)), move_of(ON_SHARED, "host01", "host02")
    driver.start(move)
    eventually(lambda: laboratory.where("vm-a") == ("host02",), deadline=60)
    target.virsh("suspend", "vm-a")
    assert end_of(driver, move).state is MoveState.SUCCEEDED
    assert target.virsh("domstate", "--reason", "vm-a").strip() == "paused (user)"
    assert "urn:forewarn:move" not in target.virsh("dumpxml", "vm-a")
    target.virsh("resume", "vm-a")
    goes_on(laboratory, ON_SHARED)


def test_a_definition_left_at_the_source_is_taken_away_once_the_guest_runs_elsewhere(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    guest = Guest("vm-c", 3)
    source, target = running(guest), laboratory.host("host02")
    source.virsh("migrate", "--live", "--p2p", guest.name, target.peer_uri)  # somebody's half-done move
    define(source, guest)
    driver = driver_of(libvirt_settings(laboratory))
    assert driver.poll(move_of(guest, "host01", "host02")).state is MoveState.SUCCEEDED
    assert defined_on(laboratory, guest) == laboratory.where(guest.name) == ("host02",)
    goes_on(laboratory, guest)
