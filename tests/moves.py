"""Small clusters, moves and plans for the tests of drivers, journal and executor."""

from dataclasses import replace
from datetime import UTC, datetime

from forewarn.domain.inventory import Cluster, Component, Criticality, Host, Kind, VirtualMachine
from forewarn.domain.plan import PROACTIVE_FAILURE_AVOIDANCE, Move, Plan

GIB = 1024**3
NOW = datetime(2026, 1, 5, tzinfo=UTC)
LINK_BYTES_PER_S = 1e9


def host(name: str, cpus: float = 16, memory_gib: int = 64, link_bytes_per_s: float = LINK_BYTES_PER_S) -> Host:
    return Host(name, cpus=cpus, memory_bytes=memory_gib * GIB, link_bytes_per_s=link_bytes_per_s)


def vm(name: str, on: str, memory_gib: int = 4, vcpus: int = 2, anti_affinity: str = "") -> VirtualMachine:
    return VirtualMachine(name, f"{name}-name", on, vcpus, memory_gib * GIB, anti_affinity=anti_affinity)


def disk(on: str, name: str = "sda", **fields: object) -> Component:
    return replace(Component(f"disk:{on}/{name}", Kind.DISK, on, name), **fields)  # type: ignore[arg-type]


def small_cluster(*vms: VirtualMachine, hosts: str = "abc") -> Cluster:
    """Three hosts of 64 GiB, each with a disk; one VM on `a` unless others are given."""
    return Cluster(NOW, 1, tuple(map(host, hosts)), tuple(map(disk, hosts)), vms or (vm("web", "a"),))


def move(of: str = "web", source: str = "a", target: str = "b", name: str = "") -> Move:
    return Move(
        id=name or f"{of}-{source}-{target}",
        vm=of,
        vm_name=f"{of}-name",
        criticality=Criticality.HIGH,
        source=source,
        target=target,
        component=f"disk:{source}/sda",
        kind=Kind.DISK,
        risk=0.2,
        threshold=0.1,
        rule=PROACTIVE_FAILURE_AVOIDANCE,
        reason="the disk fails soon",
    )


def plan_of(*moves: Move, at: datetime = NOW, generation: int = 1, name: str = "plan") -> Plan:
    return Plan(f"{name}-{at.isoformat()}-{len(moves)}", at, generation, moves)
