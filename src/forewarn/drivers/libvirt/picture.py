"""What one look at a host found: plain values, no libvirt."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from forewarn.domain.hypervisor import HugePages, Hypervisor, NumaNode, StoragePool, VirtualNetwork
from forewarn.domain.inventory import Remark
from forewarn.drivers.libvirt.capabilities import Node
from forewarn.drivers.libvirt.guests import Guest
from forewarn.drivers.libvirt.words import Facts

Stats = Mapping[str, Any]  # of one guest, as virConnectGetAllDomainStats names them


@dataclass(frozen=True, slots=True)
class Seen:
    """One guest as a look found it. `digest` is that of its document: the same document is read once."""

    guest: Guest
    state: int  # libvirt's virDomainState
    running: bool  # it has a QEMU, whatever that does
    autostart: bool = False
    leaving: bool = False
    arriving: bool = False
    jobs: tuple[str, ...] = ()
    busy: bool = False  # its QEMU could not be asked; what is told is what was known
    unread: str = ""  # why its document could not be read
    digest: bytes = b""


@dataclass(frozen=True)
class Picture:
    """Everything that one look found."""

    host_name: str = ""  # as libvirt tells it
    libvirt_version: int = 0  # 11003000 for 11.3.0
    qemu_version: int = 0
    facts: Facts = field(default_factory=Facts)
    link_bytes_per_s: float = 0.0  # of the slowest network device that tells its speed
    guests: Mapping[str, Seen] = field(default_factory=dict)  # by UUID
    stats: Mapping[str, Stats] = field(default_factory=dict)  # likewise, of those that run
    remarks: tuple[Remark, ...] = ()
    lasting: tuple[Remark, ...] = ()  # of them those that come with the facts


def hypervisor_of(picture: Picture) -> Hypervisor:
    """What people are shown of a host."""
    facts = picture.facts
    able = facts.capabilities
    return Hypervisor(
        emulator=f"QEMU {versions(picture.qemu_version)}" if picture.qemu_version else "",
        service=f"libvirt {versions(picture.libvirt_version)}" if picture.libvirt_version else "",
        cpu_model=" ".join(filter(None, (able.cpu_vendor, able.cpu_model))),
        microcode=able.microcode,
        nodes=tuple(map(_node, able.nodes)),
        pools=tuple(StoragePool(pool.name, pool.type, pool.path) for pool in facts.storage.pools),
        networks=tuple(VirtualNetwork(net.name, net.mode, net.bridge) for net in facts.networks or ()),
    )


def _node(node: Node) -> NumaNode:
    huge = tuple(HugePages(pages.size_bytes, pages.count) for pages in node.pages[1:] if pages.count)
    return NumaNode(node.id, len(node.cpus), node.memory_bytes, huge)


def versions(number: int) -> str:
    """A version as libvirt gives it, as people write it.

    >>> versions(11003000)
    '11.3.0'
    """
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"
