"""What a host offers and what a guest needs, as words that are compared and shown: `bridge:br0`, `machine:q35`. Pure.

A word is a family and a name. A guest needs of a target what it uses where it is, in the families that its own host
tells of: what libvirt cannot tell (a read-only connection hides the CPU models) is left to the check before a move.

    arch, virt, emulator, machine   how the guest is run
    cpu                             a named model; `cpu:host/...` the very processor, for a guest that is shown it whole
    firmware                        the UEFI image
    bridge, network, link           what its interfaces hang on: bridges, libvirt's networks, devices of the host
    storage, pool                   directories and pools that hold its disks
    hugepages                       a size in KiB that is set aside
    pcpu, node                      CPUs and NUMA nodes that it is pinned to, by number
    group                           a group of hosts that its owner keeps it to
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from forewarn.drivers.libvirt.capabilities import KIB, Capabilities, DomainCapabilities, Network
from forewarn.drivers.libvirt.guests import Guest
from forewarn.drivers.libvirt.settings import HostSettings
from forewarn.drivers.libvirt.storage import Storage

ALWAYS = frozenset({"group", "storage"})  # families that every host tells of


@dataclass(frozen=True)
class Facts:
    """What is known of a host and seldom changes."""

    capabilities: Capabilities = field(default_factory=Capabilities)
    domain_capabilities: DomainCapabilities = field(default_factory=DomainCapabilities)
    networks: tuple[Network, ...] | None = None  # None where libvirt has no driver that lists them; so below
    bridges: frozenset[str] | None = None
    links: frozenset[str] = frozenset()  # network devices
    storage: Storage = field(default_factory=Storage)


def offers(facts: Facts, settings: HostSettings) -> frozenset[str]:
    """Everything that a host offers, as libvirt and the settings say."""
    return (frozenset(_offered(facts)) | _groups(settings.groups) | set(settings.offers)) - set(settings.lacks)


def _groups(names: Iterable[str]) -> frozenset[str]:
    return frozenset(f"group:{name}" for name in names)


def _offered(facts: Facts) -> Iterator[str]:
    able, more = facts.capabilities, facts.domain_capabilities
    families: tuple[tuple[str, Iterable[object]], ...] = (
        ("arch", able.archs),
        ("virt", able.virt_types),
        ("emulator", able.emulators),
        ("machine", able.machines),
        ("cpu", more.cpu_models),
        ("firmware", more.firmware),
        ("hugepages", (size // KIB for size in able.huge_pages)),
        ("pcpu", able.cpus),
        ("node", (node.id for node in able.nodes)),
        ("bridge", _bridges(facts)),
        ("link", facts.links),
        ("network", (net.name for net in facts.networks or ())),
    )
    for family, names in families:
        yield from (f"{family}:{name}" for name in names)
    if able.cpu_model:
        yield _whole_cpu(able)
    yield from facts.storage.offers()


def _bridges(facts: Facts) -> Iterator[str]:
    """The host's bridges; none at all where only those of libvirt's own networks are known."""
    if facts.bridges is not None:
        yield from facts.bridges
        yield from (net.bridge for net in facts.networks or () if net.bridge)


def _whole_cpu(able: Capabilities) -> str:
    """The very processor: its model, and a digest of what it can do beyond it."""
    beyond = hashlib.sha256("\n".join(sorted(able.cpu_features)).encode()).hexdigest()[:8]
    return f"cpu:host/{able.cpu_vendor}-{able.cpu_model}-{beyond}"


def needs(guest: Guest, facts: Facts, offered: frozenset[str]) -> frozenset[str]:
    """What a target must offer this guest. `facts` and `offered` are those of the host that it is on."""
    families = _families(offered)
    wanted = {word for word in _wanted(guest, facts) if word.partition(":")[0] in families}
    return frozenset(wanted) | _groups(guest.metadata.groups)


@lru_cache(maxsize=4096)  # one entry a host, asked for each of its guests
def _families(offered: frozenset[str]) -> frozenset[str]:
    """The families of which a host tells."""
    return ALWAYS | {word.partition(":")[0] for word in offered}


def _wanted(guest: Guest, facts: Facts) -> Iterator[str]:
    single = {"arch": guest.arch, "virt": guest.virt_type, "emulator": guest.emulator, "machine": guest.machine}
    yield from (f"{family}:{name}" for family, name in single.items() if name)
    yield from _processor(guest, facts)
    if guest.loader:
        yield f"firmware:{guest.loader}"
    families = {"bridge": "bridge", "network": "network", "direct": "link"}
    for interface in guest.interfaces:
        if interface.kind in families and interface.source:
            yield f"{families[interface.kind]}:{interface.source}"
    for disk in guest.disks:
        yield from filter(None, map(facts.storage.need, disk.chain))


def _processor(guest: Guest, facts: Facts) -> Iterator[str]:
    if guest.cpu_mode in ("host-passthrough", "maximum") and guest.virt_type == "kvm" and facts.capabilities.cpu_model:
        yield _whole_cpu(facts.capabilities)
    elif guest.cpu_mode == "custom" and guest.cpu_model and facts.domain_capabilities.cpu_models:
        yield f"cpu:{guest.cpu_model}"
    yield from (f"hugepages:{size // KIB}" for size in _huge_pages(guest, facts))
    yield from (f"pcpu:{cpu}" for cpu in guest.pinned_cpus)
    yield from (f"node:{node}" for node in guest.pinned_nodes)


def _huge_pages(guest: Guest, facts: Facts) -> Iterator[int]:
    """The sizes that the guest needs; the host's default size is the smallest that it has set aside."""
    smallest = min(facts.capabilities.huge_pages, default=0)
    return (size for size in {size or smallest for size in guest.huge_pages_bytes} if size)
