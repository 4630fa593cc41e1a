"""A host that cannot take a VM is refused in one sentence, before anything starts."""

from dataclasses import replace

import pytest

from forewarn.drivers.libvirt.guests import Disk, Guest, Source
from forewarn.drivers.libvirt.pages import Pages, lacking, parse_pages

pytest.importorskip("libvirt", reason="the binding to libvirt is not installed (make setup says why)")

from forewarn.drivers.libvirt.fitness import MIB, Passenger, Room, unfit_because

HUGE = 2 * MIB
DISK = Disk("vda", "disk", (Source("file", "/var/vms/a.raw"),))
GUEST = Guest("u", "web", vcpus=2, memory_max_bytes=1024 * MIB, disks=(DISK,))
ROOM = Room(qemu=10_000_002, cpus=4, free_bytes=4096 * MIB)


def reason(vm: Passenger, target: Room, source: Room = ROOM) -> str:
    return unfit_because(vm, source, target, "b", 512 * MIB)


def test_a_host_with_room_for_everything_is_fit() -> None:
    assert reason(Passenger(GUEST), ROOM) == ""


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (replace(ROOM, active=True), "web is active on b already"),
        (replace(ROOM, name_taken=True), "b has another VM of the name web"),
        (
            replace(ROOM, qemu=7_002_022),
            "b runs QEMU 7.2.22, which is older than the 10.0.2 under which web runs",
        ),
        (replace(ROOM, cpus=1), "web has 2 virtual CPUs, more than the 1 CPUs of b"),
        (replace(ROOM, cpu_fits=False), "the CPU of b lacks what web uses"),
        (
            replace(ROOM, free_bytes=1535 * MIB),
            "b has 1535 MiB of memory free; web needs 1024 MiB beside the 512 MiB kept free",
        ),
    ],
)
def test_what_speaks_against_a_host_is_told(target: Room, words: str) -> None:
    assert reason(Passenger(GUEST), target) == words


def test_a_newer_qemu_is_fit() -> None:
    assert reason(Passenger(GUEST), ROOM, replace(ROOM, qemu=7_002_022)) == ""


def test_what_a_host_has_no_answer_to_is_no_reason_against_it() -> None:
    assert reason(Passenger(GUEST), replace(ROOM, free_bytes=None, cpu_fits=None)) == ""


def test_memory_in_huge_pages_needs_no_ordinary_memory() -> None:
    vm = Passenger(GUEST, pages=(Pages(HUGE, 512),))
    assert reason(vm, replace(ROOM, free_bytes=512 * MIB, free_pages={(0, HUGE): 512})) == ""


def test_huge_pages_are_counted_on_the_node_that_must_give_them() -> None:
    vm = Passenger(GUEST, pages=(Pages(HUGE, 512, node=1),))
    free = {(0, HUGE): 4096, (1, HUGE): 500}
    assert reason(vm, replace(ROOM, free_pages=free)) == (
        "b lacks 12 free huge pages of 2048 KiB on NUMA node 1; web needs 512"
    )
    assert reason(replace(vm, pages=(Pages(HUGE, 512),)), replace(ROOM, free_pages=free)) == ""


def test_pages_of_another_size_do_not_count() -> None:
    assert lacking((Pages(HUGE, 1),), {(0, 2**30): 8}) == (Pages(HUGE, 1), 1)


def test_a_copy_never_goes_over_a_file_that_is_there() -> None:
    vm = Passenger(GUEST, copied={"vda": 10 * MIB})
    target = replace(ROOM, there=frozenset({"vda"}), free_around={"vda": 100 * MIB})
    assert reason(vm, target).startswith("b has a file /var/vms/a.raw already, over which disk vda is not copied")


@pytest.mark.parametrize(
    ("around", "words"),
    [
        ({}, "b has no active storage pool for /var/vms/a.raw, into which disk vda could be copied"),
        ({"vda": 9 * MIB}, "b has 9 MiB free for disk vda, which has 10 MiB"),
        ({"vda": 10 * MIB}, ""),
    ],
)
def test_a_copy_needs_a_pool_with_room(around: dict[str, int], words: str) -> None:
    assert reason(Passenger(GUEST, copied={"vda": 10 * MIB}), replace(ROOM, free_around=around)) == words


def document(backing: str, cells: str = "", tuned: str = "") -> str:
    cpu = f"<cpu><numa>{cells}</numa></cpu>" if cells else ""
    return (
        f"<domain><memory unit='MiB'>64</memory>{cpu}<numatune>{tuned}</numatune>"
        f"<memoryBacking>{backing}</memoryBacking></domain>"
    )


TWO_CELLS = "<cell id='0' memory='32' unit='MiB'/><cell id='1' memory='32' unit='MiB'/>"


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        (document(""), ()),
        (document("<hugepages/>"), (Pages(HUGE, 32),)),
        (document("<hugepages><page size='1' unit='GiB'/></hugepages>"), (Pages(2**30, 1),)),
        (
            document("<hugepages><page size='2048' unit='KiB' nodeset='1'/></hugepages>", TWO_CELLS),
            (Pages(HUGE, 16),),
        ),
        (
            document("<hugepages/>", TWO_CELLS, "<memnode cellid='1' mode='strict' nodeset='3'/>"),
            (Pages(HUGE, 16), Pages(HUGE, 16, node=3)),
        ),
        (
            document("<hugepages/>", TWO_CELLS, "<memnode cellid='1' mode='preferred' nodeset='3'/>"),
            (Pages(HUGE, 16), Pages(HUGE, 16)),
        ),
    ],
)
def test_a_guests_document_tells_its_huge_pages(text: str, pages: tuple[Pages, ...]) -> None:
    assert parse_pages(text) == pages
