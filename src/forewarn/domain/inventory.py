"""What is where: hosts, their components, their virtual machines, and the snapshot that holds all three."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property

from forewarn.domain.hypervisor import Hypervisor


class Kind(StrEnum):
    """What a series, a feature or a forecast is about. The first five are the components that can fail."""

    CPU = "cpu"
    MEMORY = "memory"
    DISK = "disk"
    NETWORK = "network"
    POWER = "power"
    HOST = "host"
    VM = "vm"


COMPONENT_KINDS: tuple[Kind, ...] = (Kind.CPU, Kind.MEMORY, Kind.DISK, Kind.NETWORK, Kind.POWER)


def component_id(kind: Kind, host: str, device: str, serial: str = "") -> str:
    """The name under which a part is known everywhere: by its serial where it has one, else by its place.

    >>> component_id(Kind.DISK, "host03", "sda", "ZA1234")
    'disk:ZA1234'
    >>> component_id(Kind.MEMORY, "host03", "DIMM_A1")
    'memory:host03/DIMM_A1'
    """
    return f"{kind}:{serial}" if serial else f"{kind}:{host}/{device or kind}"


class HostState(StrEnum):
    """Whether a host runs, as its driver sees it."""

    UP = "up"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    UNKNOWN = "unknown"

    @property
    def words(self) -> str:
        """The state in a sentence: a host "is in maintenance"."""
        return {HostState.MAINTENANCE: "in maintenance", HostState.UNKNOWN: "in an unknown state"}.get(self, self.value)


class Criticality(StrEnum):
    """How much an outage of a VM hurts. HIGH is only ever declared, never inferred."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class VmState(StrEnum):
    """What a VM does, as its driver sees it."""

    RUNNING = "running"
    MIGRATING = "migrating"
    STOPPED = "stopped"
    INTERRUPTED = "interrupted"  # its host failed under it


@dataclass(frozen=True, slots=True)
class Host:
    """One hypervisor. Capacities are those offered to VMs, after any over-commit.

    `offers` holds what a VM can need of a host, as words that only drivers read (`bridge:br0`, `storage:/srv/shared`).
    `seen_at` is when the driver last heard of a host that it does not hear now; what it says of it is that old.
    `unheard_because` says why it does not hear it, also of a host that it never heard.
    """

    name: str
    state: HostState = HostState.UP
    cpus: float = 0.0
    memory_bytes: int = 0
    link_bytes_per_s: float = 0.0  # what one migration stream may use, in or out
    rack: str = ""
    cordoned: bool = False
    can_receive: bool = True  # False where the driver can only look (driver `none`)
    driver: str = ""
    simulated: bool = False
    aggregates: tuple[str, ...] = ()  # sets of hosts that are ruled together, by name
    offers: frozenset[str] = frozenset()
    seen_at: datetime | None = None
    unheard_because: str = ""
    hypervisor: Hypervisor | None = None

    @property
    def standing(self) -> str:
        """Its state as a tag beside its name; one that its driver does not hear is unreachable."""
        return "unreachable" if self.unheard_because else self.state.value


WORDS = 4  # of what hosts offer that a sentence names


def listing(offers: Collection[str]) -> str:
    """What hosts offer, at most a few of them.

    >>> listing({"virt:kvm", "bridge:br0"}), listing(set("abcdef"))
    ('bridge:br0, virt:kvm', 'a, b, c, d and 2 more')
    """
    first, more = sorted(offers)[:WORDS], len(offers) - WORDS
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True, slots=True)
class Component:
    """One part of a host that can fail, known by its serial number where it has one.

    `id` is kind and serial, WWN, DIMM label, MAC or slot (`disk:ZA1234`), else kind, host and kernel name
    (`disk:host03/sda`). `group` names the set of parts that stand in for each other (a RAID set, PSU pair, bond), and
    `spares` says how many more of that set may fail before its VMs do. The path: `whole_host` if every VM of the host
    depends on the part, else `vms` are those that do; neither means that no dependence has been proven.
    """

    id: str
    kind: Kind
    host: str
    device: str
    model: str = ""
    group: str = ""
    spares: int = 0
    whole_host: bool = False
    vms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """One VM. `immovable_because` is empty while it can move, else it says why it cannot.

    It can go to hosts alone that offer all that it `needs`.
    """

    id: str
    name: str
    host: str
    vcpus: int
    memory_bytes: int
    criticality: Criticality = Criticality.NORMAL
    criticality_source: str = ""
    state: VmState = VmState.RUNNING
    immovable_because: str = ""
    anti_affinity: str = ""  # VMs that share a name here must not share a host
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Remark:
    """What a driver could not read or take as it stands, of one host or one VM (its id), in a sentence."""

    host: str
    text: str
    vm: str = ""


@dataclass(frozen=True)
class Cluster:
    """An immutable picture of the cluster at `time`. `generation` grows with every change that a driver sees."""

    time: datetime
    generation: int = 0
    hosts: tuple[Host, ...] = ()
    components: tuple[Component, ...] = ()
    vms: tuple[VirtualMachine, ...] = field(default=())
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def host_by_name(self) -> Mapping[str, Host]:
        return {host.name: host for host in self.hosts}

    @cached_property
    def component_by_id(self) -> Mapping[str, Component]:
        return {component.id: component for component in self.components}

    @cached_property
    def vm_by_id(self) -> Mapping[str, VirtualMachine]:
        return {vm.id: vm for vm in self.vms}

    @cached_property
    def vms_by_host(self) -> Mapping[str, tuple[VirtualMachine, ...]]:
        """Every host's VMs in the inventory's order; hosts without VMs hold an empty tuple."""
        found: dict[str, list[VirtualMachine]] = {host.name: [] for host in self.hosts}
        for vm in self.vms:
            found.setdefault(vm.host, []).append(vm)
        return {name: tuple(vms) for name, vms in found.items()}

    @cached_property
    def components_by_host(self) -> Mapping[str, tuple[Component, ...]]:
        found: dict[str, list[Component]] = {host.name: [] for host in self.hosts}
        for component in self.components:
            found.setdefault(component.host, []).append(component)
        return {name: tuple(components) for name, components in found.items()}
