"""What a host is to VMs, as its placement service tells: versions, processor, NUMA nodes, storage pools, networks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HugePages:
    """Huge pages of one size that are set aside on a NUMA node, in use or not."""

    size_bytes: int
    count: int


@dataclass(frozen=True, slots=True)
class NumaNode:
    """One NUMA node: its CPUs by number of them, its memory, and the huge pages in it."""

    id: int
    cpus: int
    memory_bytes: int
    huge_pages: tuple[HugePages, ...] = ()


@dataclass(frozen=True, slots=True)
class StoragePool:
    """Storage from which VMs get disks. `path` is the directory in which they lie, where there is one."""

    name: str
    type: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class VirtualNetwork:
    """A network of the placement service. `bridge` is the host's device for it, where it has one of its own."""

    name: str
    mode: str = ""
    bridge: str = ""


@dataclass(frozen=True, slots=True)
class Hypervisor:
    """Empty is what its placement service does not tell. Versions bear their names: `QEMU 10.0.2`, `libvirt 11.3.0`."""

    emulator: str = ""
    service: str = ""
    cpu_model: str = ""
    microcode: str = ""
    nodes: tuple[NumaNode, ...] = ()
    pools: tuple[StoragePool, ...] = ()
    networks: tuple[VirtualNetwork, ...] = ()
