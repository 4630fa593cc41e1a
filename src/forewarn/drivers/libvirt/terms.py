"""On which terms one move is made: flags and parameters of libvirt's call, or the sentence why there are none. Pure.

The order of refusal is that of the questions an operator would ask: its disks, the link, post-copy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import libvirt

from forewarn.domain.inventory import Kind
from forewarn.domain.plan import Move
from forewarn.drivers.libvirt.guests import Guest
from forewarn.drivers.libvirt.movable import immovable_because
from forewarn.drivers.libvirt.move_settings import How, MoveSettings
from forewarn.drivers.libvirt.storage import Storage
from forewarn.errors import MoveRefused

MIB = 1024**2
PARALLEL_SINCE = 4_000_000  # QEMU's version as libvirt counts it: major * 1,000,000 + minor * 1,000


@dataclass(frozen=True, slots=True)
class Standing:
    """What the source says of the VM beside its XML. `qemu` is the older version of both ends."""

    persistent: bool
    autostart: bool = False
    qemu: int = 0
    disk_bytes: Mapping[str, int] = field(default_factory=dict)  # capacity by target


@dataclass(frozen=True, slots=True)
class Terms:
    """One move, ready to be called. `peer_uri` is where the source's daemon finds the target's; empty: managed only."""

    flags: int
    parameters: Mapping[str, object]
    peer_uri: str
    managed: bool  # whether it may be led from here
    deadline_s: float
    throttle_max: int  # per cent
    post_copy: bool
    copied: tuple[str, ...] = ()  # disks, by their targets


def terms(
    move: Move, guest: Guest, storage: Storage, standing: Standing, target_uri: str, settings: MoveSettings
) -> Terms:
    """How `move` is made, of a guest whose disks lie in `storage`. Raises MoveRefused with what to do."""
    copied, unsafe = _disks(move, guest, storage, settings)
    address = _address(move, settings)
    peer = _peer_uri(move, address, target_uri, settings) if settings.how is not How.MANAGED else ""
    if settings.how is How.PEER_TO_PEER and not peer:
        raise MoveRefused(f"{move.source} cannot be told where {move.target} is; set libvirt.moves.peer_uri")
    throttle = settings.throttle.ceiling(move.criticality)
    post_copy = move.kind in settings.post_copy_for and not copied
    sent = guest.memory_max_bytes + sum(standing.disk_bytes.get(disk, 0) for disk in copied)
    parallel = _parallel(standing, settings) and not post_copy
    chosen = {
        libvirt.VIR_MIGRATE_LIVE: True,
        libvirt.VIR_MIGRATE_PERSIST_DEST: standing.persistent,
        libvirt.VIR_MIGRATE_UNDEFINE_SOURCE: standing.persistent,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: bool(copied),
        libvirt.VIR_MIGRATE_UNSAFE: unsafe,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: throttle > 0,
        libvirt.VIR_MIGRATE_POSTCOPY: post_copy,
        libvirt.VIR_MIGRATE_TLS: settings.tls,
        libvirt.VIR_MIGRATE_PARALLEL: parallel,
    }
    return Terms(
        flags=sum(flag for flag, wanted in chosen.items() if wanted),
        parameters=_parameters(copied, address, throttle, settings, parallel=parallel),
        peer_uri=peer,
        managed=settings.how is not How.PEER_TO_PEER,
        deadline_s=settings.deadline_s(sent),
        throttle_max=throttle,
        post_copy=post_copy,
        copied=copied,
    )


def _disks(move: Move, guest: Guest, storage: Storage, settings: MoveSettings) -> tuple[tuple[str, ...], bool]:
    """The disks that are copied, by target, and whether others rest on the operator's word that they are shared."""
    why = immovable_because(guest, storage)
    if why:
        raise MoveRefused(f"{move.vm_name} cannot leave {move.source}: {why}")
    copied = tuple(disk.target for disk in guest.disks if not all(map(storage.is_shared, disk.chain)))
    if copied and move.kind is Kind.DISK and not settings.copy_from_suspected_disk:
        raise MoveRefused(
            f"disk {copied[0]} of {move.vm_name} is on {move.source} alone, where a disk may fail; copying reads all "
            "of it, which libvirt.moves.copy_from_suspected_disk allows"
        )
    kept = (disk for disk in guest.disks if disk.target not in copied)
    return copied, any(source.kind != "network" for disk in kept for source in disk.chain)


def _address(move: Move, settings: MoveSettings) -> str:
    """The target's address over which to send; empty: libvirt chooses."""
    mine = [link for link in settings.links if link.host == move.source]
    suspected = move.kind is Kind.NETWORK
    usable = [link for link in mine if not suspected or (move.device and link.device != move.device)]
    for link in usable:
        for theirs in settings.links:
            if theirs.host == move.target and theirs.network == link.network:
                return theirs.address
    if suspected:
        named = move.device or "that may fail"
        raise MoveRefused(
            f"the network link {named} of {move.source} may carry the migration itself, and no other one to "
            f"{move.target} is configured; name the hosts' links in libvirt.moves.links"
        )
    return ""


def _peer_uri(move: Move, address: str, target_uri: str, settings: MoveSettings) -> str:
    if settings.peer_uri:
        return settings.peer_uri.format(address=address or move.target, host=move.target)
    return target_uri if urlsplit(target_uri).hostname else ""


def _parallel(standing: Standing, settings: MoveSettings) -> bool:
    """Whether several connections can be used; QEMU joins them with post-copy only in its newest versions."""
    return settings.parallel_connections > 1 and standing.qemu >= PARALLEL_SINCE


def _parameters(
    copied: tuple[str, ...], address: str, throttle: int, settings: MoveSettings, *, parallel: bool
) -> Mapping[str, object]:
    found: dict[str, object] = {}
    if address:
        found[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{_bracketed(address)}"
    if settings.bandwidth_bytes_per_s > 0:
        found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = max(1, round(settings.bandwidth_bytes_per_s / MIB))
    if copied:
        found[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(copied)
    if throttle > 0:
        found[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL] = min(throttle, settings.throttle.first)
        found[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT] = settings.throttle.step
    if parallel:
        found[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = settings.parallel_connections
    return found


def _bracketed(address: str) -> str:
    """An address as it stands in a URI.

    >>> _bracketed("fd00::1")
    '[fd00::1]'
    """
    return f"[{address}]" if ":" in address else address
