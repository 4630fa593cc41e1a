"""Which libvirt hosts there are, how they are reached, and what is assumed of them. Needs no binding to be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from forewarn.drivers.libvirt.move_settings import MoveSettings


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """How long libvirt hosts are waited for."""

    open_s: float = 10.0
    """Seconds within which a host must have answered a new connection."""

    call_s: float = 10.0
    """Seconds within which a host must have answered a call; longer ones are abandoned, their connection replaced."""

    keepalive_s: int = 5
    """Seconds of silence after which a host is asked for a sign of life."""

    keepalive_count: int = 3
    """Number of such signs that may be missed before the connection counts as lost."""

    calls_per_host: int = 4
    """Number of calls that one host is asked at once, abandoned ones included; libvirt serves five per connection."""

    hosts_at_once: int = 16
    """Number of hosts that are asked at the same time where all are."""

    def __post_init__(self) -> None:
        for name in ("open_s", "call_s", "keepalive_s", "keepalive_count", "calls_per_host", "hosts_at_once"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One host of libvirt."""

    uri: str
    """Where its libvirt is reached: `qemu:///system`, `qemu+ssh://root@host1/system`, `qemu+tls://host1/system`,
    `qemu+unix:///system?socket=/path`."""

    rack: str = ""
    """The rack it stands in; hosts of one rack may share a suspected cause."""

    aggregates: tuple[str, ...] = ()
    """Sets of hosts that it belongs to, which are ruled together (`forewarn mode --aggregate`)."""

    groups: tuple[str, ...] = ()
    """Groups of hosts, such as those that hold a licence, to which a VM can be kept by `<forewarn:group>` in its
    metadata."""

    offers: tuple[str, ...] = ()
    """What it offers beyond what libvirt tells, such as `bridge:br0` where libvirt cannot list its bridges."""

    carries: tuple[str, ...] = ()
    """Parts on which all VMs of this host depend, by kernel name or serial number, such as `sda` or `disk:W300ABCD`,
    `*` standing for any letters: the drive of its root file system, or where the VMs' disks lie. Without it a failing
    drive raises a ticket, since nothing proves that a VM needs it."""

    lacks: tuple[str, ...] = ()
    """What it does not offer although libvirt or the settings say so, such as `storage:/srv/shared` where a shared
    directory is not mounted."""

    link_bytes_per_s: float = 0.0
    """What one migration may use of its network, in bytes per second; 0 takes `libvirt.link_bytes_per_s`."""

    deadline_s: float = 0.0
    """Seconds within which it must have told everything; 0 takes `libvirt.look_s`."""


@dataclass(frozen=True)
class LibvirtSettings:
    """The hosts of the driver `libvirt`, and what is assumed of them."""

    hosts: Mapping[str, HostSettings] = field(default_factory=dict)
    """A table `[libvirt.hosts.NAME]` for each host. NAME is what its telemetry calls it: its host name."""

    connections: ConnectionSettings = field(default_factory=ConnectionSettings)
    """How long hosts are waited for."""

    look_s: float = 20.0
    """Seconds within which a host must have told everything: its VMs, what they do, and what it offers."""

    round_s: float = 25.0
    """Seconds after which a cycle goes on without the hosts that have not answered; they are shown as last seen."""

    retry_s: float = 15.0
    """Seconds after which a host that did not answer is asked again; doubled each time, up to `retry_s_max`."""

    retry_s_max: float = 300.0
    """Longest time in seconds after which a host that does not answer is asked again."""

    facts_s: float = 60.0
    """Seconds for which what seldom changes is not asked again: capabilities, pools, networks, autostart."""

    cpu_over_commit: float = 4.0
    """How many virtual CPUs a host may promise for each of its own."""

    memory_over_commit: float = 1.0
    """How much memory a host may promise for each byte of its own."""

    memory_kept_bytes: int = 1_073_741_824
    """Memory in bytes that each host keeps for itself, before over-commit."""

    link_bytes_per_s: float = 0.0
    """What one migration may use of a host's network, in bytes per second; 0 where it is not known."""

    stopped: bool = False
    """Whether VMs that do not run are listed. They keep their room on their host; those with autostart always are."""

    shared_directories: tuple[str, ...] = ()
    """Directories that are the same on every host, such as an NFS mount: a disk below one need not be copied."""

    shared_devices: tuple[str, ...] = ("/dev/disk/by-path/*-iscsi-*", "/dev/rbd/*")
    """Patterns of block devices that every host reaches under the same name."""

    shared_pools: tuple[str, ...] = ("gluster", "iscsi", "iscsi-direct", "netfs", "rbd", "sheepdog", "vstorage")
    """Types of storage pools that every host reaches alike."""

    shared_protocols: tuple[str, ...] = ("ceph", "gluster", "http", "https", "iscsi", "nbd", "nfs", "rbd", "sheepdog")
    """Protocols of network disks that every host reaches alike, unless their server is the host itself."""

    copy_disks: bool = False
    """Whether a disk that only its host has may be copied along with the move. It needs a pool of the same directory on
    the target."""

    local_nvram_moves: bool = False
    """Whether a VM whose UEFI variables lie in a file of its host may move; QEMU sends them along."""

    local_vtpm_moves: bool = False
    """Whether a VM whose emulated TPM keeps its state on its host may move; needs swtpm of the same version on both."""

    moves: MoveSettings = field(default_factory=MoveSettings)
    """How VMs are moved."""

    dirty_rate_s: int = 1
    """Seconds over which a guest that is about to move is watched for how fast it dirties memory; 0 for never."""

    dirty_rates_at_once: int = 8
    """Number of guests that are watched so at the same time."""

    def __post_init__(self) -> None:
        for name in ("look_s", "round_s", "retry_s", "cpu_over_commit", "memory_over_commit", "dirty_rates_at_once"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0")
        if not 0 <= self.dirty_rate_s <= 60:
            raise ValueError("dirty_rate_s must be within 0 and 60")
        for place in (*self.shared_directories, *self.shared_devices):
            if not place.startswith("/"):
                raise ValueError(f"{place!r} must be a whole path, from / on")
        if "/" in self.shared_directories:
            raise ValueError("shared_directories holds /, under which every local disk lies")
