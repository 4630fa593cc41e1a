"""Whether a host can take a VM now: what changes from minute to minute, asked before anything starts.

What seldom changes (machine types, networks, pools) the inventory knows as what hosts offer. `read` asks a host;
`unfit_because` is pure. What libvirt has no answer to is no reason against a host: the migration itself finds it out,
with the VM going on where it is.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import libvirt

from forewarn.drivers.libvirt.documents import root, text_of
from forewarn.drivers.libvirt.guests import Disk, Guest
from forewarn.drivers.libvirt.looks import Connection
from forewarn.drivers.libvirt.pages import ANY_NODE, KIB, Pages, lacking
from forewarn.drivers.libvirt.picture import versions
from forewarn.drivers.libvirt.storage import within

MIB = 1024**2
T = TypeVar("T")

UNANSWERED = frozenset(
    {
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_INVALID_ARG,
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_NO_STORAGE_VOL,
        libvirt.VIR_ERR_XML_ERROR,
    }
)


@dataclass(frozen=True, slots=True)
class Passenger:
    """A guest that is to move, beside what the inventory reads of it."""

    guest: Guest
    pages: tuple[Pages, ...] = ()
    cpu: str = ""  # its CPU as libvirt would ask it of a target; empty: the machine's default
    copied: Mapping[str, int] = field(default_factory=dict)  # disks that are copied along, and their sizes in bytes

    @property
    def ordinary_bytes(self) -> int:
        """Its memory that is not backed by huge pages."""
        huge = sum(pages.size_bytes * pages.count for pages in self.pages)
        return max(0, self.guest.memory_max_bytes - huge)

    @property
    def copies(self) -> tuple[Disk, ...]:
        """The disks that are copied along."""
        return tuple(disk for disk in self.guest.disks if disk.target in self.copied)


@dataclass(frozen=True, slots=True)
class Room:
    """What a host has for a passenger. None: it has no answer."""

    qemu: int = 0  # as libvirt counts versions
    cpus: int = 0
    free_bytes: int | None = None
    cpu_fits: bool | None = None
    free_pages: Mapping[tuple[int, int], int] = field(default_factory=dict)  # by NUMA node and size
    free_around: Mapping[str, int] = field(default_factory=dict)  # bytes in the pool around a copied disk, by target
    there: frozenset[str] = frozenset()  # copied disks in whose place is a file already, by target
    active: bool = False  # the VM itself
    name_taken: bool = False  # by another VM


def unfit_because(vm: Passenger, source: Room, target: Room, name: str, kept_bytes: int) -> str:
    """Why the host called `name`, which keeps `kept_bytes` free, cannot take the VM, in words; empty if it can."""
    reasons = (
        _taken(vm.guest, target, name),
        _processor(vm.guest, source, target, name),
        _memory(vm, target, name, kept_bytes),
        _pages(vm, target, name),
        *(_copy(disk, vm.copied[disk.target], target, name) for disk in vm.copies),
    )
    return next(filter(None, reasons), "")


def _taken(guest: Guest, target: Room, name: str) -> str:
    if target.active:
        return f"{guest.name} is active on {name} already"
    return f"{name} has another VM of the name {guest.name}" if target.name_taken else ""


def _processor(guest: Guest, source: Room, target: Room, name: str) -> str:
    if target.qemu < source.qemu:
        newer, older = versions(source.qemu), versions(target.qemu)
        return f"{name} runs QEMU {older}, which is older than the {newer} under which {guest.name} runs"
    if guest.vcpus > target.cpus > 0:
        return f"{guest.name} has {guest.vcpus} virtual CPUs, more than the {target.cpus} CPUs of {name}"
    return f"the CPU of {name} lacks what {guest.name} uses" if target.cpu_fits is False else ""


def _memory(vm: Passenger, target: Room, name: str, kept_bytes: int) -> str:
    if target.free_bytes is None or target.free_bytes >= vm.ordinary_bytes + kept_bytes:
        return ""
    free, needed, kept = (size // MIB for size in (target.free_bytes, vm.ordinary_bytes, kept_bytes))
    return f"{name} has {free} MiB of memory free; {vm.guest.name} needs {needed} MiB beside the {kept} MiB kept free"


def _pages(vm: Passenger, target: Room, name: str) -> str:
    lack = lacking(vm.pages, target.free_pages)
    if lack is None:
        return ""
    wanted, missing = lack
    where = "" if wanted.node == ANY_NODE else f" on NUMA node {wanted.node}"
    size = wanted.size_bytes // KIB
    return f"{name} lacks {missing} free huge pages of {size} KiB{where}; {vm.guest.name} needs {wanted.count}"


def _copy(disk: Disk, size: int, target: Room, name: str) -> str:
    """A copy never goes over what is there: it may be the very disk, on storage that nobody declared as shared."""
    place = disk.chain[0].path
    if disk.target in target.there:
        return (
            f"{name} has a file {place} already, over which disk {disk.target} is not copied; declare the directory "
            "in libvirt.shared_directories if it is shared, remove the file if it is left over"
        )
    free = target.free_around.get(disk.target)
    if free is None:
        return f"{name} has no active storage pool for {place}, into which disk {disk.target} could be copied"
    if free < size:
        return f"{name} has {free // MIB} MiB free for disk {disk.target}, which has {size // MIB} MiB"
    return ""


# --- asking ---------------------------------------------------------------------------------------------


def read(vm: Passenger) -> Callable[[Connection], Room]:
    """The question to a host's connection."""
    guest = vm.guest

    def ask(connection: Connection) -> Room:
        around = {disk.target: _around(connection, disk) for disk in vm.copies}
        return Room(
            qemu=connection.getVersion(),
            cpus=connection.getInfo()[2],
            free_bytes=_optional(lambda: _free_bytes(connection)),
            cpu_fits=_optional(lambda: _cpu_fits(connection, vm)) if vm.cpu else None,
            free_pages=_optional(lambda: _free_pages(connection, vm)) or {},
            free_around={target: pool.info()[3] for target, pool in around.items() if pool is not None},
            there=frozenset(disk.target for disk in vm.copies if _is_there(connection, disk, around[disk.target])),
            active=bool(_optional(lambda: connection.lookupByUUIDString(guest.uuid).isActive())),
            name_taken=_optional(lambda: connection.lookupByName(guest.name).UUIDString() != guest.uuid) or False,
        )

    return ask


def _optional(ask: Callable[[], T]) -> T | None:
    """The answer, or None where the host has none; a host that fails to answer fails here too."""
    try:
        return ask()
    except libvirt.libvirtError as error:
        if error.get_error_code() in UNANSWERED:
            return None
        raise


def _free_bytes(connection: Connection) -> int:
    """What could be given to a guest: free memory, and what is only cached."""
    stats = connection.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    return int(sum(stats.get(key, 0) for key in ("free", "buffers", "cached"))) * KIB


def _cpu_fits(connection: Connection, vm: Passenger) -> bool:
    guest = vm.guest
    asked = (guest.emulator or None, guest.arch or None, guest.machine or None, guest.virt_type or None, vm.cpu, 0)
    return bool(connection.compareHypervisorCPU(*asked) >= libvirt.VIR_CPU_COMPARE_IDENTICAL)


def _free_pages(connection: Connection, vm: Passenger) -> dict[tuple[int, int], int]:
    sizes = sorted({pages.size_bytes // KIB for pages in vm.pages})
    if not sizes:
        return {}
    found = connection.getFreePages(sizes, 0, connection.getInfo()[4])
    return {(int(node), int(size) * KIB): int(count) for node, by in found.items() for size, count in by.items()}


def _around(connection: Connection, disk: Disk) -> Any:
    """The active pool in whose directory the disk would lie, or None.

    It has looked anew: a pool knows what came or was filled by another way only then.
    """
    for pool in connection.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE):
        directory = text_of(root(pool.XMLDesc(0), "pool", "a storage pool").find("target/path"))
        if directory and within(disk.chain[0].path, directory):
            pool.refresh(0)
            return pool
    return None


def _is_there(connection: Connection, disk: Disk, pool: Any) -> bool:
    return pool is not None and bool(_optional(lambda: connection.storageVolLookupByPath(disk.chain[0].path).name()))
