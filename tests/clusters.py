"""Small clusters, forecasts and situations for tests of deciding: every part can be named, and all else is plain."""

from collections.abc import Iterable
from datetime import UTC, datetime

from forewarn.decide import planner
from forewarn.decide.policy import PolicySettings, next_ladder
from forewarn.domain.inventory import Cluster, Component, Criticality, Host, HostState, Kind, VirtualMachine, VmState
from forewarn.domain.plan import Move, MoveState, Outcome, Plan
from forewarn.domain.risk import HORIZONS, FailureForecast
from forewarn.domain.situation import LadderStep, Situation, Workload

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)
GIB = 1024**3
HEALTHY = 1e-6


def host(
    name: str,
    *,
    state: HostState = HostState.UP,
    cpus: float = 64.0,
    gib: int = 256,
    link: float = 1.25e9,
    cordoned: bool = False,
    can_receive: bool = True,
    offers: Iterable[str] = (),
) -> Host:
    return Host(
        name, state, cpus, gib * GIB, link, cordoned=cordoned, can_receive=can_receive, offers=frozenset(offers)
    )


def vm(
    name: str,
    on: str,
    criticality: Criticality = Criticality.NORMAL,
    *,
    vcpus: int = 4,
    gib: int = 16,
    state: VmState = VmState.RUNNING,
    immovable_because: str = "",
    apart: str = "",
    needs: Iterable[str] = (),
) -> VirtualMachine:
    return VirtualMachine(
        name,
        f"vm-{name}",
        on,
        vcpus,
        gib * GIB,
        criticality,
        state=state,
        immovable_because=immovable_because,
        anti_affinity=apart,
        needs=frozenset(needs),
    )


def part(
    on: str,
    kind: Kind = Kind.CPU,
    device: str = "",
    *,
    group: str = "",
    spares: int = 0,
    whole_host: bool = True,
    vms: tuple[str, ...] = (),
) -> Component:
    device = device or kind.value
    return Component(
        f"{kind}:{on}/{device}", kind, on, device, group=group, spares=spares, whole_host=whole_host, vms=vms
    )


def forecast(of: Component, week: float | None = HEALTHY, *, hour: float | None = None) -> FailureForecast:
    """P(failure) of `week` within 7 days at an even hazard, or unknown; `hour` sets the first hour apart."""
    if week is None:
        return FailureForecast(of.id, of.kind, of.host, of.device, NOW, unknown_because="no telemetry")
    curve = [1.0 - (1.0 - week) ** (horizon / HORIZONS[4]) for horizon in HORIZONS]
    curve[4] = week
    curve[0] = curve[0] if hour is None else hour
    values = tuple(curve)
    return FailureForecast(of.id, of.kind, of.host, of.device, NOW, values, values, values, model="test")


def outcome(name: str, source: str, target: str, state: MoveState, time: datetime = NOW) -> Outcome:
    move = Move(
        f"m-{name}", name, f"vm-{name}", Criticality.HIGH, source, target, "cpu:x/cpu", Kind.CPU, 0.5, 0.1, "", ""
    )
    return Outcome(move, state, time)


def situation(
    hosts: Iterable[Host],
    vms: Iterable[VirtualMachine] = (),
    *,
    parts: Iterable[Component] | None = None,
    risks: dict[str, float | None] | None = None,
    workloads: Iterable[Workload] = (),
    ladder: Iterable[LadderStep] = (),
    in_flight: Iterable[Outcome] = (),
    recent: Iterable[Outcome] = (),
    paused: str = "",
) -> Situation:
    """Every host has one CPU in the path of all its VMs, unless `parts` says otherwise; `risks` is by host or part."""
    hosts = tuple(hosts)
    parts = tuple(part(host.name) for host in hosts) if parts is None else tuple(parts)
    risks = risks or {}
    forecasts = tuple(forecast(each, risks.get(each.id, risks.get(each.host, HEALTHY))) for each in parts)
    cluster = Cluster(NOW, 7, hosts, parts, tuple(vms))
    return Situation(cluster, forecasts, tuple(workloads), tuple(ladder), tuple(in_flight), tuple(recent), paused)


def plan(seen: Situation, settings: PolicySettings, now: datetime) -> tuple[Plan, tuple[LadderStep, ...]]:
    """The plan for a situation, and the ladder that it stands on."""
    ladder = next_ladder(seen, settings, now)
    return planner.plan(seen, ladder, settings, now), ladder
