"""How libvirt hosts move VMs: what the operator allows, limits and declares."""

from dataclasses import dataclass, field
from enum import StrEnum

from forewarn.domain.inventory import Criticality, Kind

GIB = 1024**3


class How(StrEnum):
    """Who leads a migration through its phases."""

    PEER_TO_PEER = "peer_to_peer"  # the source's libvirt daemon, which goes on when Forewarn is gone
    MANAGED = "managed"  # Forewarn, connected to both; ends with Forewarn
    EITHER = "either"  # peer to peer, and managed where the source's daemon cannot reach the target's


@dataclass(frozen=True, slots=True)
class Link:
    """One network link of a host over which guests may be sent."""

    host: str
    """The host, as libvirt.hosts names it."""
    device: str
    """Its network device, as the kernel names it: what a failing link is known by."""
    address: str
    """The host's address on this link, to which others send guests."""
    network: str = ""
    """The network that the link is on; only links of one network reach each other."""


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """How far a guest that dirties its memory too fast is slowed down so that its move can end (auto-converge)."""

    high_max: int = 20
    """Per cent of CPU time that a VM of high criticality may lose at most; 0: none. Past that its move is given up."""
    normal_max: int = 60
    """Per cent for a VM of normal criticality."""
    low_max: int = 99
    """Per cent for a VM of low criticality; 99 is the most that QEMU does."""
    first: int = 20
    """Per cent with which throttling begins; QEMU's own default."""
    step: int = 10
    """Per cent by which each later step grows; QEMU's own default."""

    def __post_init__(self) -> None:
        for name in ("high_max", "normal_max", "low_max"):
            if not 0 <= getattr(self, name) <= 99:
                raise ValueError(f"{name} must be within 0 and 99")

    def ceiling(self, criticality: Criticality) -> int:
        """The most, in per cent, that a VM of this class is slowed down.

        >>> ThrottleSettings().ceiling(Criticality.HIGH)
        20
        """
        ceilings = {Criticality.HIGH: self.high_max, Criticality.NORMAL: self.normal_max}
        return ceilings.get(criticality, self.low_max)


@dataclass(frozen=True, slots=True)
class MoveSettings:
    """How VMs are moved between libvirt hosts."""

    how: How = How.EITHER
    """Who leads: the source's libvirt daemon (peer_to_peer: a move goes on while Forewarn restarts), Forewarn (managed:
    hosts need not reach each other's daemons), or either: managed only where the first cannot reach the second."""
    peer_uri: str = ""
    """URI of a host's libvirt as the other hosts reach it, with {address} or {host} in it: qemu+tls://{address}/system.
    Empty: the same as in libvirt.hosts."""
    links: tuple[Link, ...] = ()
    """Links over which guests are sent, a table each: host, device, address, network. Without any, libvirt chooses, and
    nothing is moved because of a failing network link."""
    copy_from_suspected_disk: bool = False
    """Whether a disk is copied along (`libvirt.copy_disks`) also where a disk of its host may fail: that reads all of
    it, which may finish it off."""
    bandwidth_bytes_per_s: float = 0.0
    """Most that one move may send, in bytes per second, in steps of 1 MiB; 0: no limit."""
    parallel_connections: int = 1
    """Connections over which one move is sent, where both hosts' QEMU can (4.0); more fill fast links."""
    tls: bool = False
    """Whether guests' memory is sent encrypted (the hosts need certificates)."""
    throttle: ThrottleSettings = field(default_factory=ThrottleSettings)
    """How far guests are slowed down."""
    post_copy_for: tuple[Kind, ...] = ()
    """Kinds of suspected parts because of which a move that does not converge may end by post-copy. A guest in
    post-copy does not survive its source or the network between; none by default."""
    post_copy_after_rounds: int = 5
    """Rounds of pre-copy before that."""
    deadline_s_per_gib: float = 800.0
    """Seconds per GiB of what is sent (memory, copied disks) after which a move is aborted: Nova's own limit."""
    deadline_s_min: float = 120.0
    """Seconds that every move has at least."""
    abort_s: float = 20.0
    """Seconds within which an aborted move should end; past that its call is left behind, and what counts is where the
    VM is seen to run."""
    target_silent_s: float = 15.0
    """Seconds for which a target may not answer before its moves are aborted: QEMU alone would wait for minutes."""
    watch_s: float = 1.0
    """Seconds between two looks at a running move."""
    moves_remembered: int = 1000
    """Number of ended moves whose result is remembered."""

    def __post_init__(self) -> None:
        above_0 = (
            "deadline_s_min",
            "abort_s",
            "target_silent_s",
            "watch_s",
            "parallel_connections",
            "moves_remembered",
        )
        for name in above_0:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")

    def deadline_s(self, sent_bytes: float) -> float:
        """Seconds after which a move that sends this much is aborted.

        >>> MoveSettings(deadline_s_per_gib=100.0).deadline_s(3 * GIB)
        300.0
        """
        return max(self.deadline_s_min, self.deadline_s_per_gib * sent_bytes / GIB)
