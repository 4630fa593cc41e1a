"""A cluster to play with: hosts with plausible parts and redundancy, and VMs packed so that moves find room.

All of it is drawn from a seed. Nothing here changes with time: parts wear out in `world`, VMs move in
the simulated driver. Parts bear the ids that the telemetry mapping gives them: serials for disks, MACs for NICs, DIMM
labels, PSU slots.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from forewarn.domain.inventory import (
    Cluster,
    Component,
    Criticality,
    Host,
    Kind,
    VirtualMachine,
    component_id,
)
from forewarn.domain.situation import Workload

SIMULATED = "simulated"  # the aggregate of all simulated hosts
GIB = 2**30
MIB = 2**20
CPU_MODEL = "Xeon Gold 6226R"
DIMM_MODEL = "DDR4-3200 32 GiB"
NIC_MODEL = "ConnectX-4 Lx"
PSU_MODEL = "PWS-1K02A"
DIMM_SLOTS = tuple(f"DIMM_{letter}1" for letter in "ABCDEFGH")


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """How the demonstration's cluster is drawn."""

    hosts_per_rack: int = 8
    """Hosts in a rack: a rack of 42 units half full of two-unit servers and a switch."""
    utilization: float = 0.6
    """Share of memory that VMs take, 0 to 1. At 0.6 a host's VMs find room elsewhere, as in clusters sized for N+2."""
    link_bytes_per_s: float = 2.8e9
    """What one migration stream may use, bytes per second: a 25 Gbit/s network less overhead."""
    mirrored_share: float = 0.45
    """Share of hosts whose system disks are a RAID-1 pair; the others stand on one disk, as small sites do."""
    nvme_share: float = 0.2
    """Share of the single system disks that are NVMe."""
    bonded_share: float = 0.6
    """Share of hosts with two NICs in a bond; the others have one."""
    twin_psu_share: float = 0.6
    """Share of hosts with a pair of power supplies; the others have one."""


@dataclass(frozen=True, slots=True)
class _Role:
    """A purpose that VMs serve: what they are called, how they are sized and how busy they are."""

    name: str
    weight: int
    criticality: Criticality
    sizes: tuple[tuple[int, int], ...]  # vCPUs and GiB
    dirty_mib_per_s: tuple[float, float]
    paired: bool = False  # comes as two that must not share a host


_ROLES: tuple[_Role, ...] = (
    _Role("db", 6, Criticality.HIGH, ((4, 16), (8, 32)), (60.0, 220.0), paired=True),
    _Role("auth", 3, Criticality.HIGH, ((2, 8), (4, 16)), (10.0, 40.0), paired=True),
    _Role("pay", 8, Criticality.HIGH, ((4, 16), (2, 8)), (20.0, 90.0)),
    _Role("web", 24, Criticality.NORMAL, ((2, 8), (4, 16)), (10.0, 60.0)),
    _Role("app", 22, Criticality.NORMAL, ((4, 16), (8, 32)), (15.0, 90.0)),
    _Role("cache", 8, Criticality.NORMAL, ((2, 16), (4, 32)), (80.0, 260.0)),
    _Role("mail", 5, Criticality.NORMAL, ((2, 8), (4, 16)), (8.0, 30.0)),
    _Role("ci", 10, Criticality.LOW, ((4, 8), (8, 16)), (30.0, 180.0)),
    _Role("dev", 8, Criticality.LOW, ((2, 4), (2, 8)), (2.0, 15.0)),
)

# Drives that data centres run: model, serial prefix, serial length, weight.
_ATA_MODELS: tuple[tuple[str, str, int, int], ...] = (
    ("ST4000DM000", "Z30", 8, 5),
    ("HGST HMS5C4040BLE640", "PL2331LAG", 14, 4),
    ("ST8000DM002", "ZA1", 8, 2),
    ("Hitachi HDS722020ALA330", "JK1101B9", 14, 2),
    ("WDC WD30EFRX", "WD-WMC4N", 15, 1),
)
_NVME_MODELS: tuple[tuple[str, str, int, int], ...] = (
    ("SAMSUNG MZQL21T9HCJR-00A07", "S64GNE0T", 14, 2),
    ("INTEL SSDPE2KX010T8", "PHLJ9", 18, 1),
)
_SERIAL_LETTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def disk_serial(rng: random.Random, model: str) -> str:
    """A serial number as the maker of `model` writes them."""
    for name, prefix, length, _ in (*_ATA_MODELS, *_NVME_MODELS):
        if name == model:
            return prefix + "".join(rng.choices(_SERIAL_LETTERS, k=length - len(prefix)))
    raise ValueError(f"no drive model {model!r}")


def mac_address(rng: random.Random) -> str:
    """A MAC address of the maker of the simulated NICs."""
    return "b8:59:9f:" + ":".join(f"{rng.randrange(256):02x}" for _ in range(3))


def is_nvme(model: str) -> bool:
    """Whether a drive of this model speaks NVMe, and so has no ATA attributes."""
    return any(model == name for name, *_ in _NVME_MODELS)


DEFAULTS = ClusterSettings()
_UNDATED = datetime(2026, 1, 1, tzinfo=UTC)


def demo_cluster(
    seed: int,
    hosts: int = 24,
    vms: int = 200,
    settings: ClusterSettings = DEFAULTS,
    at: datetime = _UNDATED,
) -> tuple[Cluster, tuple[Workload, ...]]:
    """Draw a cluster of `hosts` and `vms`, and what the VMs do. The same seed draws the same cluster.

    >>> cluster, workloads = demo_cluster(seed=7, hosts=3, vms=12)
    >>> len(cluster.hosts), len(cluster.vms), len(workloads)
    (3, 12, 12)
    """
    rng = random.Random(f"cluster {seed}")
    drawn = [_draw_vm(rng, role, number, twin) for role, number, twin in _draw_roles(rng, vms)]
    empty = _size_hosts([vm for vm, _ in drawn], hosts, settings)
    placed = _pack([vm for vm, _ in drawn], empty)
    parts = [part for host in empty for part in _draw_parts(rng, host.name, placed, settings)]
    cluster = Cluster(at, generation=1, hosts=tuple(empty), components=tuple(parts), vms=tuple(placed))
    return cluster, tuple(workload for _, workload in drawn)


def _draw_roles(rng: random.Random, count: int) -> Iterator[tuple[_Role, int, str]]:
    """A role, a number within the role, and for pairs the name of the pair, `count` times."""
    numbers = dict.fromkeys((role.name for role in _ROLES), 0)
    left = count
    while left > 0:
        (role,) = rng.choices(_ROLES, weights=[role.weight for role in _ROLES])
        twins = 2 if role.paired and left > 1 else 1
        pair = f"{role.name}-{numbers[role.name] // 2 + 1}" if twins == 2 else ""
        for _ in range(twins):
            numbers[role.name] += 1
            yield role, numbers[role.name], pair
        left -= twins


def _draw_vm(rng: random.Random, role: _Role, number: int, pair: str) -> tuple[VirtualMachine, Workload]:
    vcpus, gib = rng.choice(role.sizes)
    name = f"{role.name}-{number:02d}"
    vm = VirtualMachine(
        id=f"vm-{name}",
        name=name,
        host="",
        vcpus=vcpus,
        memory_bytes=gib * GIB,
        criticality=role.criticality,
        criticality_source=f"declared: forewarn:criticality={role.criticality}",
        anti_affinity=pair,
    )
    workload = Workload(
        vm=vm.id,
        cpu_cores=round(vcpus * rng.uniform(0.08, 0.5), 2),
        dirty_bytes_per_s=round(rng.uniform(*role.dirty_mib_per_s)) * MIB,
        working_set_bytes=int(vm.memory_bytes * rng.uniform(0.05, 0.25)),
    )
    return vm, workload


def _size_hosts(vms: Sequence[VirtualMachine], count: int, settings: ClusterSettings) -> list[Host]:
    """Hosts just large enough for the wanted utilization, and for the largest VM twice."""
    share = max(1, count) * settings.utilization
    memory = max(sum(vm.memory_bytes for vm in vms) / share, 2 * max((vm.memory_bytes for vm in vms), default=0))
    cpus = max(sum(vm.vcpus for vm in vms) / share, 2 * max((vm.vcpus for vm in vms), default=0))
    return [
        Host(
            name=f"host{number:02d}",
            cpus=float(4 * math.ceil(cpus / 4)),
            memory_bytes=8 * GIB * math.ceil(memory / (8 * GIB)),
            link_bytes_per_s=settings.link_bytes_per_s,
            rack=f"rack{(number - 1) // settings.hosts_per_rack + 1}",
            driver="simulated",
            simulated=True,
            aggregates=(SIMULATED,),
        )
        for number in range(1, count + 1)
    ]


def _pack(vms: Sequence[VirtualMachine], hosts: Sequence[Host]) -> list[VirtualMachine]:
    """Each VM, the largest first, onto the emptiest host that has none of its pair. The order of `vms` is kept."""
    used = {host.name: (0.0, 0.0) for host in hosts}
    groups: dict[str, set[str]] = {host.name: set() for host in hosts}
    placed: dict[str, VirtualMachine] = {}
    for vm in sorted(vms, key=lambda vm: (-vm.memory_bytes, -vm.vcpus, vm.id)):
        free = [host for host in hosts if not vm.anti_affinity or vm.anti_affinity not in groups[host.name]]
        target = min(free or hosts, key=lambda host: (max(used[host.name]), host.name))
        memory, cpus = used[target.name]
        used[target.name] = (memory + vm.memory_bytes / target.memory_bytes, cpus + vm.vcpus / target.cpus)
        groups[target.name].add(vm.anti_affinity)
        placed[vm.id] = replace(vm, host=target.name)
    return [placed[vm.id] for vm in vms]


def _draw_parts(
    rng: random.Random, host: str, vms: Sequence[VirtualMachine], settings: ClusterSettings
) -> Iterator[Component]:
    yield Component(component_id(Kind.CPU, host, ""), Kind.CPU, host, str(Kind.CPU), model=CPU_MODEL, whole_host=True)
    for slot in DIMM_SLOTS:
        yield Component(
            component_id(Kind.MEMORY, host, slot), Kind.MEMORY, host, slot, model=DIMM_MODEL, whole_host=True
        )
    yield from _draw_disks(rng, host, [vm.id for vm in vms if vm.host == host], settings)
    yield from _draw_nics(rng, host, settings)
    yield from _draw_psus(rng, host, settings)


def _draw_disks(rng: random.Random, host: str, vms: Sequence[str], settings: ClusterSettings) -> Iterator[Component]:
    """System disks that the whole host stands on, and data disks in the path of some VMs or of none that is known."""
    mirrored, nvme = rng.random() < settings.mirrored_share, rng.random() < settings.nvme_share
    (model, *_), letters = _draw_model(rng, _NVME_MODELS if nvme and not mirrored else _ATA_MODELS), iter("abcdef")
    if mirrored:
        for _ in range(2):
            yield _disk(rng, host, f"sd{next(letters)}", model, group=f"{host}/md0", spares=1, whole_host=True)
    else:
        device = "nvme0" if nvme else f"sd{next(letters)}"
        yield _disk(rng, host, device, model, whole_host=True)
    model = _draw_model(rng, _ATA_MODELS)[0]
    some = tuple(sorted(rng.sample(vms, k=min(len(vms), 3))))
    match rng.choice(("single", "single", "mirrored", "unproven")):
        case "single":
            yield _disk(rng, host, f"sd{next(letters)}", model, vms=some)
        case "mirrored":
            for _ in range(2):
                yield _disk(rng, host, f"sd{next(letters)}", model, group=f"{host}/md1", spares=1, vms=some)
        case _:
            yield _disk(rng, host, f"sd{next(letters)}", model)


def _draw_model(rng: random.Random, models: tuple[tuple[str, str, int, int], ...]) -> tuple[str, str, int, int]:
    (drawn,) = rng.choices(models, weights=[weight for *_, weight in models])
    return drawn


def _disk(
    rng: random.Random,
    host: str,
    device: str,
    model: str,
    *,
    group: str = "",
    spares: int = 0,
    whole_host: bool = False,
    vms: tuple[str, ...] = (),
) -> Component:
    part = component_id(Kind.DISK, host, device, disk_serial(rng, model))
    return Component(part, Kind.DISK, host, device, model, group, spares, whole_host, vms)


def _draw_nics(rng: random.Random, host: str, settings: ClusterSettings) -> Iterator[Component]:
    bonded = rng.random() < settings.bonded_share
    for number in range(2 if bonded else 1):
        device = f"eth{number}"
        part = component_id(Kind.NETWORK, host, device, mac_address(rng))
        group = f"{host}/bond0" if bonded else ""
        yield Component(part, Kind.NETWORK, host, device, NIC_MODEL, group, int(bonded), whole_host=True)


def _draw_psus(rng: random.Random, host: str, settings: ClusterSettings) -> Iterator[Component]:
    twins = rng.random() < settings.twin_psu_share
    for number in range(1, 3 if twins else 2):
        slot = f"PSU{number}"
        part = component_id(Kind.POWER, host, slot)
        group = f"{host}/psu" if twins else ""
        yield Component(part, Kind.POWER, host, slot, PSU_MODEL, group, int(twins), whole_host=True)


def replacement(rng: random.Random, part: Component) -> Component:
    """A new part of the same model for a failed one, under a new id where anything tells the two apart.

    Disks and NICs bear a new serial. A DIMM goes into the channel's other slot and a lone supply into the other bay.
    """
    device, serial = part.device, ""
    match part.kind:
        case Kind.DISK:
            serial = disk_serial(rng, part.model)
        case Kind.NETWORK:
            serial = mac_address(rng)
        case Kind.MEMORY:
            device = _other_slot(device)
        case Kind.POWER if not part.group:
            device = _other_slot(device)
        case _:
            pass
    return replace(part, id=component_id(part.kind, part.host, device, serial), device=device)


def _other_slot(device: str) -> str:
    return device[:-1] + ("2" if device.endswith("1") else "1")
