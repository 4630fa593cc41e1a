"""What the check before a move refuses, by real hosts and guests; nothing has been started then."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.settings import HostSettings, LibvirtSettings
from forewarn.errors import MoveRefused
from forewarn.lab.libvirt.guests import Guest
from forewarn.lab.libvirt.host import Host
from forewarn.lab.libvirt.laboratory import Laboratory
from tests.integration.libvirt.moving import MIB, arrives, driver_of, goes_on, libvirt_settings, move_of

pytestmark = [pytest.mark.integration, pytest.mark.slow]

GUEST = Guest("vm-a", 1, disk_mib=16)
TIB = 2**40
RESERVED = Path("/proc/sys/vm/nr_hugepages")
PAGE = 2 * MIB


def refused(settings: LibvirtSettings, guest: Guest = GUEST) -> str:
    """Why it cannot go to host02; empty where it can."""
    driver = driver_of(settings)
    try:
        driver.check(move_of(guest, "host01", "host02"))
    except MoveRefused as error:
        return str(error)
    finally:
        driver.close()
    return ""


def other(settings: LibvirtSettings, lacks: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> LibvirtSettings:
    """The same, with a host02 of which the operator says this."""
    changed: HostSettings = replace(settings.hosts["host02"], lacks=lacks, groups=groups)
    return replace(settings, hosts={**settings.hosts, "host02": changed})


def test_a_target_without_what_a_guest_uses_or_without_room_is_refused(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    running(GUEST)
    settings = libvirt_settings(laboratory)
    assert refused(settings) == ""
    for lack in ("machine:pc-i440fx-10.0", "bridge:br0", "storage:/lab/shared", "virt:qemu"):
        assert refused(other(settings, lacks=(lack,))) == f"host02 lacks what vm-a needs: {lack}"
    told = refused(replace(settings, memory_kept_bytes=TIB))
    assert "MiB of memory free; vm-a needs 96 MiB beside the 1048576 MiB kept free" in told
    assert laboratory.where("vm-a") == ("host01",)


def test_a_guest_leaves_its_group_of_hosts_for_none_outside(
    laboratory: Laboratory, running: Callable[..., Host]
) -> None:
    here = running(GUEST)
    told = "<vm><group>licensed</group></vm>"
    here.virsh("metadata", "vm-a", "urn:forewarn:vm", "--key", "forewarn", "--set", told)
    settings = libvirt_settings(laboratory)
    assert refused(settings) == "host02 lacks what vm-a needs: group:licensed"
    assert refused(other(settings, groups=("licensed",))) == ""


@pytest.mark.nightly
def test_a_target_with_too_few_processors_is_refused(laboratory: Laboratory, running: Callable[..., Host]) -> None:
    wide = Guest("vm-wide", 4, vcpus=(os.cpu_count() or 1) + 1)
    running(wide)
    words = f"vm-wide has {wide.vcpus} virtual CPUs, more than the {os.cpu_count()} CPUs of host02"
    assert refused(libvirt_settings(laboratory), wide) == words


@pytest.fixture
def reserve(laboratory: Laboratory) -> Iterator[Callable[[int], None]]:
    """Sets huge pages aside for the hosts of the laboratory, whose kernel is this machine's."""
    hosts, before = laboratory.hosts[:2], RESERVED.read_text()

    def set_aside(pages: int) -> None:
        try:
            RESERVED.write_text(f"{pages}\n")
        except OSError as error:
            pytest.skip(f"no huge pages can be set aside on this machine: {error.strerror}")
        if int(RESERVED.read_text()) != pages:
            pytest.skip(f"this machine's memory is too scattered for {pages} huge pages")

    for host in hosts:
        host.node.run_inside("mkdir", "-p", "/dev/hugepages")
        host.node.run_inside("mount", "-t", "hugetlbfs", "hugetlbfs", "/dev/hugepages")
        host.kill_libvirt()  # it looks for such mounts when it starts
        host.start_libvirt()
    yield set_aside
    for host in hosts:
        for name in host.guests():
            host.virsh("destroy", name)
        host.node.run_inside("umount", "/dev/hugepages")
    RESERVED.write_text(before)


@pytest.mark.nightly
def test_huge_pages_that_are_not_free_on_a_target_refuse_a_guest_that_is_made_of_them(
    laboratory: Laboratory, reserve: Callable[[int], None]
) -> None:
    guest, here = Guest("vm-huge", 5), laboratory.host("host01")
    pages = guest.memory_mib * MIB // PAGE
    reserve(pages + 10)  # the guest takes them; ten are left, for either host
    backed = guest.xml().replace("<vcpu>", "<memoryBacking><hugepages/></memoryBacking><vcpu>")
    here.node.run_inside("virsh", "--quiet", "-c", "qemu:///system", "create", "/dev/stdin", text=backed)
    settings = libvirt_settings(laboratory)
    assert refused(settings, guest) == (f"host02 lacks {pages - 10} free huge pages of 2048 KiB; vm-huge needs {pages}")
    reserve(2 * pages)
    driver = driver_of(settings)
    arrives(driver, move_of(guest, "host01", "host02"))
    goes_on(laboratory, guest)
    driver.close()
